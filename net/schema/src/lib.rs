//! The FlatBuffers code for the control parts of frames, as the compiler wrote it from
//! `hulse.fbs`. Nothing is written by hand here: `cargo xtask codegen` makes it anew, and a check
//! fails when the committed code is not what the pinned compiler writes.
//!
//! This crate alone is allowed the unsafe code that FlatBuffers accessors are made of; everything
//! else reads frames through `hulse-wire`, which verifies a table once before it is touched.
#![no_std]

#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    missing_docs,
    mismatched_lifetime_syntaxes,
    rust_2018_idioms,
    unreachable_pub,
    unused_imports,
    unsafe_op_in_unsafe_fn
)]
#[rustfmt::skip] // byte for byte as the compiler wrote it
mod hulse_generated;

pub use hulse_generated::hulse::*;
