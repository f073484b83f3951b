//! What has come for a consumer and waits for the application, of all partitions together. Pure.

use std::collections::VecDeque;

use hulse_model::{Offset, Position};

use crate::consumer::delivery::Delivery;
use crate::consumer::received::Received;
use crate::consumer::seen::{Seen, SkipSeen};
use crate::consumer::window::{QueueLimits, Window};
use crate::error::ClientError;

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
    /// What was handed out.
    seen: Seen,
    /// The newest of it.
    handed_out: Option<Position>,
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
    closed: Option<ClientError>,
}

impl Inbox {
    /// An empty inbox for these partitions. `skip_seen` says whether a message that comes again is
    /// handed out again.
    pub(crate) fn new(partitions: &[i32], limits: QueueLimits, skip_seen: SkipSeen) -> Self {
        let lane = |partition: &i32| Lane {
            partition: *partition,
            generation: 0,
            window: Window::new(limits),
            paused: false,
            moving: false,
            seen: Seen::new(skip_seen),
            handed_out: None,
            has_error: false,
            stopped: None,
        };
        let lanes = partitions.iter().map(lane).collect();
        Self {
            items: VecDeque::new(),
            lanes,
            closed: None,
        }
    }

    /// A new stream begins: what came over the one before is dropped, since it comes again.
    /// Gives the permits to subscribe with.
    pub(crate) fn restart(&mut self, lane: usize, generation: u64) -> u32 {
        // What waits comes again over the new stream, unless that is given no permits.
        if !self.lanes[lane].paused {
            self.drop_deliveries(lane, |_| true);
        }
        let it = &mut self.lanes[lane];
        it.generation = generation;
        it.seen.begins_anew();
        it.moving = false;
        it.window.restart(it.paused)
    }

    /// The subscription is about to be moved: what waits and what comes until then is dropped.
    pub(crate) fn moving(&mut self, lane: usize) {
        self.drop_deliveries(lane, |_| true);
        self.lanes[lane].moving = true;
    }

    /// The subscription was moved: what comes now is new whatever it is.
    pub(crate) fn moved(&mut self, lane: usize) {
        let it = &mut self.lanes[lane];
        it.moving = false;
        it.paused = false;
        it.stopped = None;
        it.seen.clear();
        it.handed_out = None;
    }

    /// The newest message that was handed out of a partition.
    pub(crate) fn handed_out(&self, lane: usize) -> Option<Position> {
        self.lanes[lane].handed_out
    }

    /// Another consumer gets the messages of a partition now, also those that wait here.
    pub(crate) fn retire(&mut self, lane: usize) {
        self.drop_deliveries(lane, |_| true);
        self.lanes[lane].seen.begins_anew();
    }

    /// These entries, rising, are to be handed out when they come again. What waits of them comes
    /// with them; so does everything that waits behind the first of them when the broker delivers
    /// again `from_first_on`.
    pub(crate) fn forget(&mut self, lane: usize, entries: &[Offset], from_first_on: bool) {
        let Some(first) = entries.first() else {
            return;
        };
        for offset in entries {
            self.lanes[lane].seen.forget(*offset);
        }
        self.drop_deliveries(lane, |offset| {
            (from_first_on && offset >= *first) || entries.binary_search(&offset).is_ok()
        });
    }

    /// Drops what waits of those entries of a partition that `which` names; their messages count
    /// as taken.
    fn drop_deliveries(&mut self, lane: usize, which: impl Fn(Offset) -> bool) {
        let it = &mut self.lanes[lane];
        self.items.retain(|item| match item {
            Item::Delivery { lane: of, delivery } if *of == lane && which(delivery.offset()) => {
                it.window.taken(delivery.open());
                delivery.dropped(&mut it.seen);
                false
            }
            _ => true,
        });
    }

    /// An entry came. False when it was dropped: it came over an earlier stream, is not wanted, or
    /// has been handed out before.
    pub(crate) fn arrived(&mut self, lane: usize, generation: u64, mut delivery: Delivery) -> bool {
        let it = &mut self.lanes[lane];
        if it.generation != generation {
            return false;
        }
        let messages = delivery.open();
        it.window.arrived(messages, delivery.bytes());
        if it.moving || !delivery.is_wanted(&mut it.seen) {
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
                match delivery.next_message(it.partition, &mut it.seen, &mut it.window) {
                    Some(Ok(message)) => {
                        let id = message.message_id();
                        let at = Position {
                            offset: id.offset,
                            index: u32::try_from(id.index).unwrap_or(0),
                        };
                        it.handed_out = it.handed_out.max(Some(at));
                        Some(Taken::Message(message))
                    }
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

#[cfg(test)]
mod tests;
