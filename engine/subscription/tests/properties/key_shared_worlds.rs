//! Every run of a small Key_Shared subscription, up to a depth.
//!
//! A world is four entries of two keys, two consumers and everything that they and the producer may
//! do, in any order. Each consumer alone has all keys; together each has one. Beside the dispatcher a
//! plain account is kept of who has what.

use hulse_model::{Offset, Position};
use hulse_subscription::{
    AttachError, Blocked, Claim, Cursor, DispatchLimits, Dispatcher, KeySlot, Next,
    SubscriptionKind,
};

use crate::explorer::{World as Small, at, explore, id, number, slots_of_each, try_explore};

const ENTRIES: usize = 4;
/// The key of each entry.
const KEYS: [usize; ENTRIES] = [0, 1, 0, 1];
const PERMITS_MAX: i64 = 2;
const LIMITS: DispatchLimits = DispatchLimits {
    consumer: 2,
    subscription: 4,
    look_ahead: 3,
    delayed_entries: 0,
    delayed_blocks: 0,
};
const DEPTH: usize = 12;
const NAMES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Attach(usize),
    Detach(usize),
    Permits(usize),
    Pause(usize, bool),
    Deliver,
    Acknowledge(usize),
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
    /// It is told another key than the entry has, so that nothing drains.
    WrongKeys,
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
    /// Who has each entry.
    with: [Option<usize>; ENTRIES],
    counts: [u32; ENTRIES],
    acknowledged: [bool; ENTRIES],
    full: bool,
}

impl Account {
    fn is_out(&self, entry: usize) -> bool {
        self.with[entry].is_some() && !self.acknowledged[entry]
    }

    fn load(&self, of: impl Fn(usize) -> bool) -> u64 {
        let out = (0..ENTRIES).filter(|entry| self.is_out(*entry));
        out.filter(|entry| self.with[*entry].is_some_and(&of))
            .count() as u64
    }

    fn settle(&mut self) {
        let all = self.load(|_| true);
        self.full = all >= LIMITS.subscription || (self.full && all > LIMITS.subscription / 2);
        for id in 0..2 {
            let load = self.load(|consumer| consumer == id);
            let consumer = &mut self.consumers[id];
            consumer.full =
                load >= LIMITS.consumer || (consumer.full && load > LIMITS.consumer / 2);
        }
    }

    fn can_take(&self, consumer: usize) -> bool {
        let it = &self.consumers[consumer];
        it.attached && it.permits > 0 && !it.paused && !it.full && !self.full
    }

    fn give_back(&mut self, entry: usize) {
        self.with[entry] = None;
        self.counts[entry] += 1;
    }

    /// Who has unacknowledged entries of a key.
    fn holder(&self, key: usize) -> Option<usize> {
        let mut out = (0..ENTRIES).filter(|it| KEYS[*it] == key && self.is_out(*it));
        out.next().and_then(|entry| self.with[entry])
    }

    /// The first entry of a key that is there, and that nobody has.
    fn first_of(&self, key: usize, end: usize) -> Option<usize> {
        let free = |it: &usize| KEYS[*it] == key && self.with[*it].is_none();
        (0..end).find(|it| free(it) && !self.acknowledged[*it])
    }
}

#[derive(Clone)]
struct World {
    dispatcher: Dispatcher,
    cursor: Cursor,
    end: usize,
    account: Account,
    slots: [KeySlot; 2],
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

fn attach(
    dispatcher: &mut Dispatcher,
    consumer: usize,
    cursor: &Cursor,
) -> Result<(), AttachError> {
    let claim = Claim {
        name: NAMES[consumer],
        ..Claim::default()
    };
    dispatcher.attach(id(consumer), claim, cursor)
}

impl World {
    fn new(fault: Option<Fault>) -> Self {
        Self {
            dispatcher: Dispatcher::new(SubscriptionKind::KeyShared, 0, LIMITS),
            cursor: Cursor::default(),
            end: 0,
            account: Account::default(),
            slots: slots_of_each(LIMITS),
            fault,
            delivered: 0,
        }
    }

