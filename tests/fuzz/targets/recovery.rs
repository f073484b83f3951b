//! Searches the recovery of a partition's files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hulse_log::fuzz_recovery(bytes));
