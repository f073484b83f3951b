//! Goal: no content of the files makes recovery panic or hang.
//! Method: the entry of the fuzz target, fed with random lists of changes and with the inputs
//! that once failed.

use hulse_log::fuzz_recovery;
use hulse_log::sim::SimRng;

use crate::bed::{announce, seeds};

#[test]
fn random_changes_of_the_files_are_survived() {
    fuzz_recovery(&[]);
    for seed in seeds(1_500) {
        announce(seed);
        let mut rng = SimRng::new(seed);
        let length = 1 + rng.index(200);
        // Half of the inputs are small numbers, so that files and fields are met more often.
        let narrow = rng.once_in(2);
        let input: Vec<u8> = (0..length)
            .map(|_| {
                let byte = rng.next_u64().to_le_bytes()[0];
                if narrow { byte % 16 } else { byte }
            })
            .collect();
        fuzz_recovery(&input);
    }
}
