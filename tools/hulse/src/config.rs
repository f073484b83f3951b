//! Configuration: a TOML file, the environment and flags, in that rising order.
//!
//! Every setting stands in one table, `SETTINGS`; the flags with their help texts, the names in
//! the environment and in the file, and the table in the documentation are all made from it.

mod client;
mod file;
mod layers;
mod serve;
mod settings;
mod table;
mod value;

pub(crate) use client::{ClientSettings, Patience};
pub(crate) use layers::{ClientFlags, ServeFlags};
pub(crate) use serve::ServeSettings;
pub(crate) use table::markdown;
