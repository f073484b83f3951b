//! The broker as a process: its sockets, its cores, its control thread.
//!
//! [`serve()`] takes a data directory and the ports, recovers what is there, and serves until it is
//! told to stop. What a core does with a request is the shard's business (`hulse-shard`); this
//! crate moves bytes: frames in, effects out.
//!
//! Entry points: [`serve()`] for the order in which a broker starts and stops, `session` for what a
//! client may say, `core` for how the shard's effects are carried out, `control` for look-ups and
//! administration.
#![forbid(unsafe_code)]

mod admin;
mod config;
mod connection;
mod control;
mod core;
mod data_dir;
mod input;
mod lives;
mod messages;
mod metrics;
mod moving;
mod orders;
mod outbox;
mod replies;
mod serve;
mod session;
mod sync_times;
mod tasks;
mod time;

pub use config::{BalanceConfig, Ready, ServeConfig, ServeError};
pub use data_dir::{DATA_FORMAT, DataDir};
pub use serve::{ACKNOWLEDGEMENT_MEANS, serve};
