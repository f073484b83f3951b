//! Where random identities come from: an argument, so that tests are deterministic.

use hulse_model::{GroupId, PartitionId};

/// A source of random identities.
pub trait Ids: Send + Sync + 'static {
    /// 128 random bits that were never given before.
    fn random(&self) -> u128;

    /// 64 random bits, for nonces.
    fn nonce(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.random().to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// A new partition's identity.
    fn partition(&self) -> PartitionId {
        PartitionId(self.random())
    }

    /// A new group's identity.
    fn group(&self) -> GroupId {
        GroupId(self.random())
    }
}

/// Identities from the system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn random(&self) -> u128 {
        rand::random()
    }
}

/// Identities that count from a start: for tests.
#[derive(Debug, Default)]
pub struct CountingIds {
    next: std::sync::atomic::AtomicU64,
}

impl CountingIds {
    /// The first identity will be `start`.
    #[must_use]
    pub fn from(start: u64) -> Self {
        Self {
            next: std::sync::atomic::AtomicU64::new(start),
        }
    }
}

impl Ids for CountingIds {
    fn random(&self) -> u128 {
        u128::from(self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}
