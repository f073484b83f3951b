//! The account of what a partition's subscriptions were given and have acknowledged, with the rules
//! that hold at every moment. It looks at each thing that the shard says, in order.

use std::collections::BTreeMap;

use hulse_model::batch::Messages;
use hulse_shard::{Receipt, Reply, StreamKey};
use hulse_subscription::SubscriptionKind::{self, Failover, KeyShared, Shared};

use crate::crowd::words::Words;
use crate::rim::Delivered;

/// A consumer as long as its stream is open.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: String,
    priority: u8,
    pub(super) permits: i64,
    /// It was told that it is attached.
    attached: bool,
    /// It can always take something, since it came and until it goes.
    always_ready: bool,
    /// Messages that it was given.
    pub(super) given: u64,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) kind: SubscriptionKind,
    pub(super) words: Words,
    pub(super) sessions: BTreeMap<StreamKey, Session>,
    /// Who has which entry, of a shared or key-shared subscription.
    pub(super) with: BTreeMap<u64, StreamKey>,
    /// How often each entry was given out in this life of the process, and its count the last time.
    given: BTreeMap<u64, (u32, u32)>,
    /// The key of each entry of which it is known.
    keys: BTreeMap<u64, Option<Vec<u8>>>,
    /// The newest entry of each key that was given out in this life of the process.
    newest: BTreeMap<Option<Vec<u8>>, u64>,
    /// Of a failover subscription: who was told last that it is the active one.
    pub(super) active: Option<StreamKey>,
    /// Of a failover subscription: the entry that comes next, or one behind it.
    pub(super) next: u64,
    /// The largest entry that was given out in this life of the process.
    largest: u64,
}

/// Acknowledged messages of an entry: the first and the last.
pub(super) type Acked = (u64, u32, u32);

#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) subscriptions: Vec<Subscription>,
    /// The subscription of every stream that ever was.
    streams: BTreeMap<StreamKey, usize>,
    /// Batches that wait for their receipts, in order.
    produced: BTreeMap<StreamKey, Vec<Vec<u8>>>,
    /// What was said to be stored.
    stored: BTreeMap<u64, Vec<u8>>,
    /// Acknowledgements that wait for their receipts.
    asked: BTreeMap<(StreamKey, u64), Vec<Acked>>,
    pub(super) deliveries: u64,
    pub(super) again: u64,
    pub(super) receipts: u64,
}

impl Account {
    pub(super) fn new(kinds: &[SubscriptionKind]) -> Self {
        let subscription = |kind: &SubscriptionKind| Subscription {
            kind: *kind,
            words: Words::default(),
            sessions: BTreeMap::new(),
            with: BTreeMap::new(),
            given: BTreeMap::new(),
            keys: BTreeMap::new(),
            newest: BTreeMap::new(),
            active: None,
            next: 0,
            largest: 0,
        };
        Self {
            subscriptions: kinds.iter().map(subscription).collect(),
            ..Self::default()
        }
    }

    fn of(&mut self, stream: StreamKey) -> &mut Subscription {
        &mut self.subscriptions[self.streams[&stream]]
    }

    /// The consumers beside one.
    pub(super) fn others(&mut self, stream: StreamKey) -> impl Iterator<Item = StreamKey> {
        let all = self.of(stream).sessions.keys().copied();
        all.filter(move |other| *other != stream)
    }

    /// A batch was taken.
    pub(super) fn produced(&mut self, to: StreamKey, payload: Vec<u8>) {
        self.produced.entry(to).or_default().push(payload);
    }

    /// A batch is stored.
    pub(super) fn stored(&mut self, to: StreamKey, receipt: &Receipt) {
        let owed = self.produced.get_mut(&to).expect("it has sent batches");
        let (_, offset) = receipt.id.expect("a new batch has an id");
        let payload = owed.remove(0);
        for subscription in &mut self.subscriptions {
            subscription.keys.insert(offset.0, key_of(&payload));
        }
        let known = self.stored.insert(offset.0, payload);
        assert!(known.is_none(), "two batches are stored as {offset}");
    }

    /// A consumer comes. `always_ready` says that it takes whatever it can be given.
    pub(super) fn comes(
        &mut self,
        subscription: usize,
        stream: StreamKey,
        (name, priority): (String, u8),
        permits: u32,
        always_ready: bool,
    ) {
        let session = Session {
            name,
            priority,
            permits: permits.into(),
            attached: false,
            always_ready,
            given: 0,
        };
        self.streams.insert(stream, subscription);
        self.of(stream).sessions.insert(stream, session);
    }

