//! Every run of a small Exclusive subscription, up to a depth.
//!
//! A world is three entries, two consumers and everything that they, the producer and an operator
//! may do, in any order. Beside the dispatcher a plain account is kept of who was given what.

use hulse_model::{Offset, Position};
use hulse_subscription::{
    AttachError, Blocked, Claim, ConsumerId, Cursor, DispatchLimits, Dispatcher, KeySlot, Next,
    PermitsError, SubscriptionKind,
};

use crate::explorer::{World as Small, at, explore};

const MESSAGES: [u32; 3] = [1, 3, 2];
const CONSUMERS: [ConsumerId; 2] = [ConsumerId(1), ConsumerId(2)];
/// No more permits than this are given at a time, so that the worlds are finitely many.
const PERMITS_MAX: i64 = 3;
const DEPTH: usize = 16;

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Attach(ConsumerId),
    Detach(ConsumerId),
    Permits(u32),
    Deliver,
    /// The entry that was named before the last step, read too late.
    DeliverLate(Offset),
    Acknowledge {
        offset: usize,
        first: u32,
        last: u32,
    },
    Cumulative {
        offset: usize,
        last: u32,
    },
    Seek(Position),
    Skip,
}

/// The plain account.
#[derive(Debug, Clone, Default)]
struct Account {
    consumer: Option<ConsumerId>,
    permits: i64,
    /// Entries given to the consumer, or skipped for it.
    out: [bool; 3],
    /// How often each entry was given to a consumer that then went away.
    returned: [u32; 3],
    acknowledged: [[bool; 3]; 3],
}

impl Account {
    fn acknowledged(&self, offset: usize) -> u32 {
        (0..MESSAGES[offset])
            .map(|i| u32::from(self.acknowledged[offset][i as usize]))
            .sum()
    }

    /// The first entry that the consumer should get.
    fn available(&self, end: usize) -> Option<usize> {
        (0..end).find(|at| !self.out[*at] && self.acknowledged(*at) < MESSAGES[*at])
    }
}

#[derive(Clone)]
struct World {
    dispatcher: Dispatcher,
    cursor: Cursor,
    end: usize,
    account: Account,
    delivered: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            dispatcher,
            cursor,
            end,
            account,
            delivered: _,
        } = self;
        write!(f, "{dispatcher:?} {cursor:?} {end} {account:?}")
    }
}

fn index_of(offset: Offset) -> usize {
    usize::try_from(offset.0).unwrap()
}

impl World {
    fn new() -> Self {
        let limits = DispatchLimits::default();
        let dispatcher = Dispatcher::new(SubscriptionKind::Exclusive, 0, limits);
        let account = Account::default();
        Self {
            dispatcher,
            cursor: Cursor::default(),
            end: 0,
            account,
            delivered: 0,
        }
    }

    fn next(&mut self) -> Option<Offset> {
        let next = self.dispatcher.next(&self.cursor, at(self.end));
        next.map(|Next { consumer, offset }| {
            assert_eq!(consumer, self.account.consumer);
            offset
        })
    }

