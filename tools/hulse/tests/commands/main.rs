//! The program from outside: what it writes, and its exit status.
#![expect(clippy::unwrap_used, reason = "what fails here is a test that fails")]

mod broker;
mod configuration;
mod consuming;
mod files;
mod producing;
mod topics;
mod usage;
