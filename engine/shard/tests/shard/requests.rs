//! Requests on their way to the broker.

use std::collections::BTreeMap;

use hulse_model::{Offset, Position};
use hulse_shard::{AckedMessages, Command, Handled, Reply, SeekTo, StartFrom, StreamKey};
use hulse_subscription::SubscriptionKind;

use crate::checker::{Batch, Checker};
use crate::covered::Covered;
use crate::rim::{PARTITION, Rim, Told};

/// A request in a form that owns what it needs.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Open {
        name: String,
        epoch: Option<u64>,
    },
    Produce {
        batch: Batch,
        skipped: bool,
    },
    Subscribe {
        subscription: usize,
        permits: u32,
        latest: bool,
    },
    Permits(u32),
    /// Everything up to a message.
    Cumulative {
        subscription: usize,
        offset: u64,
        last: u32,
        receipt: bool,
    },
    /// Single messages of entries.
    Individual {
        subscription: usize,
        messages: Vec<(u64, u32)>,
        receipt: bool,
    },
    Seek {
        subscription: usize,
        to: SeekTo,
        by_name: bool,
    },
    Close,
}

/// A request of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) to: StreamKey,
    pub(crate) correlation: u64,
    pub(crate) request: Request,
}

/// The name of a subscription.
pub(crate) fn subscription_name(subscription: usize) -> String {
    format!("s-{subscription}")
}

impl Request {
    /// Whether it asks for an answer.
    pub(crate) fn asks(&self) -> bool {
        match self {
            Self::Permits(_) => false,
            Self::Cumulative { receipt, .. } | Self::Individual { receipt, .. } => *receipt,
            _ => true,
        }
    }
}

impl Sent {
    /// Gives the request to the shard, and tells the checker.
    pub(crate) fn take(
        &self,
        rim: &mut Rim,
        checker: &mut Checker,
        seeks: &mut BTreeMap<(StreamKey, u64), usize>,
    ) -> Handled {
        let (to, id) = (self.to, self.correlation);
        if rim.traced {
            eprintln!("{}:{} {id} {:?}", to.connection, to.stream, self.request);
        }
        let on = |rim: &mut Rim, command: Command<'_>| {
            rim.act(|shard, clock, fx| shard.handle_on(clock, PARTITION, to, id, command, fx));
        };
        let of = |rim: &mut Rim, command: Command<'_>| {
            rim.act(|shard, clock, fx| shard.handle(clock, to, id, command, fx))
        };
        // What is held is offered again, as if for the first time.
        let asked = self.request.asks() && !matches!(self.request, Request::Produce { .. });
        let may_be_held = matches!(
            self.request,
            Request::Cumulative { .. } | Request::Individual { .. } | Request::Seek { .. }
        );
        if asked && !may_be_held {
            checker.asked(to, id);
        }
        match &self.request {
            Request::Open { name, epoch } => {
                let (name, epoch) = (name, *epoch);
                on(rim, crate::rim::producer(name, epoch));
            }
            Request::Produce { batch, skipped } => {
                let command = Command::Produce {
                    sequence: batch.sequence,
                    messages: batch.messages,
                    skipped: *skipped,
                    delayed: false,
                    payload: &batch.payload,
                    payload_crc: None,
                };
                let handled = of(rim, command);
                if handled == Handled::Done {
                    checker.produced(to, id, batch);
                }
                return handled;
            }
            Request::Subscribe {
                subscription,
                permits,
                latest,
            } => on(
                rim,
                Command::Subscribe {
                    subscription: subscription_name(*subscription).parse().unwrap(),
                    kind: SubscriptionKind::Exclusive,
                    start: if *latest {
                        StartFrom::Latest
                    } else {
                        StartFrom::Earliest
                    },
                    consumer: "world".to_owned(),
                    durable: true,
                    priority: 0,
                    member: None,
                    permits: *permits,
                },
            ),
            Request::Permits(more) => return of(rim, Command::Permits(*more)),
            Request::Cumulative {
                subscription,
                offset,
                last,
                receipt,
            } => {
                let mut messages = Covered::from(Position::at(Offset(*offset)));
                messages.add_up_to(*offset, *last);
                let up_to = acked(*offset, 0, *last);
                let receipt = *receipt;
                let handled = of(rim, Command::AckCumulative { up_to, receipt });
                if handled == Handled::Held {
                    return handled;
                }
                if asked {
                    checker.asked(to, id);
                }
                if !self.is_answered(rim) {
                    checker.acknowledged(*subscription, (to, id), &messages);
                }
                return handled;
            }
            Request::Individual {
                subscription,
                messages,
                receipt,
            } => {
                let mut covered = Covered::default();
                messages
                    .iter()
                    .for_each(|(offset, index)| covered.add(*offset, *index));
                let one = |(offset, index): &(u64, u32)| acked(*offset, *index, *index);
                let messages: Vec<_> = messages.iter().map(one).collect();
                let (messages, receipt) = (&messages[..], *receipt);
                let handled = of(rim, Command::AckIndividual { messages, receipt });
                if handled == Handled::Held {
                    return handled;
                }
                if asked {
                    checker.asked(to, id);
                }
                if !self.is_answered(rim) {
                    checker.acknowledged(*subscription, (to, id), &covered);
                }
                return handled;
            }
            Request::Seek {
                subscription,
                to: place,
                by_name,
            } => {
                if *by_name {
                    let subscription = subscription_name(*subscription).parse().unwrap();
                    on(
                        rim,
                        Command::SeekSubscription {
                            subscription,
                            to: *place,
                        },
                    );
                } else if of(rim, Command::Seek(*place)) == Handled::Held {
                    return Handled::Held;
                }
                checker.asked(to, id);
                if !self.is_answered(rim) {
                    let described = rim.shard.describe(PARTITION).unwrap();
                    let name = subscription_name(*subscription);
                    let it = described.subscriptions.iter().find(|it| it.name == name);
                    checker.sought(*subscription, it.expect("it was set").mark);
                    seeks.insert((to, id), *subscription);
                    return Handled::Done;
                }
            }
            Request::Close => {
                checker.closing(to, id);
                return of(rim, Command::Close);
            }
        }
        Handled::Done
    }

    /// Whether it was answered at once, which it is only when it is refused.
    fn is_answered(&self, rim: &Rim) -> bool {
        rim.told.iter().any(|(to, told)| {
            let refused = |id| *to == self.to && id == self.correlation;
            matches!(told, Told::Reply(id, Reply::Refused(_)) if refused(*id))
        })
    }
}

fn acked(offset: u64, first: u32, last: u32) -> AckedMessages {
    AckedMessages {
        offset: Offset(offset),
        first,
        last,
    }
}
