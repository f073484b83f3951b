//! What has come for a consumer and waits for the application, of all partitions together. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use hulse_model::batch::{BatchError, MESSAGE_HEADER_BYTES, Messages};
use hulse_model::entry::ENTRY_HEADER_BYTES;
use hulse_model::{EntryHeader, Offset, Term};
use hulse_wire::AckRange;

use crate::consumer::received::Received;
use crate::consumer::window::{QueueLimits, Window};
use crate::error::ClientError;

/// One entry as it came, of which some messages may be taken already.
#[derive(Debug)]
pub(crate) struct Delivery {
    header: EntryHeader,
    entry: Bytes,
    acked: Vec<AckRange>,
    redelivery_count: u32,
    next_index: u32,
    /// Where the next message begins.
    next_at: usize,
}

impl Delivery {
    /// `entry` is a whole entry whose header is `header`; the messages in `acked` are skipped.
    pub(crate) fn new(
        header: EntryHeader,
        entry: Bytes,
        mut acked: Vec<AckRange>,
        redelivery_count: u32,
    ) -> Self {
        acked.sort_unstable_by_key(|range| range.first_index);
        let next_at = ENTRY_HEADER_BYTES;
        Self {
            header,
            entry,
            acked,
            redelivery_count,
            next_index: 0,
            next_at,
        }
    }

    fn is_acked(&self, index: u32) -> bool {
        let behind = self
            .acked
            .partition_point(|range| range.first_index <= index);
        behind > 0 && self.acked[behind - 1].last_index >= index
    }

    /// How many messages the broker counts this delivery as.
    fn counted(&self) -> u32 {
        self.open_from(0)
    }

    /// How many messages from `first` on are not acknowledged.
    fn open_from(&self, first: u32) -> u32 {
        let messages = self.header.messages;
        if self.acked.is_empty() {
            return messages.saturating_sub(first);
        }
        let open = (first..messages)
            .filter(|index| !self.is_acked(*index))
            .count();
        u32::try_from(open).unwrap_or(messages)
    }
}

/// Something for the application.
#[derive(Debug)]
enum Item {
    Delivery {
        lane: usize,
        delivery: Delivery,
    },
    Error {
        lane: Option<usize>,
        error: ClientError,
    },
}

impl Item {
    /// The partition that has to be given permits once the item is gone.
    const fn lane(&self) -> Option<usize> {
        match self {
            Self::Delivery { lane, .. } => Some(*lane),
            Self::Error { .. } => None,
        }
    }
}

/// Permits for one partition's broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Which partition.
    pub(crate) lane: usize,
    /// The stream that they are for.
    pub(crate) generation: u64,
    /// How many messages more.
    pub(crate) permits: u32,
}

/// The place of a message: rises with every message that is handed out, also when a new primary
/// has stored others under offsets that an earlier one had used.
type Place = (Term, Offset, u32);

/// One partition's part.
#[derive(Debug)]
struct Lane {
    partition: i32,
    /// Of the stream whose deliveries count.
    generation: u64,
    window: Window,
    /// No permits are given: the application has to say where to go on.
    paused: bool,
    /// The subscription is being moved, and what comes until that is done is not wanted.
    moving: bool,
    /// The last message that was handed out.
    seen: Option<Place>,
    /// An error of it waits in the queue.
    has_error: bool,
    /// Nothing comes from it any more until somebody does something about this.
    stopped: Option<ClientError>,
}

/// What a look into the inbox gave.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The next message.
    Message(Received),
    /// Something went wrong on a partition.
    Error(ClientError),
    /// Nothing yet.
    Nothing,
}

/// The inbox of one consumer.
#[derive(Debug)]
pub(crate) struct Inbox {
    items: VecDeque<Item>,
    lanes: Vec<Lane>,
    skip_seen: bool,
    closed: Option<ClientError>,
}

