//! Every run of a small subscription with messages that are not due yet, up to a depth: Shared and
//! Key_Shared.
//!
//! A world is four entries of two keys, most of them due at some time, two consumers, a clock, and a
//! dispatcher that remembers one entry by itself and all others in one block. Beside it a plain account
//! is kept of who has what.

use hulse_model::Position;
use hulse_subscription::{
    Blocked, Claim, Cursor, DispatchLimits, Dispatcher, KeySlot, Next, SubscriptionKind,
};

use crate::explorer::{World as Small, at, explore, id, number, slots_of_each, try_explore};

const ENTRIES: usize = 4;
/// When each entry is due; 0 for one that is not delayed.
const DUE: [u64; ENTRIES] = [2, 1, 0, 1];
/// The key of each entry.
const KEYS: [usize; ENTRIES] = [0, 1, 0, 0];
const TIME_MAX: u64 = 2;
const LIMITS: DispatchLimits = DispatchLimits {
    consumer: 2,
    subscription: 4,
    look_ahead: ENTRIES,
    delayed_entries: 1,
    delayed_blocks: 1,
};
const DEPTH: usize = 13;

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Attach(usize),
    Detach(usize),
    Permits(usize),
    Deliver,
    Acknowledge(usize),
    RedeliverAll(usize),
    /// Everything up to this entry has expired.
    Expire(usize),
    Seek,
    Pass,
}

/// A fault, to see that the account finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The dispatcher is not told the time.
    ForgetsTheTimer,
    /// It is told the time only while nothing can be given.
    HearsTheTimeWhenIdle,
    /// Nobody looks when an entry is due.
    LooksAtNoTimes,
}

#[derive(Debug, Clone, Copy, Default)]
struct Consumer {
    attached: bool,
    permits: i64,
    full: bool,
}

/// The plain account.
#[derive(Debug, Clone, Default)]
struct Account {
    consumers: [Consumer; 2],
    with: [Option<usize>; ENTRIES],
    counts: [u32; ENTRIES],
    acknowledged: [bool; ENTRIES],
    full: bool,
    time: u64,
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
        it.attached && it.permits > 0 && !it.full && !self.full
    }

    fn give_back_all(&mut self, consumer: usize) {
        for entry in 0..ENTRIES {
            if self.with[entry] == Some(consumer) && self.is_out(entry) {
                self.with[entry] = None;
                self.counts[entry] += 1;
            }
        }
    }

    fn holder(&self, key: usize) -> Option<usize> {
        let mut out = (0..ENTRIES).filter(|it| KEYS[*it] == key && self.is_out(*it));
        out.next().and_then(|entry| self.with[entry])
    }

    /// Entries that are there, not acknowledged, and that nobody has.
    fn free(&self, end: usize) -> impl Iterator<Item = usize> {
        (0..end).filter(|it| self.with[*it].is_none() && !self.acknowledged[*it])
    }

    fn is_due(&self, entry: usize) -> bool {
        DUE[entry] <= self.time
    }
}

#[derive(Clone)]
struct World {
    kind: SubscriptionKind,
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

impl World {
    fn new(kind: SubscriptionKind, fault: Option<Fault>) -> Self {
        Self {
            kind,
            dispatcher: Dispatcher::new(kind, 0, LIMITS),
            cursor: Cursor::default(),
            end: 0,
            account: Account::default(),
            slots: slots_of_each(LIMITS),
            fault,
            delivered: 0,
        }
    }

    /// Who is to get a key of a Key_Shared subscription: alone a consumer has all, together each has
    /// the key of its number.
    fn owner(&self, key: usize) -> Option<usize> {
        let attached = |number: usize| self.account.consumers[number].attached;
        match (attached(key), attached(1 - key)) {
            (true, _) => Some(key),
            (false, true) => Some(1 - key),
            (false, false) => None,
        }
    }

