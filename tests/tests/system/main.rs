//! Proofs that need root or minutes of time: `cargo xtask test --system` runs them.
//!
//! Goal: a full disk, a read-only one, one that fails and one that loses its power are met as the
//! design says, and the main job holds for a gibibyte.
//!
//! Method: small file systems, in memory or in a file behind a loop device, mounted on temporary
//! directories and unmounted again; the command line and the client. Without the right to mount,
//! these tests fail.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failing_disk;
mod full_disk;
mod gibibyte;
mod mount;
mod power_loss;
mod read_only;
mod volume;