impl Inbox {
    /// An empty inbox for these partitions. `skip_seen`: no message is handed out twice.
    pub(crate) fn new(partitions: &[i32], limits: QueueLimits, skip_seen: bool) -> Self {
        let lane = |partition: &i32| Lane {
            partition: *partition,
            generation: 0,
            window: Window::new(limits),
            paused: false,
            moving: false,
            seen: None,
            has_error: false,
            stopped: None,
        };
        let lanes = partitions.iter().map(lane).collect();
        Self {
            items: VecDeque::new(),
            lanes,
            skip_seen,
            closed: None,
        }
    }

    /// A new stream begins: what came over the one before is dropped, since it comes again.
    /// Gives the permits to subscribe with.
    pub(crate) fn restart(&mut self, lane: usize, generation: u64) -> u32 {
        // What waits comes again over the new stream, unless that is given no permits.
        if !self.lanes[lane].paused {
            self.drop_deliveries(lane);
        }
        let it = &mut self.lanes[lane];
        it.generation = generation;
        it.moving = false;
        it.window.restart(it.paused)
    }

    /// The subscription is about to be moved: what waits and what comes until then is dropped.
    pub(crate) fn moving(&mut self, lane: usize) {
        self.drop_deliveries(lane);
        self.lanes[lane].moving = true;
    }

    /// The subscription was moved: what comes now is new whatever it is.
    pub(crate) fn moved(&mut self, lane: usize) {
        let it = &mut self.lanes[lane];
        it.moving = false;
        it.paused = false;
        it.stopped = None;
        it.seen = None;
    }

    /// Drops what waits of a partition; its messages count as taken.
    fn drop_deliveries(&mut self, lane: usize) {
        let it = &mut self.lanes[lane];
        self.items.retain(|item| match item {
            Item::Delivery { lane: of, delivery } if *of == lane => {
                it.window.taken(delivery.open_from(delivery.next_index));
                false
            }
            _ => true,
        });
    }

    /// An entry came. False when it was dropped: it came over an earlier stream, is not wanted, or
    /// has been handed out before.
    pub(crate) fn arrived(&mut self, lane: usize, generation: u64, delivery: Delivery) -> bool {
        let it = &mut self.lanes[lane];
        if it.generation != generation {
            return false;
        }
        let messages = delivery.counted();
        it.window.arrived(messages, delivery.entry.len());
        let header = &delivery.header;
        let last = (header.term, header.offset, header.messages - 1);
        if it.moving || (self.skip_seen && it.seen.is_some_and(|seen| last <= seen)) {
            it.window.taken(messages);
            return false;
        }
        self.items.push_back(Item::Delivery { lane, delivery });
        true
    }

    /// Tells the application of trouble on a partition, once until it has looked.
    pub(crate) fn trouble(&mut self, lane: usize, error: ClientError) {
        if !std::mem::replace(&mut self.lanes[lane].has_error, true) {
            self.items.push_back(Item::Error {
                lane: Some(lane),
                error,
            });
        }
    }

    /// Nothing comes from a partition any more until it is [`Self::moved`].
    pub(crate) fn stop(&mut self, lane: usize, error: ClientError) {
        let it = &mut self.lanes[lane];
        it.stopped = Some(error.clone());
        it.paused = true;
        self.trouble(lane, error);
    }

    /// Ends everything: what waits is dropped.
    pub(crate) fn close(&mut self, error: ClientError) {
        self.closed.get_or_insert(error);
        self.items.clear();
    }

    /// Whether something waits.
    pub(crate) fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    /// Permits that a partition's broker may be given now, and the stream that they are for.
    pub(crate) fn grant(&mut self, lane: usize) -> Option<Grant> {
        let it = &mut self.lanes[lane];
        if it.paused || it.moving {
            return None;
        }
        let permits = it.window.grant()?;
        Some(Grant {
            lane,
            generation: it.generation,
            permits,
        })
    }

    /// Takes the next message out. The permits that are due thereby go into `grants`.
    pub(crate) fn take(&mut self, grants: &mut Vec<Grant>) -> Taken {
        loop {
            let lane = self.items.front().and_then(Item::lane);
            let taken = self.take_one();
            if let Some(lane) = lane {
                grants.extend(self.grant(lane));
            }
            if let Some(taken) = taken {
                return taken;
            }
        }
    }

