//! What the policies of its tenant, its namespace and its own topic mean for a partition.

use std::sync::Arc;

use hulse_model::Effective;

use crate::rate::RateLimit;

/// The policies of one partition. They come from the catalogue and change while it is open.
#[derive(Debug, Clone, Default)]
pub struct PartitionPolicies {
    /// What is kept, for how long, and how much may be unacknowledged.
    pub effective: Effective,
    /// The rates that hold for it, the widest level first.
    pub rates: Vec<Arc<RateLimit>>,
}
