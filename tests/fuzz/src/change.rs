//! Random changes of seeds.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::Seed;

/// Inputs do not grow beyond this, in bytes.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Makes inputs out of seeds: the same ones for the same number.
#[derive(Debug)]
pub struct Changer {
    random: SmallRng,
}

impl Changer {
    /// A source of inputs that begins at this number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// One of the seeds with one to eight changes.
    ///
    /// # Panics
    /// When there are no seeds.
    pub fn input(&mut self, seeds: &[Seed]) -> Vec<u8> {
        let mut bytes = seeds[self.random.random_range(0..seeds.len())]
            .bytes
            .clone();
        for _ in 0..self.random.random_range(1..=8) {
            self.change(&mut bytes, seeds);
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Seed]) {
        let random = &mut self.random;
        if bytes.is_empty() {
            bytes.push(random.random());
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..8) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.random()),
            4 => drop(bytes.remove(at)),
            5 => {
                // A number at the edge of its range, over up to eight bytes.
                let edges = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
                let edge = edges[random.random_range(0..edges.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.random_range(0..4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            6 => {
                let end = random.random_range(at..bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.random_range(0..bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let other = &seeds[random.random_range(0..seeds.len())].bytes;
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        bytes.truncate(INPUT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_inputs() {
        let seeds = [Seed {
            name: "a".into(),
            bytes: vec![1; 100],
        }];
        let inputs = |number| {
            let mut changer = Changer::new(number);
            (0..100).map(|_| changer.input(&seeds)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
        assert!(inputs(7).iter().any(|input| input.len() > 100));
    }
}
