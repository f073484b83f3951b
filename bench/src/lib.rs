//! What the micro-benchmarks share: the bare limits that Hulse is measured against, and the way
//! in which the two are compared.
//!
//! A figure alone says more about the machine than about the code. So every benchmark does its
//! work twice in the same process, in turn: once with Hulse's code and once with the least that
//! any program would have to do ([`BareFile`], a plain checksum, a plain map), and the [`Ratio`] of
//! the two is what is looked at. [`Suite`] runs the pairs and prints the ratios at the end, under
//! the [`Conditions`] that they were taken in. `docs/benchmarks.md` says how to run them.
#![forbid(unsafe_code)]

mod bare_file;
mod conditions;
mod filler;
mod log_feed;
mod memory;
mod pages;
mod processor_time;
mod ratio;
mod suite;

pub use bare_file::BareFile;
pub use conditions::Conditions;
pub use filler::filler;
pub use log_feed::LogFeed;
pub use memory::resident_bytes;
pub use pages::drop_pages;
pub use processor_time::{machine_time, processor_time};
pub use ratio::{Pair, Ratio};
pub use suite::{Limit, Scale, Suite, Work, timed};
