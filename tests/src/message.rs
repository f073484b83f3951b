//! Messages that say who they are, so that a torn or a foreign one is seen.

use rand::{RngExt, SeedableRng};

use crate::seed::Random;

/// The value of a producer's message: its name, its number, and letters that follow from the
/// number, mostly few and sometimes many.
#[must_use]
pub fn value(producer: &str, number: u64) -> String {
    let mut random = Random::seed_from_u64(number);
    let letters = match random.random_range(0..100) {
        0..60 => random.random_range(0..100),
        60..99 => random.random_range(100..1_000),
        _ => random.random_range(1_000..20_000),
    };
    let letters = (0..letters).map(|_| char::from(random.random_range(b'a'..=b'z')));
    letters.fold(format!("{producer} {number} "), |mut text, letter| {
        text.push(letter);
        text
    })
}

/// Reads a value: whose message it is and which.
///
/// # Panics
/// When it is not exactly what was sent.
#[must_use]
pub fn read(text: &str) -> (&str, u64) {
    let mut words = text.split(' ');
    let (producer, number) = (
        words.next(),
        words.next().and_then(|word| word.parse().ok()),
    );
    let (Some(producer), Some(number)) = (producer, number) else {
        panic!("nobody has sent this: {text:?}");
    };
    assert!(
        text == value(producer, number),
        "message {number} of {producer} is torn: {text:?}"
    );
    (producer, number)
}