    /// Whether something can be given, by the rules alone.
    fn is_available(&self) -> bool {
        let account = &self.account;
        let mut due = account.free(self.end).filter(|it| account.is_due(*it));
        if self.kind == SubscriptionKind::Shared {
            return (0..2).any(|it| account.can_take(it)) && due.next().is_some();
        }
        due.any(|entry| {
            let key = KEYS[entry];
            let owner = self.owner(key).filter(|owner| account.can_take(*owner));
            owner.is_some() && account.holder(key).is_none_or(|it| Some(it) == owner)
        })
    }

    /// Asks the dispatcher until it gives something out or names nothing more.
    fn deliver(&mut self) -> bool {
        for _ in 0..=4 * ENTRIES {
            let next = self.dispatcher.next(&self.cursor, at(self.end));
            let Some(Next { offset, .. }) = next else {
                return false;
            };
            let entry = usize::try_from(offset.0).unwrap();
            let looks = self.fault != Some(Fault::LooksAtNoTimes);
            if looks && DUE[entry] > 0 && self.dispatcher.delay(&self.cursor, offset, DUE[entry]) {
                continue;
            }
            let slot = self.slots[KEYS[entry]];
            let delivery = self.dispatcher.delivered(&self.cursor, offset, 1, slot);
            let Some(delivery) = delivery else {
                continue;
            };
            self.given(entry, number(delivery.consumer), delivery.redelivery_count);
            return true;
        }
        panic!("it reads for ever");
    }

    fn given(&mut self, entry: usize, consumer: usize, redelivery_count: u32) {
        let account = &mut self.account;
        assert!(account.is_due(entry), "an entry before its time");
        assert!(
            !account.acknowledged[entry] && account.with[entry].is_none(),
            "an entry that is acknowledged, or that somebody has"
        );
        assert_eq!(redelivery_count, account.counts[entry]);
        if self.kind == SubscriptionKind::KeyShared {
            let key = KEYS[entry];
            let holder = account.holder(key);
            assert!(
                holder.is_none_or(|it| it == consumer),
                "a key with two consumers"
            );
            let in_order = |it: &usize| KEYS[*it] == key && DUE[*it] == 0;
            let mut earlier = account.free(entry).filter(in_order);
            assert!(DUE[entry] > 0 || earlier.next().is_none(), "out of order");
            drop(earlier);
        }
        account.with[entry] = Some(consumer);
        account.consumers[consumer].permits -= 1;
        self.delivered += 1;
    }

    fn check(&mut self) {
        self.account.settle();
        if self.fault.is_none() {
            self.dispatcher.check_invariants();
        }
        let available = self.is_available();
        let blocked = self.dispatcher.blocked(&self.cursor, at(self.end));
        let mut later = self.clone();
        let gave = later.deliver();
        assert_eq!(gave, available, "what can be given is given: {blocked:?}");
        if !available {
            let blocked = later.dispatcher.blocked(&later.cursor, at(later.end));
            later.check_reason(blocked.expect("a reason"));
        }
        // Nothing that waits counts for anything that a consumer may have.
        for (number, consumer) in self.account.consumers.iter().enumerate() {
            if let Some(state) = self.dispatcher.state(id(number)) {
                assert_eq!(state.permits, consumer.permits);
                let load = self.account.load(|it| it == number);
                assert_eq!(state.unacknowledged, Some(load));
            }
        }
    }

