//! The repository's own commands, and the rules about its structure that its tests enforce.
//!
//! `cargo xtask test` is the one test command; `tests/structure.rs` and `tests/docs.rs` of this
//! package hold the rules of [`structure`] and [`docs`] against the repository.

pub mod codegen;
pub mod command;
pub mod debian;
pub mod docs;
pub mod fuzz;
pub mod metadata;
pub mod repository;
pub mod steps;
pub mod structure;
pub mod suite;

pub use command::Failure;
