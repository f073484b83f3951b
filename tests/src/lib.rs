//! Tests with real processes: brokers that are started, killed and damaged, and what their clients
//! see of it.
//!
//! The tests are in `tests/`, one topic a file. This library holds what they share: the program
//! that is tested ([`binary`]), a [`Broker`] of a test's own, commands that never hang
//! ([`Hulse`]), a connection that says what no client would ([`Wire`]), and inputs.
//!
//! Every test has brokers, directories and a loopback address of its own, so that tests run side by
//! side. They wait for conditions, each with a limit, never for time to pass. What is random begins
//! at a seed, which is printed: set `HULSE_SEED` to repeat a run. `HULSE_LONG=1` asks for
//! proofs at full length.
#![forbid(unsafe_code)]

pub mod binary;
mod broker;
mod command;
mod compare;
mod http;
pub mod input;
mod job;
mod length;
pub mod message;
mod patience;
mod raw_frame;
mod ready;
mod seed;
pub mod segment;
mod stored;
mod valve;
mod wire;

pub use broker::{Broker, Serve, cores, own_host};
pub use command::{Finished, Hulse, Running, Summary};
pub use compare::assert_same;
pub use http::{get, metric};
pub use job::{Job, Source};
pub use length::is_long;
pub use patience::{LIMIT, wait_looking, wait_until};
pub use raw_frame::RawFrame;
pub use ready::Ready;
pub use seed::{Random, random};
pub use stored::{Stored, assert_no_gaps, read_all, read_json};
pub use valve::Valve;
pub use wire::{Refused, Wire, hello};
