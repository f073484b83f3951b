//! Proofs that need root or minutes of time: `cargo xtask test --system` runs them.
