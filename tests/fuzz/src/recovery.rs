//! Seeds for recovery.

use crate::Seed;

/// The seeds.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    Vec::new()
}
