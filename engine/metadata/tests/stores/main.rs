//! The stores: the rules that all of them keep, and what only the embedded one promises.

mod conformance;
mod opening;
mod threads;
