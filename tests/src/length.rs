//! How long the proofs are to be.

/// Whether proofs are to run at full length: `HULSE_LONG` is set, and not to 0.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("HULSE_LONG").is_some_and(|value| !value.is_empty() && value != "0")
}
