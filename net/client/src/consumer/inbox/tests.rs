//! The inbox against brokers that send, lose streams, and are asked for entries again.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

use hulse_model::batch::Message;
use hulse_model::entry::encode_entry;
use hulse_model::{Entry, EntryDraft, PayloadFormat, ProducerId, Term};
use hulse_wire::AckRange;
use proptest::prelude::*;

const LIMITS: QueueLimits = QueueLimits {
    messages: 8,
    bytes: 1 << 20,
};

/// Entry `offset` with `messages` messages, of which `acked` are acknowledged.
fn delivery(term: u64, offset: u64, messages: u32, acked: Vec<AckRange>) -> Delivery {
    let payload = (0..messages).flat_map(|index| encoded(offset, index));
    let payload: Vec<u8> = payload.collect();
    entry(term, offset, messages, &payload, acked)
}

/// Message `index` of entry `offset`, as it stands in the payload.
fn encoded(offset: u64, index: u32) -> Vec<u8> {
    let value = format!("{offset}.{index}");
    let message = Message {
        key: None,
        value: value.as_bytes(),
    };
    let mut bytes = Vec::new();
    message.encode(&mut bytes).unwrap();
    bytes
}

/// Entry `offset` whose header speaks of `messages` messages, with this payload.
fn entry(term: u64, offset: u64, messages: u32, payload: &[u8], acked: Vec<AckRange>) -> Delivery {
    let draft = EntryDraft {
        format: PayloadFormat::Messages,
        appended_ms: 0,
        producer: ProducerId(0),
        sequence: 0,
        messages,
        payload,
        payload_crc: None,
    };
    let mut bytes = Vec::new();
    encode_entry(&draft, Term(term), Offset(offset), &mut bytes);
    let header = Entry::decode(&bytes).unwrap().header;
    Delivery::new(header, bytes.into(), acked, 0)
}

fn value(message: &Received) -> String {
    String::from_utf8(message.value().to_vec()).unwrap()
}

/// Takes everything that is there.
fn drain(inbox: &mut Inbox) -> Vec<String> {
    let mut values = Vec::new();
    while let Taken::Message(message) = inbox.take(&mut Vec::new()) {
        values.push(value(&message));
    }
    values
}

#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Acknowledge(usize),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_usize).prop_map(Step::Take),
        2 => (0..40_usize).prop_map(Step::Acknowledge),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// A broker that sends from the first message that is not acknowledged, as far as permits
    /// go, and a consumer that loses its stream at any moment.
    #[test]
    fn every_message_is_handed_out_once_and_in_order(
        entries in prop::collection::vec(1..6_u32, 1..12),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let all: Vec<(u64, u32)> = (0..)
            .zip(&entries)
            .flat_map(|(offset, messages)| (0..*messages).map(move |index| (offset, index)))
            .collect();
        let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::InOrder);
        let mut generation = 1;
        let mut permits = i64::from(inbox.restart(0, generation));
        let mut acked = vec![false; all.len()];
        let mut next_entry = 0;
        let mut handed = Vec::new();
        let take_rest = std::iter::repeat_n(Step::Take(5), 100);
        for step in steps.into_iter().chain(take_rest) {
            while permits > 0 && next_entry < entries.len() {
                let offset = next_entry as u64;
                next_entry += 1;
                let ranges: Vec<_> = (0..)
                    .zip(&all)
                    .filter(|(at, (of, _))| *of == offset && acked[*at])
                    .map(|(_, (of, index))| AckRange::message(Offset(*of), *index))
                    .collect();
                let open = entries[next_entry - 1] as usize - ranges.len();
                if open > 0 {
                    permits -= open as i64;
                    let sent = delivery(1, offset, entries[next_entry - 1], ranges);
                    inbox.arrived(0, generation, sent);
                    permits += inbox.grant(0).map_or(0, |grant| i64::from(grant.permits));
                }
            }
            match step {
                Step::Take(count) => {
                    for _ in 0..count {
                        let mut grants = Vec::new();
                        if let Taken::Message(message) = inbox.take(&mut grants) {
                            handed.push(value(&message));
                        }
                        for grant in grants {
                            prop_assert_eq!(grant.generation, generation);
                            permits += i64::from(grant.permits);
                        }
                    }
                }
                Step::Acknowledge(at) => {
                    // Only what was handed out can be acknowledged.
                    if at < handed.len() {
                        acked[at] = true;
                    }
                }
                Step::Reconnect => {
                    generation += 1;
                    permits = i64::from(inbox.restart(0, generation));
                    next_entry = 0;
                }
            }
        }
        let expected: Vec<_> =
            all.iter().map(|(offset, index)| format!("{offset}.{index}")).collect();
        prop_assert_eq!(handed, expected);
    }
}

