//! Every run of a small Shared subscription, up to a depth.
//!
//! A world is three entries, two consumers and everything that they and the producer may do, in any
//! order. Beside the dispatcher a plain account is kept of who has what and whose turn it is.

use hulse_model::Position;
use hulse_subscription::{
    AttachError, Blocked, Claim, ConsumerId, Cursor, DispatchLimits, Dispatcher, KeySlot, Next,
    SubscriptionKind,
};

use crate::explorer::{World as Small, at, explore, id, try_explore};

const MESSAGES: [u32; 3] = [1, 2, 1];
const PERMITS_MAX: i64 = 2;
const LIMITS: DispatchLimits = DispatchLimits {
    consumer: 2,
    subscription: 3,
    look_ahead: 0,
    delayed_entries: 0,
    delayed_blocks: 0,
};
const DEPTH: usize = 12;

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Attach(usize),
    Detach(usize),
    Permits(usize),
    Pause(usize, bool),
    Deliver,
    Acknowledge {
        entry: usize,
        first: u32,
        last: u32,
    },
    /// One entry again, asked for by a consumer, whether or not it has it.
    Redeliver(usize, usize),
    RedeliverAll(usize),
    Seek(usize),
    /// Everything up to this entry has expired.
    Expire(usize),
}

/// A fault, to see that the account finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The dispatcher does not hear of acknowledgements.
    DeafToAcknowledgements,
    /// It does not hear that a connection takes more again.
    DeafToResumption,
    /// A consumer goes without its entries being given back.
    ForgetsTheDead,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    New,
    With(usize),
    Returned,
}

#[derive(Debug, Clone, Copy, Default)]
struct Consumer {
    attached: bool,
    permits: i64,
    paused: bool,
    full: bool,
}

/// The plain account.
#[derive(Debug, Clone, Default)]
struct Account {
    consumers: [Consumer; 2],
    /// Those that can take something, the one that has waited longest first.
    turns: Vec<usize>,
    /// How many messages more each was given than whoever had the last turn, when it took its place.
    given: [u32; 2],
    places: [Place; 3],
    counts: [u32; 3],
    acknowledged: [[bool; 2]; 3],
    full: bool,
}

impl Account {
    fn left(&self, entry: usize) -> u32 {
        let acknowledged = &self.acknowledged[entry][..MESSAGES[entry] as usize];
        u32::try_from(acknowledged.iter().filter(|it| !**it).count()).unwrap()
    }

    fn load(&self, of: impl Fn(usize) -> bool) -> u64 {
        let with = (0..3).filter(|entry| matches!(self.places[*entry], Place::With(c) if of(c)));
        with.map(|entry| u64::from(self.left(entry))).sum()
    }

    /// Brings the limits and the turns up to date.
    fn settle(&mut self) {
        let all = self.load(|_| true);
        self.full = all >= LIMITS.subscription || (self.full && all > LIMITS.subscription / 2);
        for id in 0..2 {
            let load = self.load(|consumer| consumer == id);
            let consumer = &mut self.consumers[id];
            consumer.full =
                load >= LIMITS.consumer || (consumer.full && load > LIMITS.consumer / 2);
            let takes =
                consumer.attached && consumer.permits > 0 && !consumer.paused && !consumer.full;
            if !takes {
                self.turns.retain(|it| *it != id);
            } else if !self.turns.contains(&id) {
                self.turns.push(id);
            }
        }
    }

    /// The entry that goes out next: what came back before what is new.
    fn candidate(&self, end: usize) -> Option<usize> {
        let open = |place| (0..end).find(|at| self.places[*at] == place && self.left(*at) > 0);
        open(Place::Returned).or_else(|| open(Place::New))
    }

    fn give_back(&mut self, entry: usize) {
        self.places[entry] = Place::Returned;
        self.counts[entry] += 1;
    }
}

#[derive(Clone)]
struct World {
    dispatcher: Dispatcher,
    cursor: Cursor,
    end: usize,
    account: Account,
    priorities: [u8; 2],
    fault: Option<Fault>,
    delivered: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            dispatcher,
            cursor,
            end,
            account,
            ..
        } = self;
        write!(f, "{dispatcher:?} {cursor:?} {end} {account:?}")
    }
}

impl World {
    fn new(priorities: [u8; 2], fault: Option<Fault>) -> Self {
        Self {
            dispatcher: Dispatcher::new(SubscriptionKind::Shared, 0, LIMITS),
            cursor: Cursor::default(),
            end: 0,
            account: Account::default(),
            priorities,
            fault,
            delivered: 0,
        }
    }

    fn hears(&self, fault: Fault) -> bool {
        self.fault != Some(fault)
    }

