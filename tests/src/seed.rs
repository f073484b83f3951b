//! Where everything random in a test begins.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use rand::SeedableRng;
use rand::rngs::SmallRng;

/// A generator of random numbers that gives the same for the same seed.
pub type Random = SmallRng;

/// A generator of the test's own, which begins at the run's seed and the test's name: tests that
/// run side by side do not disturb each other's. The seed is printed, so it is seen when the test
/// fails.
#[must_use]
pub fn random(test: &str) -> Random {
    let seed = run_seed();
    println!("{test}: HULSE_SEED={seed}");
    let mut hasher = DefaultHasher::new();
    (seed, test).hash(&mut hasher);
    Random::seed_from_u64(hasher.finish())
}

/// The seed of this run: `HULSE_SEED`, or a random one.
fn run_seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match env::var("HULSE_SEED") {
        Ok(text) => text
            .trim()
            .parse()
            .expect("HULSE_SEED is a number of 64 bits"),
        Err(_) => rand::random(),
    })
}
