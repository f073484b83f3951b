//! The log from outside, on simulated and real disks.
//!
//! Every random test prints its seed; `HULSE_SEED` replays one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod crash;
mod damage;
mod document;
mod files;
mod full_disk;
mod fuzz;
mod journal;
mod leftovers;
mod life;
mod mark;
mod model;
mod poison;
mod retention;
mod room;
mod span;
mod terms;
mod truncation;
