//! The shard from outside, on a simulated disk, with a rim that carries out its effects when and
//! in the order in which a test wants it.
//!
//! Every random test prints its seed; `HULSE_SEED` replays one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod budgets;
mod checker;
mod claims;
mod consumers;
mod covered;
mod crowd;
mod damage;
mod delayed;
mod durability;
mod failed_sync;
mod files;
mod full_disk;
mod idle;
mod journal;
mod memory;
mod moves;
mod names;
mod policies;
mod power;
mod producers;
mod random;
mod readers;
mod requests;
mod retyping;
mod rim;
mod sharing;
mod snapshots;
mod streams;
mod warming;
mod world;