    /// Puts an error back that was taken out, to be taken first.
    pub(crate) fn put_back(&mut self, error: ClientError) {
        self.items.push_front(Item::Error { lane: None, error });
    }

    /// One step of [`Self::take`]; `None` when the first item is used up.
    fn take_one(&mut self) -> Option<Taken> {
        match self.items.front_mut() {
            None => Some(self.empty()),
            Some(Item::Error { lane, error }) => {
                if let Some(lane) = *lane {
                    self.lanes[lane].has_error = false;
                }
                let error = error.clone();
                self.items.pop_front();
                Some(Taken::Error(error))
            }
            Some(Item::Delivery { lane, delivery }) => {
                let it = &mut self.lanes[*lane];
                match next_message(delivery, it, self.skip_seen) {
                    Some(Ok(message)) => Some(Taken::Message(message)),
                    Some(Err(error)) => {
                        self.items.pop_front();
                        Some(Taken::Error(error))
                    }
                    None => {
                        self.items.pop_front();
                        None
                    }
                }
            }
        }
    }

    fn empty(&self) -> Taken {
        if let Some(error) = &self.closed {
            return Taken::Error(error.clone());
        }
        // When no partition can give anything any more, waiting would never end.
        let mut stopped = self.lanes.iter().map(|lane| lane.stopped.as_ref());
        match stopped.next() {
            Some(Some(error)) if stopped.all(|error| error.is_some()) => {
                Taken::Error(error.clone())
            }
            _ => Taken::Nothing,
        }
    }
}

/// The next message of a delivery that is to be handed out; `None` when there is none left.
fn next_message(
    delivery: &mut Delivery,
    lane: &mut Lane,
    skip_seen: bool,
) -> Option<Result<Received, ClientError>> {
    let header = delivery.header;
    loop {
        let index = delivery.next_index;
        let rest = &delivery.entry[delivery.next_at..];
        let message = match Messages::new(rest).next() {
            None if index >= header.messages => return None,
            Some(Ok(message)) if index < header.messages => message,
            // More or fewer messages than the header says, or none that can be read.
            other => {
                let source = match other {
                    Some(Err(error)) => error,
                    _ => BatchError::Truncated,
                };
                lane.window.taken(delivery.open_from(index));
                lane.seen = lane.seen.max(Some((header.term, header.offset, u32::MAX)));
                let id = header.message_id(lane.partition, -1);
                return Some(Err(ClientError::Undecodable { id, source }));
            }
        };
        let key_bytes = message.key.map(<[u8]>::len);
        let key_at = delivery.next_at + MESSAGE_HEADER_BYTES;
        let value_at = key_at + key_bytes.unwrap_or(0);
        let end = value_at + message.value.len();
        delivery.next_index += 1;
        delivery.next_at = end;
        if delivery.is_acked(index) {
            continue;
        }
        lane.window.taken(1);
        let place = Some((header.term, header.offset, index));
        if skip_seen && place <= lane.seen {
            continue;
        }
        lane.seen = place;
        let id = header.message_id(lane.partition, i32::try_from(index).unwrap_or(i32::MAX));
        let key = key_bytes.map(|bytes| key_at..key_at + bytes);
        return Some(Ok(Received::new(
            delivery.entry.clone(),
            key,
            value_at..end,
            header,
            id,
            delivery.redelivery_count,
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::batch::Message;
    use hulse_model::entry::encode_entry;
    use hulse_model::{Entry, EntryDraft, PayloadFormat, ProducerId};
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
    fn entry(
        term: u64,
        offset: u64,
        messages: u32,
        payload: &[u8],
        acked: Vec<AckRange>,
    ) -> Delivery {
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
            let mut inbox = Inbox::new(&[-1], LIMITS, true);
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
            let mut inbox = Inbox::new(&[-1], LIMITS, true);
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
        let mut inbox = Inbox::new(&[-1], LIMITS, true);
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
        let mut inbox = Inbox::new(&[-1], LIMITS, true);
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

    #[test]
    fn a_partition_that_stopped_says_so_until_it_is_moved_and_gets_no_permits() {
        let mut inbox = Inbox::new(&[0, 1], LIMITS, true);
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
}