    /// A consumer asks for more.
    pub(super) fn permits(&mut self, stream: StreamKey, more: u32) {
        let session = self.of(stream).sessions.get_mut(&stream);
        session.expect("it is there").permits += i64::from(more);
    }

    /// A consumer acknowledges messages, with the request to answer if it wants an answer.
    pub(super) fn acknowledged(
        &mut self,
        stream: StreamKey,
        messages: Vec<Acked>,
        request: Option<u64>,
    ) {
        let subscription = self.of(stream);
        for (offset, first, last) in &messages {
            subscription.words.taken(*offset, *first, *last);
            if subscription.words.is_done(*offset) {
                subscription.with.remove(offset);
            }
        }
        if let Some(request) = request {
            self.asked.insert((stream, request), messages);
        }
    }

    /// A consumer acknowledges everything up to a message.
    pub(super) fn acknowledged_up_to(
        &mut self,
        stream: StreamKey,
        (offset, last): (u64, u32),
        request: Option<u64>,
    ) {
        let below = (0..offset).map(|offset| (offset, 0, u32::MAX - 1));
        let messages = below.chain([(offset, 0, last)]).collect();
        self.acknowledged(stream, messages, request);
    }

    /// A consumer wants entries again: these, or with none all that it has.
    pub(super) fn asks_again(&mut self, stream: StreamKey, entries: &[u64]) {
        let subscription = self.of(stream);
        let asked = |offset: &u64| entries.is_empty() || entries.contains(offset);
        let gives_back = |offset: &u64, with: &mut StreamKey| *with == stream && asked(offset);
        subscription
            .with
            .retain(|offset, with| !gives_back(offset, with));
        if subscription.active == Some(stream) {
            subscription.next = 0;
        }
    }

    /// A consumer is gone, and gives back what it had.
    pub(super) fn gone(&mut self, stream: StreamKey) {
        let subscription = self.of(stream);
        subscription.sessions.remove(&stream);
        subscription.with.retain(|_, with| *with != stream);
        if subscription.active == Some(stream) {
            subscription.active = None;
        }
    }

    /// The process has ended, and who has what is forgotten.
    pub(super) fn restarted(&mut self) {
        self.asked.clear();
        self.produced.clear();
        for subscription in &mut self.subscriptions {
            subscription.words.restarted();
            subscription.sessions.clear();
            subscription.with.clear();
            subscription.given.clear();
            subscription.newest.clear();
            subscription.active = None;
            subscription.largest = 0;
        }
    }

    /// A consumer is answered, or told something.
    pub(super) fn told(&mut self, to: StreamKey, correlation: u64, reply: &Reply) {
        match reply {
            Reply::Subscribed { .. } => {
                let session = self.of(to).sessions.get_mut(&to);
                session.expect("it is there").attached = true;
            }
            Reply::Acked => {
                self.receipts += 1;
                let messages = self.asked.remove(&(to, correlation));
                let messages = messages.expect("it has asked for a receipt, once");
                let subscription = self.of(to);
                for (offset, first, last) in messages {
                    subscription.words.sealed(offset, first, last);
                }
            }
            Reply::Active(is) => {
                let subscription = self.of(to);
                let session = subscription.sessions.get(&to);
                assert!(
                    session.is_some_and(|it| it.attached),
                    "{to:?} is not attached"
                );
                if *is {
                    subscription.active = Some(to);
                    subscription.next = 0;
                } else if subscription.active == Some(to) {
                    subscription.active = None;
                }
            }
            Reply::ProducerOpened { .. } | Reply::Closed => {}
            Reply::Done | Reply::ProducerWaits { .. } | Reply::Last { .. } | Reply::Refused(_) => {
                panic!("{to:?} is told {reply:?}")
            }
        }
    }

    /// An entry is given to a consumer.
    pub(super) fn delivered(&mut self, to: StreamKey, delivered: &Delivered) {
        let offset = delivered.header.offset.0;
        if let Some(stored) = self.stored.get(&offset) {
            assert_eq!(
                *stored, delivered.payload,
                "entry {offset} is not as stored"
            );
        }
        self.deliveries += 1;
        self.again += u64::from(delivered.redelivery_count > 0);
        self.of(to).delivered(to, delivered);
    }
}