    fn attach(&mut self, consumer: usize) {
        let claim = Claim {
            priority: self.priorities[consumer],
            ..Claim::default()
        };
        let result = self.dispatcher.attach(id(consumer), claim, &self.cursor);
        if self.account.consumers[consumer].attached {
            assert_eq!(result, Err(AttachError::Busy { by: id(consumer) }));
        } else {
            assert_eq!(result, Ok(()));
            self.account.consumers[consumer].attached = true;
        }
    }

    fn detach(&mut self, consumer: usize) {
        let attached = self.account.consumers[consumer].attached;
        if self.hears(Fault::ForgetsTheDead) {
            assert_eq!(self.dispatcher.detach(id(consumer), &self.cursor), attached);
        }
        self.account.consumers[consumer] = Consumer::default();
        self.account.given[consumer] = 0;
        self.give_back_all(consumer);
    }

    fn give_back_all(&mut self, consumer: usize) {
        for entry in 0..3 {
            if self.account.places[entry] == Place::With(consumer) && self.account.left(entry) > 0 {
                self.account.give_back(entry);
            }
        }
    }

    fn deliver(&mut self) {
        let Some(Next { consumer, offset }) = self.dispatcher.next(&self.cursor, at(self.end))
        else {
            return;
        };
        let entry = usize::try_from(offset.0).unwrap();
        let messages = MESSAGES[entry];
        let slot = KeySlot(0);
        let delivery = self
            .dispatcher
            .delivered(&self.cursor, offset, messages, slot);
        let delivery = delivery.expect("what is named is given");
        assert_eq!(Some(delivery.consumer), consumer);
        let consumer = delivery.consumer;
        assert_eq!(delivery.messages, self.account.left(entry));
        assert_eq!(delivery.redelivery_count, self.account.counts[entry]);
        let skipped = |i: u32| {
            let mut ranges = delivery.acknowledged.iter();
            ranges.any(|range| (range.first..=range.last).contains(&i))
        };
        for index in 0..messages {
            let acknowledged = self.account.acknowledged[entry][index as usize];
            assert_eq!(skipped(index), acknowledged);
        }
        let consumer = usize::try_from(consumer.0).unwrap();
        self.account.places[entry] = Place::With(consumer);
        self.account.consumers[consumer].permits -= i64::from(delivery.messages);
        // Its turn is over.
        self.account.turns.retain(|it| *it != consumer);
        let account = &mut self.account;
        let before = account.given[consumer];
        account.given[consumer] += delivery.messages;
        account.given = account.given.map(|given| given.saturating_sub(before));
        self.delivered += 1;
    }

    fn check(&mut self) {
        self.account.settle();
        if self.fault.is_none() {
            self.dispatcher.check_invariants();
        }
        let end = at(self.end);
        let account = &self.account;
        let turns = account.turns.iter();
        // Of equals the first is taken.
        let taker = turns.min_by_key(|it| (self.priorities[**it], account.given[**it]));
        let taker = taker.filter(|_| !account.full);
        let candidate = account.candidate(self.end);
        let expected = taker.zip(candidate).map(|(consumer, entry)| Next {
            consumer: Some(id(*consumer)),
            offset: at(entry),
        });
        let named = self.dispatcher.next(&self.cursor, end);
        assert_eq!(
            named, expected,
            "what can be given is named, to whose turn it is"
        );
        let blocked = self.dispatcher.blocked(&self.cursor, end);
        assert_eq!(blocked.is_none(), expected.is_some(), "{blocked:?}");
        if let Some(blocked) = blocked {
            self.check_reason(blocked, candidate);
        }
        for (number, consumer) in account.consumers.iter().enumerate() {
            let state = self.dispatcher.state(id(number));
            assert_eq!(state.is_some(), consumer.attached);
            if let Some(state) = state {
                assert_eq!(state.permits, consumer.permits);
                let load = account.load(|it| it == number);
                assert_eq!(state.unacknowledged, Some(load));
            }
        }
    }

    fn check_reason(&self, blocked: Blocked, candidate: Option<usize>) {
        let account = &self.account;
        let of = |consumer: ConsumerId| &account.consumers[usize::try_from(consumer.0).unwrap()];
        let next_is = |next| assert_eq!(Some(next), candidate.map(at));
        let everything = (0..self.end).all(|entry| account.left(entry) == 0);
        match blocked {
            Blocked::NoConsumer => assert!(account.consumers.iter().all(|it| !it.attached)),
            Blocked::CaughtUp { next } => {
                assert!(everything);
                assert_eq!(next, self.cursor.mark().offset);
            }
            Blocked::Unacknowledged { consumer, first } => {
                assert!(!everything && candidate.is_none());
                assert_eq!(first, self.cursor.mark());
                let entry = usize::try_from(first.offset.0).unwrap();
                let holder = Place::With(usize::try_from(consumer.0).unwrap());
                assert_eq!(account.places[entry], holder);
            }
            Blocked::SubscriptionFull { messages, next, .. } => {
                assert!(account.full);
                assert_eq!(messages, account.load(|_| true));
                next_is(next);
            }
            Blocked::NoPermits { consumer, next } => {
                assert!(of(consumer).attached && of(consumer).permits <= 0);
                next_is(next);
            }
            Blocked::ConsumerFull { consumer, next, .. } => {
                assert!(of(consumer).full);
                next_is(next);
            }
            Blocked::Paused { consumer, next } => {
                assert!(of(consumer).paused);
                next_is(next);
            }
            _ => {
                panic!("{blocked:?} cannot be the reason here")
            }
        }
    }
}