    fn possible_steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Deliver, Step::Skip];
        steps.extend(CONSUMERS.map(Step::Attach));
        steps.extend(CONSUMERS.map(Step::Detach));
        steps.extend((0..3).map(|offset| Step::DeliverLate(at(offset))));
        if self.end < MESSAGES.len() {
            steps.push(Step::Append);
        }
        if self.account.permits < PERMITS_MAX {
            steps.extend([Step::Permits(1), Step::Permits(2)]);
        }
        for (offset, messages) in MESSAGES.into_iter().enumerate().take(self.end) {
            let last = messages - 1;
            steps.push(Step::Acknowledge {
                offset,
                first: 0,
                last,
            });
            steps.push(Step::Acknowledge {
                offset,
                first: last,
                last,
            });
            steps.extend([0, last].map(|last| Step::Cumulative { offset, last }));
            steps.push(Step::Seek(Position {
                offset: at(offset),
                index: last,
            }));
        }
        steps.push(Step::Seek(Position::default()));
        steps.push(Step::Seek(Position::at(at(self.end))));
        steps
    }

    fn attach(&mut self, consumer: ConsumerId) {
        let claim = Claim::default();
        let result = self.dispatcher.attach(consumer, claim, &self.cursor);
        match self.account.consumer {
            Some(by) => assert_eq!(result, Err(AttachError::Busy { by })),
            None => {
                assert_eq!(result, Ok(()));
                self.account.consumer = Some(consumer);
            }
        }
    }

    fn detach(&mut self, consumer: ConsumerId) {
        let there = self.dispatcher.detach(consumer, &self.cursor);
        assert_eq!(there, self.account.consumer == Some(consumer));
        if there {
            for (returned, out) in self.account.returned.iter_mut().zip(self.account.out) {
                *returned += u32::from(out);
            }
            self.account.out = [false; 3];
            self.account.permits = 0;
            self.account.consumer = None;
        }
    }

    fn permits(&mut self, messages: u32) {
        match self.account.consumer {
            Some(consumer) => {
                assert_eq!(self.dispatcher.permits(consumer, messages), Ok(()));
                self.account.permits += i64::from(messages);
            }
            None => {
                let consumer = CONSUMERS[0];
                let refused = PermitsError::NotAttached { consumer };
                assert_eq!(self.dispatcher.permits(consumer, messages), Err(refused));
            }
        }
    }

    fn deliver(&mut self, offset: Offset) {
        let named = self.next();
        let entry = index_of(offset);
        let delivery = self
            .dispatcher
            .delivered(&self.cursor, offset, MESSAGES[entry], KeySlot(0));
        assert_eq!(
            delivery.is_some(),
            named == Some(offset),
            "only what is named is given"
        );
        let Some(delivery) = delivery else { return };
        assert_eq!(Some(delivery.consumer), self.account.consumer);
        assert_eq!(
            delivery.messages,
            MESSAGES[entry] - self.account.acknowledged(entry)
        );
        assert_eq!(
            delivery.redelivery_count, self.account.returned[entry],
            "entry {offset}"
        );
        let skipped = |i: u32| {
            delivery
                .acknowledged
                .iter()
                .any(|r| (r.first..=r.last).contains(&i))
        };
        for index in 0..MESSAGES[entry] {
            let acknowledged = self.account.acknowledged[entry][index as usize];
            assert_eq!(
                skipped(index),
                acknowledged,
                "no acknowledged message is given again"
            );
        }
        assert!(self.account.permits > 0, "nothing is given without permits");
        self.account.permits -= i64::from(delivery.messages);
        self.account.out[entry] = true;
        self.delivered += 1;
    }

    fn acknowledge(&mut self, offset: usize, first: u32, last: u32) {
        self.cursor
            .acknowledge_range(at(offset), first, last, MESSAGES[offset]);
        (first..=last).for_each(|i| self.account.acknowledged[offset][i as usize] = true);
    }

    fn seek(&mut self, position: Position) {
        self.cursor.set(position);
        self.dispatcher.seek();
        self.account.out = [false; 3];
        self.account.returned = [0; 3];
        for (offset, messages) in MESSAGES.into_iter().enumerate() {
            for index in 0..messages {
                let before = Position {
                    offset: at(offset),
                    index,
                } < position;
                self.account.acknowledged[offset][index as usize] = before;
            }
        }
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Append => self.end += 1,
            Step::Attach(consumer) => self.attach(consumer),
            Step::Detach(consumer) => self.detach(consumer),
            Step::Permits(messages) => self.permits(messages),
            Step::Deliver => {
                if let Some(offset) = self.next() {
                    self.deliver(offset);
                }
            }
            Step::DeliverLate(offset) => {
                if index_of(offset) < self.end {
                    self.deliver(offset);
                }
            }
            Step::Acknowledge {
                offset,
                first,
                last,
            } => self.acknowledge(offset, first, last),
            Step::Cumulative { offset, last } => {
                self.cursor
                    .acknowledge_cumulative(at(offset), last, MESSAGES[offset]);
                for (entry, messages) in MESSAGES.into_iter().enumerate().take(offset + 1) {
                    let last = if entry == offset { last } else { messages - 1 };
                    (0..=last).for_each(|i| self.account.acknowledged[entry][i as usize] = true);
                }
            }
            Step::Seek(position) => self.seek(position),
            Step::Skip => {
                if let Some(offset) = self.next() {
                    self.dispatcher.skip(offset.next());
                    self.account.out[index_of(offset)] = true;
                }
            }
        }
        // Changes go into records, which are not the matter here.
        self.cursor.take_changes();
        self.check();
    }

    fn check(&mut self) {
        self.dispatcher.check_invariants();
        self.cursor.check_invariants();
        let named = self.next();
        let account = &self.account;
        assert!(
            account.permits > -i64::from(MESSAGES[1]),
            "below zero by less than one entry"
        );
        let ready = account.consumer.is_some() && account.permits > 0;
        let expected = account.available(self.end).map(at).filter(|_| ready);
        assert_eq!(
            named, expected,
            "what can be given is named, and nothing else"
        );
        let blocked = self.dispatcher.blocked(&self.cursor, at(self.end));
        assert_eq!(blocked.is_none(), expected.is_some());
        let everything = (0..self.end).all(|entry| account.acknowledged(entry) == MESSAGES[entry]);
        let reason = match (account.consumer, account.available(self.end)) {
            (None, _) => Some(Blocked::NoConsumer),
            (Some(_), None) if everything => Some(Blocked::CaughtUp {
                next: self.cursor.mark().offset,
            }),
            (Some(consumer), None) => Some(Blocked::Unacknowledged {
                consumer,
                first: self.cursor.mark(),
            }),
            (Some(_), Some(_)) if ready => None,
            (Some(consumer), Some(next)) => Some(Blocked::NoPermits {
                consumer,
                next: at(next),
            }),
        };
        assert_eq!(blocked, reason);
    }
}

impl Small for World {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        self.possible_steps()
    }

    fn take(&mut self, step: Step) {
        self.happen(step);
    }

    fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// Goal: no message is given again once it is acknowledged, no wake-up is lost, permits hold, the
/// redelivery count and the reason for standing still are true. Method: breadth first, each
/// different world once.
#[test]
fn every_small_world_is_in_order() {
    let explored = explore(World::new(), DEPTH);
    assert!(explored.worlds > 10_000, "the worlds were explored");
    assert!(explored.deliveries > 5_000, "something was delivered");
}
