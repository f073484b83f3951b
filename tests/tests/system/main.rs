//! Proofs that need root or minutes of time: `cargo xtask test --system` runs them.
//!
//! Goal: a full and a read-only disk are met as the design says, and the main job holds for a
//! gibibyte.
//!
//! Method: small file systems in memory, mounted on temporary directories and unmounted again, and
//! the command line. Without the right to mount, these tests fail.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod full_disk;
mod gibibyte;
mod mount;
mod read_only;
