//! Documents that are kept true: the parts that are generated, and the paths that are named.

pub mod generated;
pub mod limits;
pub mod mentions;
pub mod metrics;
