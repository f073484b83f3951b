//! Goal: bad input gets one clear error, to whom it concerns, and nothing is lost, leaked or
//! crashed by it.
//!
//! Method: connections that say what no client would, crowds of them, clients that do not read,
//! names and sizes that are not legal, and data directories and addresses that a broker cannot use.
//! After each, a bystander's connection is as alive as before, a new client is served, and the
//! broker holds no more descriptors than before.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod crowds;
mod frames;
mod names;
mod readers;
mod starting;
