//! Clients that ask for much and read nothing.

use std::io;
use std::time::Duration;

use hulse_tests::{Hulse, Wire, input, random};
use hulse_wire::{Admin, Permits, Request};

use crate::bed::Bed;

const SENT_BYTES: u64 = 48 << 20;
/// Clients that do not read.
const DEAF: usize = 6;
/// Memory that all of them may cost: what each connection may have queued, and as much again.
const DEAF_BYTES_MAX: u64 = 64 << 20;

#[test]
fn consumers_that_do_not_read_cost_bounded_memory_and_hold_up_nobody() {
    let mut bed = Bed::new();
    let mut random = random("consumers_that_do_not_read_cost_bounded_memory_and_hold_up_nobody");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    input::write_lines(&path, &mut random, SENT_BYTES).unwrap();
    let mut sent = std::fs::read(&path).unwrap();
    Hulse::to(&bed.broker, "produce much").input(&sent).done();
    sent.push(b'\n');
    let memory = bed.broker.memory_bytes();
    let deaf: Vec<Wire> = (0..DEAF)
        .map(|number| {
            let mut wire = Wire::open_owner(bed.broker.address(), "much");
            let _ = wire
                .subscribe(1, "much", &format!("deaf-{number}"), 1_000_000)
                .unwrap();
            wire.send(
                1,
                &Request::Permits(Permits {
                    messages: 1_000_000,
                }),
            );
            wire
        })
        .collect();
    // Somebody who reads gets everything, through the same core.
    let got = Hulse::to(&bed.broker, "consume much -s all --until-end").done();
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    let grown = bed.broker.memory_bytes().saturating_sub(memory);
    assert!(
        grown < DEAF_BYTES_MAX,
        "clients that do not read cost {grown} bytes"
    );
    bed.assert_bystander();
    drop(deaf);
    // What was sent to a deaf one comes again to the next, from the beginning.
    let got = Hulse::to(&bed.broker, "consume much -s deaf-0 --until-end").done();
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    bed.assert_unharmed();
}

#[test]
fn questions_whose_answers_nobody_reads_are_not_taken_for_ever() {
    let mut bed = Bed::new();
    let memory = bed.broker.memory_bytes();
    let mut question = Vec::new();
    Request::Admin(Admin::Status)
        .encode(&mut question, 0, 1)
        .unwrap();
    let many = question.repeat(1_000);
    let mut deaf = Wire::open(bed.broker.address());
    deaf.set_write_patience(Duration::from_secs(2));
    let mut taken = 0;
    let refused = loop {
        match deaf.write(&many) {
            Ok(()) => taken += 1_000,
            Err(error) => break error,
        }
        assert!(taken < 2_000_000, "every question is taken");
    };
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "{refused}");
    let grown = bed.broker.memory_bytes().saturating_sub(memory);
    assert!(
        grown < DEAF_BYTES_MAX,
        "{taken} questions cost {grown} bytes"
    );
    bed.assert_bystander();
    drop(deaf);
    bed.assert_unharmed();
}
