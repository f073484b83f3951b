//! Placement: pure rules about who is to have what, over several cores or brokers.
//!
//! Nothing here sees an entry. The control thread runs these rules, fed by what the cores report.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod assignment;
pub mod balance;
