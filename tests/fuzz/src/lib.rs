//! The fuzz targets of Hulse: what they run, where they begin, and how a seed is changed.
//!
//! `cargo xtask test` replays them, `cargo xtask fuzz TARGET` searches with coverage feedback.

pub mod change;
pub mod frames;
pub mod recovery;

/// An input that a target begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The name of its file.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Feeds it an input. It panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Makes its seeds, always the same ones.
    pub seeds: fn() -> Vec<Seed>,
}

/// Every target.
pub const TARGETS: [Target; 2] = [
    Target {
        name: "frames",
        run: hulse_wire::fuzz_frames,
        seeds: frames::seeds,
    },
    Target {
        name: "recovery",
        run: hulse_log::fuzz_recovery,
        seeds: recovery::seeds,
    },
];