    fn hears(&self, fault: Fault) -> bool {
        self.fault != Some(fault)
    }

    /// Who is to get a key: alone a consumer has all, together each has the key of its number.
    fn owner(&self, key: usize) -> Option<usize> {
        let attached = |number: usize| self.account.consumers[number].attached;
        match (attached(key), attached(1 - key)) {
            (true, _) => Some(key),
            (false, true) => Some(1 - key),
            (false, false) => None,
        }
    }

    fn give_back_all(&mut self, consumer: usize) {
        for entry in 0..ENTRIES {
            if self.account.with[entry] == Some(consumer) && self.account.is_out(entry) {
                self.account.give_back(entry);
            }
        }
    }

    /// Asks the dispatcher until it gives something out or names nothing more.
    fn deliver(&mut self) -> bool {
        loop {
            let next = self.dispatcher.next(&self.cursor, at(self.end));
            let Some(Next { offset, .. }) = next else {
                return false;
            };
            let entry = usize::try_from(offset.0).unwrap();
            let key = if self.hears(Fault::WrongKeys) {
                self.slots[KEYS[entry]]
            } else {
                KeySlot(u16::try_from(entry).unwrap() * 16_384)
            };
            let delivery = self.dispatcher.delivered(&self.cursor, offset, 1, key);
            let Some(delivery) = delivery else {
                continue;
            };
            let account = &mut self.account;
            let consumer = number(delivery.consumer);
            assert!(!account.acknowledged[entry] && account.with[entry].is_none());
            assert_eq!(delivery.redelivery_count, account.counts[entry]);
            let key = KEYS[entry];
            assert_eq!(account.first_of(key, self.end), Some(entry), "in order");
            let holder = account.holder(key);
            assert!(
                holder.is_none_or(|it| it == consumer),
                "a key with two consumers"
            );
            account.with[entry] = Some(consumer);
            account.consumers[consumer].permits -= 1;
            assert_eq!(self.owner(key), Some(consumer), "to the key's owner");
            self.delivered += 1;
            return true;
        }
    }

    fn check(&mut self) {
        self.account.settle();
        if self.fault.is_none() {
            self.dispatcher.check_invariants();
        }
        let account = &self.account;
        // What can be given, by the rules alone.
        let available = (0..2).any(|key| {
            let owner = self.owner(key).filter(|owner| account.can_take(*owner));
            let free = account.holder(key).is_none_or(|it| Some(it) == owner);
            owner.is_some() && free && account.first_of(key, self.end).is_some()
        });
        let blocked = self.dispatcher.blocked(&self.cursor, at(self.end));
        let mut later = self.clone();
        assert_eq!(
            later.deliver(),
            available,
            "what can be given is given: {blocked:?}"
        );
        // Once nothing can be given, the reason is true.
        if !available {
            let blocked = later.dispatcher.blocked(&later.cursor, at(later.end));
            later.check_reason(blocked.expect("a reason"));
        }
    }

