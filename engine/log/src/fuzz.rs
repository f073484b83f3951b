//! Being written.
/// Being written.
pub fn fuzz_recovery(_bytes: &[u8]) {}
