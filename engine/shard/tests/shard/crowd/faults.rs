//! Faults of the harness, each of which the account must find: tests of the test.
//!
//! What the shard says of itself is not looked at then: it would differ at once.

use hulse_log::sim::SimDisk;
use hulse_shard::StreamKey;

/// What the shard is not told, of one consumer in five or of one connection in five; or what the
/// machine does that no machine may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its acknowledgements.
    Acknowledgements,
    /// That it asked for more.
    Permits,
    /// That its connection is gone.
    Disconnect,
    /// That bytes have left towards it.
    Sent,
    /// An entry goes to another consumer of the subscription now and then.
    Stranger,
    /// A start finds the files as they were at the start before.
    OldDisk,
}

#[derive(Default)]
pub(super) struct Faults {
    fault: Option<Fault>,
    disks: Vec<SimDisk>,
    delivered: u64,
}

impl Faults {
    pub(super) fn of(fault: Fault) -> Self {
        let fault = Some(fault);
        Self {
            fault,
            ..Self::default()
        }
    }

    pub(super) fn any(&self) -> bool {
        self.fault.is_some()
    }

    /// Who gets an entry that is meant for `to`.
    pub(super) fn instead(
        &mut self,
        to: StreamKey,
        mut others: impl Iterator<Item = StreamKey>,
    ) -> StreamKey {
        self.delivered += 1;
        let strays = self.fault == Some(Fault::Stranger) && self.delivered.is_multiple_of(20);
        strays.then(|| others.next()).flatten().unwrap_or(to)
    }

    pub(super) fn no_acknowledgements(&self, consumer: usize) -> bool {
        self.fault == Some(Fault::Acknowledgements) && consumer.is_multiple_of(5)
    }

    pub(super) fn no_permits(&self, consumer: usize) -> bool {
        self.fault == Some(Fault::Permits) && consumer.is_multiple_of(5)
    }

    pub(super) fn no_disconnect(&self, connection: u64) -> bool {
        self.fault == Some(Fault::Disconnect) && connection.is_multiple_of(5)
    }

    pub(super) fn no_sent(&self, connection: u64) -> bool {
        self.fault == Some(Fault::Sent) && connection.is_multiple_of(5)
    }

    /// The process ends, and this is what it leaves.
    pub(super) fn note_disk(&mut self, disk: &SimDisk) {
        if self.fault == Some(Fault::OldDisk) {
            self.disks.push(disk.fork());
        }
    }

    /// What the start finds instead of what was left.
    pub(super) fn old_disk(&self) -> Option<SimDisk> {
        let before = self.disks.len().checked_sub(2)?;
        Some(self.disks[before].fork())
    }
}