    fn check_reason(&self, blocked: Blocked) {
        let account = &self.account;
        let out = (0..self.end).filter(|entry| !account.acknowledged[*entry]);
        let nobodys = out.clone().find(|entry| account.with[*entry].is_none());
        let is_next = |next: Offset| assert_eq!(Some(next), nobodys.map(at));
        match blocked {
            Blocked::NoConsumer => assert!(account.consumers.iter().all(|it| !it.attached)),
            Blocked::CaughtUp { .. } => assert_eq!(out.count(), 0),
            Blocked::Unacknowledged { consumer, first } => {
                assert_eq!(nobodys, None);
                let entry = usize::try_from(first.offset.0).unwrap();
                assert_eq!(account.with[entry], Some(number(consumer)));
            }
            Blocked::SubscriptionFull { next, .. } => {
                assert!(account.full);
                is_next(next);
            }
            Blocked::Draining {
                consumer,
                first,
                to,
                next,
            } => {
                is_next(next);
                let key = KEYS[usize::try_from(next.0).unwrap()];
                assert_eq!(account.holder(key), Some(number(consumer)));
                assert_eq!(self.owner(key), Some(number(to)));
                assert_ne!(consumer, to);
                let first = usize::try_from(first.0).unwrap();
                assert!(account.is_out(first) && KEYS[first] == key);
            }
            Blocked::NoPermits { consumer, next } => {
                assert!(account.consumers[number(consumer)].permits <= 0);
                is_next(next);
            }
            Blocked::ConsumerFull { consumer, next, .. } => {
                assert!(account.consumers[number(consumer)].full);
                is_next(next);
            }
            Blocked::Paused { consumer, next } => {
                assert!(account.consumers[number(consumer)].paused);
                is_next(next);
            }
            _ => panic!("{blocked:?} cannot be the reason here"),
        }
    }
}

impl Small for World {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Deliver];
        if self.end < ENTRIES {
            steps.push(Step::Append);
        }
        for consumer in 0..2 {
            let it = &self.account.consumers[consumer];
            if !it.attached {
                steps.push(Step::Attach(consumer));
                continue;
            }
            steps.extend([Step::Detach(consumer), Step::RedeliverAll(consumer)]);
            steps.push(Step::Pause(consumer, !it.paused));
            if it.permits < PERMITS_MAX {
                steps.push(Step::Permits(consumer));
            }
            steps.extend((0..self.end).map(|entry| Step::Redeliver(consumer, entry)));
        }
        steps.extend((0..self.end).map(Step::Acknowledge));
        steps.extend((0..self.end).map(Step::Expire));
        steps.push(Step::Seek(0));
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append => self.end += 1,
            Step::Attach(consumer) => {
                attach(&mut self.dispatcher, consumer, &self.cursor).unwrap();
                self.account.consumers[consumer].attached = true;
            }
            Step::Detach(consumer) => {
                assert!(self.dispatcher.detach(id(consumer), &self.cursor));
                self.account.consumers[consumer] = Consumer::default();
                self.give_back_all(consumer);
            }
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
            Step::Deliver => {
                self.deliver();
            }
            Step::Acknowledge(entry) => {
                self.cursor.acknowledge_range(at(entry), 0, 0, 1);
                self.account.acknowledged[entry] = true;
                if self.hears(Fault::DeafToAcknowledgements) {
                    self.dispatcher.acknowledged(&self.cursor, at(entry));
                }
            }
            Step::Redeliver(consumer, entry) => {
                let entries = [at(entry)];
                self.dispatcher
                    .redeliver(id(consumer), &self.cursor, &entries);
                if self.account.with[entry] == Some(consumer) && self.account.is_out(entry) {
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
                self.account.acknowledged[..=entry].fill(true);
            }
            Step::Seek(entry) => {
                self.cursor.set(Position::at(at(entry)));
                self.dispatcher.seek();
                self.account.with = [None; ENTRIES];
                self.account.counts = [0; ENTRIES];
                self.account.acknowledged = std::array::from_fn(|it| it < entry);
            }
        }
        self.cursor.take_changes();
        self.check();
    }

    fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// Goal: a key's entries go out in order, to its owner, and never to two consumers at a time; what
/// can be given is given, whatever else waits or drains; the reason for standing still is true.
#[test]
fn every_small_world_is_in_order() {
    let explored = explore(World::new(None), DEPTH);
    assert!(explored.worlds > 10_000, "the worlds were explored");
    assert!(explored.deliveries > 1_000, "something was delivered");
}

/// The account finds a dispatcher that does not drain, or misses what it must hear.
#[test]
fn a_missing_rule_is_found() {
    let faults = [
        Fault::DeafToAcknowledgements,
        Fault::DeafToResumption,
        Fault::WrongKeys,
    ];
    for fault in faults {
        let path = try_explore(World::new(Some(fault)), DEPTH);
        let path = path.expect_err("the fault is found");
        println!("{fault:?}: {path:?}");
    }
}