impl Subscription {
    fn delivered(&mut self, to: StreamKey, delivered: &Delivered) {
        let (offset, messages) = (delivered.header.offset.0, delivered.header.messages);
        let session = self.sessions.get_mut(&to);
        let session = session.unwrap_or_else(|| panic!("{offset} goes to {to:?}, which is gone"));
        assert!(session.attached, "{to:?} was not told that it is attached");
        // Rule: permits are never overdrawn by more than one entry.
        assert!(
            session.permits > 0,
            "{to:?} has {} permits",
            session.permits
        );
        let left = self.words.given(offset, messages, &delivered.acked);
        session.permits -= i64::from(left);
        session.given += u64::from(left);
        self.largest = self.largest.max(left.into());
        let priority = session.priority;
        self.count(offset, delivered.redelivery_count);
        match self.kind {
            Shared => {
                self.hand_out(to, offset);
                self.check_shares(priority);
            }
            KeyShared => {
                self.check_key(to, offset, delivered);
                self.hand_out(to, offset);
            }
            Failover => self.check_order(to, offset),
            SubscriptionKind::Exclusive => panic!("the crowds share"),
        }
    }

    /// Rule: the redelivery count never falls while the process lives, and says how often the entry
    /// was given out before. (Where entries go to one consumer, many sessions that end at many
    /// places may be forgotten: it is never too high.)
    fn count(&mut self, offset: u64, count: u32) {
        let (given, last) = self.given.entry(offset).or_default();
        assert!(
            count >= *last,
            "the count of {offset} falls from {last} to {count}"
        );
        let right = match self.kind {
            Failover => count <= *given,
            _ => count == *given,
        };
        assert!(
            right,
            "{offset} was given out {given} times, and the count is {count}"
        );
        (*given, *last) = (*given + 1, count);
    }

    /// Rule: an entry is with one consumer at a time.
    fn hand_out(&mut self, to: StreamKey, offset: u64) {
        if let Some(with) = self.with.insert(offset, to) {
            panic!("entry {offset} goes to {to:?} while {with:?} has it");
        }
    }

    /// Rule: consumers that are always ready, of one priority, are given equal numbers of messages,
    /// to within the largest entry, and while there are any nobody of a higher priority number is
    /// given something.
    fn check_shares(&self, priority: u8) {
        let ready = self.sessions.values().filter(|it| it.always_ready);
        let given = ready.clone().map(|it| it.given);
        let Some((least, most)) = given.clone().min().zip(given.max()) else {
            return;
        };
        assert!(
            most - least <= self.largest,
            "from {least} to {most} messages were given"
        );
        let best = ready.map(|it| it.priority).min();
        assert!(
            best.is_none_or(|best| priority <= best),
            "a lower priority comes first"
        );
    }

    /// Rules: the entries of a key that are not acknowledged are with one consumer only, and those
    /// that are given out for the first time are given out in order.
    fn check_key(&mut self, to: StreamKey, offset: u64, delivered: &Delivered) {
        let key = key_of(&delivered.payload);
        for (other, with) in &self.with {
            let same = *with != to && self.keys[other] == key;
            assert!(
                !same,
                "{offset} goes to {to:?}, and {with:?} has {other} of {key:?}"
            );
        }
        if self.given[&offset].0 == 1 {
            let before = self.newest.insert(key.clone(), offset);
            assert!(
                before < Some(offset),
                "{offset} of {key:?} comes behind {before:?}"
            );
        }
        self.keys.insert(offset, key);
    }

    /// Rule: entries go to the consumer that was told last that it is the active one, in order, from
    /// the first on that is not acknowledged; and from there again when it asks for that.
    fn check_order(&mut self, to: StreamKey, offset: u64) {
        assert_eq!(
            self.active,
            Some(to),
            "{offset} goes to one that is not active"
        );
        assert!(
            offset >= self.next,
            "{offset} comes where {} is next",
            self.next
        );
        self.words.pass_over(self.next..offset);
        self.next = offset + 1;
    }

    /// The key of an entry, if it is known.
    pub(super) fn key(&self, offset: u64) -> Option<&Option<Vec<u8>>> {
        self.keys.get(&offset)
    }
}

/// The key of a batch: that of its first message.
fn key_of(payload: &[u8]) -> Option<Vec<u8>> {
    let first = Messages::new(payload).next();
    first.unwrap().unwrap().key.map(<[u8]>::to_vec)
}