#[test]
fn the_good_messages_before_a_damaged_one_are_handed_out_first() {
    let good = [encoded(5, 0), encoded(5, 1)].concat();
    // Cut off in the third, bytes that are no message, and a third that is not there at all.
    let third = encoded(5, 2);
    let cut = &third[..third.len() - 1];
    for rest in [cut, &[0xff; 40], &[]] {
        let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::InOrder);
        assert_eq!(inbox.restart(0, 1), 8);
        let damaged = entry(1, 5, 4, &[&good, rest].concat(), Vec::new());
        assert!(inbox.arrived(0, 1, damaged));
        inbox.arrived(0, 1, delivery(1, 6, 3, Vec::new()));
        let mut grants = Vec::new();
        for index in 0..2 {
            let Taken::Message(message) = inbox.take(&mut grants) else {
                panic!("message {index} is good")
            };
            assert_eq!(value(&message), format!("5.{index}"));
        }
        let Taken::Error(ClientError::Undecodable { id, .. }) = inbox.take(&mut grants) else {
            panic!("the third is not")
        };
        assert_eq!((id.term, id.offset, id.partition), (Term(1), Offset(5), -1));
        // What cannot be handed out gives its permits back: four of eight messages are gone.
        let given: u32 = grants.iter().map(|grant| grant.permits).sum();
        assert_eq!(given, 4);
        for index in 0..3 {
            let Taken::Message(message) = inbox.take(&mut grants) else {
                panic!("the next entry is whole")
            };
            assert_eq!(value(&message), format!("6.{index}"));
        }
        assert!(matches!(inbox.take(&mut grants), Taken::Nothing));
        // What has been told once is not told again after a reconnection.
        inbox.restart(0, 2);
        let again = entry(1, 5, 4, &[&good, rest].concat(), Vec::new());
        assert!(!inbox.arrived(0, 2, again));
    }
}

#[test]
fn what_comes_over_an_earlier_stream_or_during_a_move_is_dropped() {
    let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::InOrder);
    inbox.restart(0, 1);
    inbox.restart(0, 2);
    assert!(!inbox.arrived(0, 1, delivery(1, 0, 1, Vec::new())));
    assert!(inbox.arrived(0, 2, delivery(1, 0, 1, Vec::new())));
    inbox.moving(0);
    assert!(!inbox.arrived(0, 2, delivery(1, 1, 1, Vec::new())));
    inbox.moved(0);
    assert!(inbox.arrived(0, 2, delivery(1, 7, 1, Vec::new())));
    assert_eq!(drain(&mut inbox), ["7.0"]);
}

#[test]
fn after_a_move_what_was_seen_comes_again() {
    let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::InOrder);
    inbox.restart(0, 1);
    inbox.arrived(0, 1, delivery(1, 5, 2, Vec::new()));
    assert_eq!(drain(&mut inbox), ["5.0", "5.1"]);
    assert!(!inbox.arrived(0, 1, delivery(1, 5, 2, Vec::new())), "seen");
    assert!(
        inbox.arrived(0, 1, delivery(2, 5, 2, Vec::new())),
        "of a later term"
    );
    inbox.moving(0);
    inbox.moved(0);
    inbox.arrived(0, 1, delivery(1, 5, 2, Vec::new()));
    assert_eq!(drain(&mut inbox), ["5.0", "5.1"]);
}

/// Delivers entries of two messages each.
fn arrive(inbox: &mut Inbox, offsets: impl IntoIterator<Item = u64>) {
    for offset in offsets {
        inbox.arrived(0, 1, delivery(1, offset, 2, Vec::new()));
    }
}

fn both(offsets: impl IntoIterator<Item = u64>) -> Vec<String> {
    let of = |offset| [format!("{offset}.0"), format!("{offset}.1")];
    offsets.into_iter().flat_map(of).collect()
}

#[test]
fn in_order_an_entry_that_is_asked_for_again_comes_again_and_those_behind_it_do_not() {
    let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::InOrder);
    inbox.restart(0, 1);
    arrive(&mut inbox, 0..3);
    assert_eq!(drain(&mut inbox), both(0..3));
    arrive(&mut inbox, 3..4);
    inbox.forget(0, &[Offset(1)], false);
    // The broker begins again with the entry, while one was still on the way.
    arrive(&mut inbox, 4..5);
    arrive(&mut inbox, 1..6);
    assert_eq!(drain(&mut inbox), both([3, 4, 1, 5]));
    arrive(&mut inbox, 1..6);
    assert_eq!(drain(&mut inbox), both([]), "once only");
}

