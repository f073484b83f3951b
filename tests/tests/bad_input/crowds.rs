//! Connections by the thousand that never finish their handshake.

use std::time::{Duration, Instant};

use hulse_model::Status;
use hulse_model::limits::{BEACON_TIMEOUT_MS, CORE_HANDSHAKES_MAX, HANDSHAKE_TIMEOUT_MS};
use hulse_tests::{Hulse, LIMIT, RawFrame, Wire, metric, wait_until};
use hulse_wire::{Hello, Request};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bed::Bed;

/// More than a core lets in.
const CROWD: usize = CORE_HANDSHAKES_MAX + 500;
/// Memory that a crowd may cost, in bytes.
const CROWD_BYTES_MAX: u64 = 64 << 20;

/// Lets this process, and the broker that it starts, open as many files as the system allows it.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
}

#[test]
fn half_open_handshakes_are_bounded_and_end_in_time() {
    allow_many_files();
    let mut bed = Bed::new();
    let address = bed.broker.address();
    let (memory, admin) = (bed.broker.memory_bytes(), bed.broker.admin());
    let refused = || metric(admin, "hulse_connections_refused_total");
    assert_eq!(refused(), 0);
    let began = Instant::now();
    let opening = RawFrame::of(&hulse_tests::hello(1, 1), 0, 1).bytes();
    let mut crowd: Vec<Wire> = (0..CROWD)
        .map(|number| {
            let mut wire = Wire::connect(address);
            // Nothing at all, the opening, or a frame that is cut off somewhere; the broker may
            // have closed it by now.
            let said = [b"HULS", &opening[..]].concat();
            let _ = wire.write(&said[..number % said.len()]);
            wire
        })
        .collect();
    let over = u64::try_from(CROWD - CORE_HANDSHAKES_MAX).unwrap();
    // Who asks for the metrics finishes handshakes of another kind.
    wait_until("those over the limit are refused", LIMIT, || {
        (refused() >= over).then_some(())
    });
    assert!(
        refused() <= over + 5,
        "{} of {CROWD} were refused",
        refused()
    );
    let grown = bed.broker.memory_bytes().saturating_sub(memory);
    assert!(grown < CROWD_BYTES_MAX, "a crowd costs {grown} bytes");

    // Whoever is in already notices nothing; who comes now gets in as soon as the others are out.
    bed.assert_bystander();
    let server = bed.broker.server();
    let list = ["topic", "list", "--timeout", "30", "--server", &server];
    let _ = Hulse::new(list).run().expect(0);

    // Every byte that comes late changes nothing: the handshake has to be over in time.
    let dripping = &mut crowd[..50];
    let deadline = Duration::from_millis(HANDSHAKE_TIMEOUT_MS);
    let evicted = || metric(admin, "hulse_connections_evicted_total");
    let at_most = u64::try_from(CORE_HANDSHAKES_MAX).unwrap();
    wait_until("all of the crowd are out", LIMIT, || {
        for wire in &mut *dripping {
            let _ = wire.write(b"x");
        }
        (bed.connections() <= 2).then_some(())
    });
    let took = began.elapsed();
    assert!(
        took >= deadline.mul_f32(0.5),
        "the crowd was out after {took:?}"
    );
    assert!(evicted() <= at_most);
    drop(crowd);
    bed.assert_unharmed();
}

#[test]
fn a_handshake_that_takes_too_long_is_told_so() {
    let mut bed = Bed::new();
    let mut silent = bed.greeting(b"");
    let told = silent.refusal();
    assert_eq!(told.status, Status::HandshakeTimeout, "{}", told.message);
    silent.assert_closed();
    bed.assert_unharmed();
}

#[test]
fn a_client_that_falls_silent_is_evicted_and_its_place_is_free() {
    let mut bed = Bed::new();
    let hello = Request::Hello(Hello {
        version_min: 1,
        version_max: 1,
        client: "silent",
        beacon_timeout_ms: BEACON_TIMEOUT_MS,
    });
    let mut silent = bed.greeting(&RawFrame::of(&hello, 0, 1).bytes());
    assert!(
        silent
            .reply(|reply| matches!(reply, hulse_wire::Reply::Welcome(_)))
            .unwrap()
    );
    let _ = silent.subscribe(1, "calm", "held", 10).unwrap();
    // What it was delivered does not matter here.
    let told = loop {
        let told = silent.reply(|reply| match reply {
            hulse_wire::Reply::Error(error) => error.status.known(),
            _ => None,
        });
        match told {
            Some(None) => {}
            told => break told.flatten(),
        }
    };
    assert_eq!(told, Some(Status::PeerSilent));
    silent.assert_closed();
    let mut next = Wire::open(bed.broker.address());
    let _ = next.subscribe(1, "calm", "held", 10).unwrap();
    drop(next);
    bed.assert_unharmed();
}
