//! Searches the frame decoder and everything that reads a frame's control part.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hulse_wire::fuzz_frames(bytes));
