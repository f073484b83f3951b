//! The client against a scripted broker: an honest one that loses its connection, is slow or
//! refuses, and a dishonest one that sends what no broker may.
//!
//! Each test plays the broker's part itself, frame by frame, so that both sides of every exchange
//! are seen. Nothing waits by guess: whatever should happen is awaited, under one time limit that
//! only a hang reaches.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod administering;
mod broker;
mod connecting;
mod consuming;
mod hostile;
mod moving;
mod producing;
mod reading;
mod recovering;
mod redelivering;
mod sharing;