    fn check_reason(&self, blocked: Blocked) {
        let account = &self.account;
        let takes = (0..2).any(|it| account.can_take(it));
        let is_due = account.free(self.end).any(|it| account.is_due(it));
        let waits = account.free(self.end).any(|it| !account.is_due(it));
        match blocked {
            Blocked::Delayed { next, due_ms } => {
                let entry = usize::try_from(next.0).unwrap();
                assert!(!is_due, "something is due");
                assert!(account.free(self.end).any(|it| it == entry));
                // The earliest of its block may have been acknowledged since.
                assert!(due_ms <= DUE[entry] && due_ms > account.time);
            }
            Blocked::CaughtUp { .. } | Blocked::Unacknowledged { .. } => {
                assert!(!waits && !is_due);
            }
            _ => assert!(is_due || !takes, "{blocked:?}"),
        }
        if takes && waits && !is_due {
            assert_eq!(blocked.reason(), "delayed");
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
        if self.account.time < TIME_MAX {
            steps.push(Step::Pass);
        }
        for consumer in 0..2 {
            let it = &self.account.consumers[consumer];
            if !it.attached {
                steps.push(Step::Attach(consumer));
                continue;
            }
            steps.extend([Step::Detach(consumer), Step::RedeliverAll(consumer)]);
            if it.permits < 2 {
                steps.push(Step::Permits(consumer));
            }
        }
        steps.extend((0..self.end).map(Step::Acknowledge));
        steps.extend(self.end.checked_sub(1).map(Step::Expire));
        steps.push(Step::Seek);
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append => self.end += 1,
            Step::Attach(consumer) => {
                let claim = Claim {
                    name: ["a", "b"][consumer],
                    ..Claim::default()
                };
                let attached = self.dispatcher.attach(id(consumer), claim, &self.cursor);
                attached.unwrap();
                self.account.consumers[consumer].attached = true;
            }
            Step::Detach(consumer) => {
                assert!(self.dispatcher.detach(id(consumer), &self.cursor));
                self.account.consumers[consumer] = Consumer::default();
                self.account.give_back_all(consumer);
            }
            Step::Permits(consumer) => {
                self.dispatcher.permits(id(consumer), 1).unwrap();
                self.account.consumers[consumer].permits += 1;
            }
            Step::Deliver => {
                self.deliver();
            }
            Step::Acknowledge(entry) => {
                self.cursor.acknowledge_range(at(entry), 0, 0, 1);
                self.account.acknowledged[entry] = true;
                self.dispatcher.acknowledged(&self.cursor, at(entry));
            }
            Step::RedeliverAll(consumer) => {
                self.dispatcher.redeliver(id(consumer), &self.cursor, &[]);
                self.account.give_back_all(consumer);
            }
            Step::Expire(entry) => {
                let all = u32::MAX;
                self.cursor.acknowledge_cumulative(at(entry), all, all);
                self.dispatcher.passed(&self.cursor);
                self.account.acknowledged[..=entry].fill(true);
            }
            Step::Seek => {
                self.cursor.set(Position::default());
                self.dispatcher.seek();
                self.account.with = [None; ENTRIES];
                self.account.counts = [0; ENTRIES];
                self.account.acknowledged = [false; ENTRIES];
            }
            Step::Pass => {
                let tells = match self.fault {
                    Some(Fault::ForgetsTheTimer) => false,
                    Some(Fault::HearsTheTimeWhenIdle) => !self.is_available(),
                    Some(Fault::LooksAtNoTimes) | None => true,
                };
                self.account.time += 1;
                if tells {
                    self.dispatcher.advance(self.account.time);
                }
            }
        }
        self.cursor.take_changes();
        self.check();
    }

    fn delivered(&self) -> u64 {
        self.delivered
    }
}

const KINDS: [SubscriptionKind; 2] = [SubscriptionKind::Shared, SubscriptionKind::KeyShared];

/// Goal: what is due and can be given is given, whatever waits; nothing is given before its time, or
/// twice; what waits uses up nothing; the reason for standing still is true.
#[test]
fn every_small_world_is_in_order() {
    for kind in KINDS {
        let explored = explore(World::new(kind, None), DEPTH);
        assert!(explored.worlds > 10_000, "the worlds were explored");
        assert!(explored.deliveries > 1_000, "something was delivered");
    }
}

/// The account finds a dispatcher that is not told the time, and a core that does not look at times.
#[test]
fn a_forgotten_time_is_found() {
    let faults = [
        Fault::ForgetsTheTimer,
        Fault::HearsTheTimeWhenIdle,
        Fault::LooksAtNoTimes,
    ];
    for (kind, fault) in KINDS
        .into_iter()
        .flat_map(|kind| faults.map(|it| (kind, it)))
    {
        let path = try_explore(World::new(kind, Some(fault)), DEPTH);
        let path = path.expect_err("the fault is found");
        println!("{kind:?} {fault:?}: {path:?}");
    }
}