impl Small for World {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Deliver];
        if self.end < MESSAGES.len() {
            steps.push(Step::Append);
        }
        for consumer in 0..2 {
            let it = &self.account.consumers[consumer];
            steps.push(Step::Attach(consumer));
            if !it.attached {
                continue;
            }
            steps.extend([Step::Detach(consumer), Step::RedeliverAll(consumer)]);
            steps.push(Step::Pause(consumer, !it.paused));
            if it.permits < PERMITS_MAX {
                steps.push(Step::Permits(consumer));
            }
            steps.extend((0..self.end).map(|entry| Step::Redeliver(consumer, entry)));
        }
        for (entry, messages) in MESSAGES.into_iter().enumerate().take(self.end) {
            let last = messages - 1;
            let acknowledge = |first| Step::Acknowledge { entry, first, last };
            steps.push(acknowledge(0));
            if last > 0 {
                steps.push(acknowledge(last));
            }
            steps.extend([Step::Seek(entry), Step::Expire(entry)]);
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append => self.end += 1,
            Step::Attach(consumer) => self.attach(consumer),
            Step::Detach(consumer) => self.detach(consumer),
            Step::Permits(consumer) => {
                self.dispatcher.permits(id(consumer), 1).unwrap();
                self.account.consumers[consumer].permits += 1;
            }
            Step::Pause(consumer, paused) => {
                if paused || self.hears(Fault::DeafToResumption) {
                    self.dispatcher.pause(id(consumer), paused);
                }
                self.account.consumers[consumer].paused = paused;
            }
            Step::Deliver => self.deliver(),
            Step::Acknowledge { entry, first, last } => {
                let messages = MESSAGES[entry];
                self.cursor
                    .acknowledge_range(at(entry), first, last, messages);
                (first..=last).for_each(|i| self.account.acknowledged[entry][i as usize] = true);
                if self.hears(Fault::DeafToAcknowledgements) {
                    self.dispatcher.acknowledged(&self.cursor, at(entry));
                }
            }
            Step::Redeliver(consumer, entry) => {
                let entries = [at(entry)];
                self.dispatcher
                    .redeliver(id(consumer), &self.cursor, &entries);
                let here = self.account.places[entry] == Place::With(consumer);
                if here && self.account.left(entry) > 0 {
                    self.account.give_back(entry);
                }
            }
            Step::RedeliverAll(consumer) => {
                self.dispatcher.redeliver(id(consumer), &self.cursor, &[]);
                self.give_back_all(consumer);
            }
            Step::Expire(entry) => {
                self.cursor
                    .acknowledge_cumulative(at(entry), u32::MAX, u32::MAX);
                self.dispatcher.expired(&self.cursor);
                for expired in &mut self.account.acknowledged[..=entry] {
                    *expired = [true; 2];
                }
            }
            Step::Seek(entry) => {
                self.cursor.set(Position::at(at(entry)));
                self.dispatcher.seek();
                self.account.places = [Place::New; 3];
                self.account.counts = [0; 3];
                self.account.acknowledged = std::array::from_fn(|it| [it < entry; 2]);
            }
        }
        // Changes go into records, which are not the matter here.
        self.cursor.take_changes();
        self.check();
    }

    fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// Goal: what can be given is given, to the consumer whose turn it is, and nothing that is
/// acknowledged; what came back goes first; limits hold and end; the reason for standing still is
/// true.
#[test]
fn every_small_world_is_in_order() {
    for priorities in [[0, 0], [0, 1]] {
        let explored = explore(World::new(priorities, None), DEPTH);
        assert!(explored.worlds > 10_000, "the worlds were explored");
        assert!(explored.deliveries > 1_000, "something was delivered");
    }
}

/// The account finds a dispatcher that misses what it must hear.
#[test]
fn a_lost_wake_up_is_found() {
    let faults = [
        Fault::DeafToAcknowledgements,
        Fault::DeafToResumption,
        Fault::ForgetsTheDead,
    ];
    for fault in faults {
        let path = try_explore(World::new([0, 0], Some(fault)), DEPTH);
        let path = path.expect_err("the fault is found");
        println!("{fault:?}: {path:?}");
    }
}
