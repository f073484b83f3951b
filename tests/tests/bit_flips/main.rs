//! Goal: whatever bit of a stopped broker's files turns over, nobody is given a wrong byte, nothing
//! is lost without a word, and no process crashes. The broker serves everything, or it names what
//! it refuses and serves all the rest, or it does not start and says in one sentence why.
//!
//! Method: a data directory is made once, by a broker that is then killed or stopped. In each round
//! one bit of a copy is flipped, anywhere: in the segments of both logs, headers, openings, records,
//! footers and what is unused, in manifests, in the metadata store and in the small files. A broker
//! starts on the copy, and everything is read, consumed and written again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod flip;
mod reading;
mod scene;

use std::collections::BTreeMap;

use hulse_tests::{Broker, Hulse, Random, cores, is_long, random};

use crate::flip::Flip;
use crate::scene::{End, Scene};

/// How a broker met a flipped bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Met {
    /// Everything is as it was, and nothing is said.
    AsIfNothing,
    /// Something is reported, and the rest is served.
    Reported,
    /// It does not start.
    Refused,
}

#[test]
fn a_flipped_bit_in_a_killed_brokers_files_is_refused_or_harmless() {
    let name = "a_flipped_bit_in_a_killed_brokers_files_is_refused_or_harmless";
    flip_bits(&mut random(name), End::Killed);
}

#[test]
fn a_flipped_bit_in_a_stopped_brokers_files_is_refused_or_harmless() {
    let name = "a_flipped_bit_in_a_stopped_brokers_files_is_refused_or_harmless";
    flip_bits(&mut random(name), End::Stopped);
}

fn flip_bits(random: &mut Random, end: End) {
    let flips = match (is_long(), cfg!(feature = "system")) {
        (true, _) => 1_500,
        (false, true) => 200,
        (false, false) => 24,
    };
    let scene = Scene::new(random, end);
    let mut met: BTreeMap<(String, Met), usize> = BTreeMap::new();
    for _ in 0..flips {
        let copy = scene.copy();
        let flip = Flip::choose(copy.path(), random);
        println!("{flip}");
        flip.apply();
        *met.entry((flip.kind.clone(), meet(&scene, copy.path(), &flip)))
            .or_default() += 1;
    }
    for ((kind, met), count) in met {
        println!("{kind:<16} {met:<12?} {count:>4}");
    }
}

/// Starts a broker on the damaged files, and sees how it deals with them.
fn meet(scene: &Scene, data: &std::path::Path, flip: &Flip) -> Met {
    let verify = ["log", "verify", &data.display().to_string()].map(str::to_owned);
    let verified = Hulse::new(verify).run();
    assert!(
        matches!(verified.code, Some(0 | 1 | 10)),
        "`hulse log verify` crashes: {verified:?}"
    );
    let mut broker = Broker::stopped_on(data);
    if let Err(status) = broker.try_restart(cores(2)) {
        let said = broker.said();
        assert_eq!(status.code(), Some(1), "{status}");
        let sentences: Vec<_> = said.lines().filter(|l| l.starts_with("hulse: ")).collect();
        let [sentence] = sentences[..] else {
            panic!("not one sentence: {said}");
        };
        assert!(
            flip.is_named_in(sentence),
            "it does not say what is wrong: {sentence}"
        );
        println!("  {sentence}");
        return Met::Refused;
    }
    let quiet = reading::check(&mut broker, scene, flip);
    assert_eq!(broker.stop().code(), Some(0));
    let said = broker.said();
    assert!(!said.contains("panicked"), "{said}");
    if quiet {
        Met::AsIfNothing
    } else {
        Met::Reported
    }
}
