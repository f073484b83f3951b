//! One core's share of the broker: its partitions with their logs, producers, subscriptions and
//! receipts, as a state machine without a socket, a thread or a clock.
//!
//! [`Shard::handle`] takes what a client asks, [`Shard::end_round`] writes what a burst of requests
//! has staged and begins the syncs, and everything that has to happen outside comes back as an
//! [`Effect`]: an answer to send, an entry to deliver, a file to sync, a segment to prepare. A
//! finished sync is an input like any other. The same code runs under the executor and under a
//! simulated disk with simulated time.
//!
//! Owned by one core and never shared; it lives as long as the core does.
#![forbid(unsafe_code)]

mod acknowledge;
mod command;
mod consume;
mod counts;
mod create;
mod durable;
mod effect;
mod expiry;
mod held;
mod last;
mod leaving;
mod outlets;
mod partition;
mod policies;
mod probes;
mod produce;
mod quota;
mod rate;
mod readers;
mod receipts;
mod recovery;
mod seats;
mod served;
mod shard;
mod sibling;
mod snapshots;
mod stats;
mod throttle;
mod upkeep;

pub use command::{AckedMessages, Clock, Command, Handled, SeekTo, StartFrom, StreamKey};
pub use effect::{Effect, LastMessage, Receipt, Refusal, Reply};
pub use leaving::{Departure, Taken};
pub use partition::{AckLevel, PartitionSpec};
pub use policies::PartitionPolicies;
pub use rate::RateLimit;
pub use recovery::{OpenError, Recovered};
pub use seats::SeatReport;
pub use shard::{BackgroundSynced, BackgroundSyncs, Shard, ShardConfig};
pub use stats::{
    BlockedStats, ConsumerStats, HeldBack, PartitionStats, ShardStats, SubscriptionStats,
};