#[derive(Debug, Clone)]
enum Wanted {
    Send(usize),
    Arrive(usize),
    Take(usize),
    Acknowledge(prop::sample::Index),
    Negative(prop::sample::Index),
    Reconnect,
    Retire,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let one = any::<prop::sample::Index>;
    prop_oneof![
        6 => (1..4_usize).prop_map(Wanted::Send),
        6 => (1..4_usize).prop_map(Wanted::Arrive),
        6 => (1..6_usize).prop_map(Wanted::Take),
        2 => one().prop_map(Wanted::Acknowledge),
        2 => one().prop_map(Wanted::Negative),
        1 => Just(Wanted::Reconnect),
        1 => Just(Wanted::Retire),
    ]
}

proptest! {
    /// A broker that sends in order, from an entry on when that is wanted again and from the
    /// first one when the stream or the active consumer changes; what is on the way then comes
    /// first, or not at all. Three messages to an entry.
    #[test]
    fn in_order_what_is_wanted_again_comes_again_and_nothing_else_does(
        entries in 1..8_u64,
        steps in prop::collection::vec(wanted(), 0..150),
    ) {
        let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::InOrder);
        let mut generation = 1;
        inbox.restart(0, generation);
        let mut acked = BTreeSet::new();
        let (mut next, mut on_the_way) = (0, VecDeque::new());
        // How often each message was handed out, and how often it may have been.
        let mut handed: BTreeMap<(u64, u32), u32> = BTreeMap::new();
        let mut allowed: BTreeMap<u64, u32> = BTreeMap::new();
        let mut owed = BTreeSet::new();
        let rest = [Wanted::Send(9), Wanted::Arrive(999), Wanted::Take(9_999)];
        for step in steps.into_iter().chain(rest) {
            let known: Vec<(u64, u32)> = handed.keys().copied().collect();
            match step {
                Wanted::Send(count) => {
                    for _ in 0..count {
                        let ranges: Vec<AckRange> = (0..3)
                            .filter(|index| acked.contains(&(next, *index)))
                            .map(|index| AckRange::message(Offset(next), index))
                            .collect();
                        if next < entries && ranges.len() < 3 {
                            on_the_way.push_back((generation, delivery(1, next, 3, ranges)));
                        }
                        next = entries.min(next + 1);
                    }
                }
                Wanted::Arrive(count) => {
                    for _ in 0..count {
                        if let Some((generation, delivery)) = on_the_way.pop_front() {
                            inbox.arrived(0, generation, delivery);
                        }
                    }
                }
                Wanted::Take(count) => {
                    for _ in 0..count {
                        if let Taken::Message(message) = inbox.take(&mut Vec::new()) {
                            let id = message.message_id();
                            let place = (id.offset.0, u32::try_from(id.index).unwrap());
                            *handed.entry(place).or_default() += 1;
                            owed.remove(&place);
                        }
                    }
                }
                Wanted::Acknowledge(which) if !known.is_empty() => {
                    let place = *which.get(&known);
                    acked.insert(place);
                    owed.remove(&place);
                }
                Wanted::Negative(which) if !known.is_empty() => {
                    let (offset, _) = *which.get(&known);
                    *allowed.entry(offset).or_default() += 1;
                    let of_entry = known.iter().filter(|it| it.0 == offset);
                    owed.extend(of_entry.filter(|it| !acked.contains(it)).copied());
                    inbox.forget(0, &[Offset(offset)], false);
                    next = next.min(offset);
                }
                Wanted::Acknowledge(_) | Wanted::Negative(_) => {}
                Wanted::Reconnect | Wanted::Retire => {
                    if matches!(step, Wanted::Reconnect) {
                        generation += 1;
                        inbox.restart(0, generation);
                    } else {
                        inbox.retire(0);
                    }
                    on_the_way.clear();
                    next = 0;
                    // What comes again is cut off in the middle, and then comes once more.
                    for times in allowed.values_mut() {
                        *times += 1;
                    }
                }
            }
        }
        for offset in 0..entries {
            for place in (0..3).map(|index| (offset, index)) {
                let times = handed.get(&place).copied().unwrap_or_default();
                let most = 1 + allowed.get(&offset).copied().unwrap_or_default();
                prop_assert!((1..=most).contains(&times), "{place:?}: {times} of {most}");
            }
        }
        prop_assert!(owed.is_empty(), "never came again: {owed:?}");
    }
}

#[test]
fn where_everything_is_handed_out_what_waits_behind_the_entry_comes_with_it() {
    let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::Nothing);
    inbox.restart(0, 1);
    arrive(&mut inbox, 0..4);
    assert!(matches!(inbox.take(&mut Vec::new()), Taken::Message(_)));
    inbox.forget(0, &[Offset(0)], true);
    arrive(&mut inbox, 0..4);
    assert_eq!(drain(&mut inbox), both(0..4));
}

#[test]
fn in_any_order_only_what_is_asked_for_comes_again() {
    let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::AnyOrder);
    inbox.restart(0, 1);
    arrive(&mut inbox, [5, 2, 9]);
    assert_eq!(drain(&mut inbox), both([5, 2, 9]));
    arrive(&mut inbox, [7, 8]);
    inbox.forget(0, &[Offset(2), Offset(8)], false);
    arrive(&mut inbox, [2, 5, 8, 9]);
    assert_eq!(drain(&mut inbox), both([7, 2, 8]));
    // Over a new stream, what was handed out is still known.
    inbox.restart(0, 2);
    inbox.arrived(0, 2, delivery(1, 5, 2, Vec::new()));
    inbox.arrived(0, 2, delivery(1, 6, 2, Vec::new()));
    assert_eq!(drain(&mut inbox), both([6]));
}

#[test]
fn who_is_retired_drops_what_waits_and_has_its_permits_back() {
    let mut inbox = Inbox::new(&[-1], LIMITS, SkipSeen::Nothing);
    assert_eq!(inbox.restart(0, 1), 8);
    arrive(&mut inbox, 0..4);
    assert_eq!(inbox.grant(0), None);
    assert!(matches!(inbox.take(&mut Vec::new()), Taken::Message(_)));
    inbox.retire(0);
    let grant = inbox.grant(0).expect("nothing waits any more");
    assert_eq!(grant.permits, 8);
    arrive(&mut inbox, 0..1);
    assert_eq!(drain(&mut inbox), both(0..1), "it was not counted as seen");
}

proptest! {
    /// Whatever is delivered again, however often: what the broker counts is what the window
    /// counts, so that permits neither run out nor pile up.
    #[test]
    fn entries_that_come_again_use_permits_again(
        rule in prop::sample::select(vec![
            SkipSeen::Nothing, SkipSeen::InOrder, SkipSeen::AnyOrder,
        ]),
        steps in prop::collection::vec((0..12_u64, 0..4_usize, any::<bool>(), any::<bool>()), 1..200),
    ) {
        let mut inbox = Inbox::new(&[-1], LIMITS, rule);
        let mut permits = i64::from(inbox.restart(0, 1));
        for (offset, takes, forget, from_first_on) in steps {
            let mut grants = Vec::new();
            if permits > 0 {
                inbox.arrived(0, 1, delivery(1, offset, 3, Vec::new()));
                permits -= 3;
            }
            for _ in 0..takes {
                inbox.take(&mut grants);
            }
            if forget {
                inbox.forget(0, &[Offset(offset / 2)], from_first_on);
            }
            grants.extend(inbox.grant(0));
            permits += grants.iter().map(|grant| i64::from(grant.permits)).sum::<i64>();
            prop_assert!(permits <= 8);
        }
        let mut grants = Vec::new();
        while let Taken::Message(_) = inbox.take(&mut grants) {}
        grants.extend(inbox.grant(0));
        permits += grants.iter().map(|grant| i64::from(grant.permits)).sum::<i64>();
        // Permits come back when half of the window is free.
        prop_assert!((5..=8).contains(&permits), "{permits} permits, and nothing waits");
    }
}

#[test]
fn a_partition_that_stopped_says_so_until_it_is_moved_and_gets_no_permits() {
    let mut inbox = Inbox::new(&[0, 1], LIMITS, SkipSeen::InOrder);
    assert_eq!(inbox.restart(0, 1), 8);
    inbox.restart(1, 1);
    inbox.arrived(0, 1, delivery(1, 0, 1, Vec::new()));
    inbox.stop(0, ClientError::Closed);
    assert_eq!(
        drain(&mut inbox),
        ["0.0"],
        "what came before goes first; then the error"
    );
    assert!(
        matches!(inbox.take(&mut Vec::new()), Taken::Nothing),
        "the other may go on"
    );
    assert_eq!(inbox.restart(0, 2), 0);
    inbox.stop(1, ClientError::Closed);
    for _ in 0..3 {
        assert!(
            matches!(inbox.take(&mut Vec::new()), Taken::Error(_)),
            "nothing can come"
        );
    }
    inbox.moved(0);
    assert_eq!(
        inbox.grant(0),
        Some(Grant {
            lane: 0,
            generation: 2,
            permits: 8
        })
    );
    assert!(matches!(inbox.take(&mut Vec::new()), Taken::Nothing));
}
