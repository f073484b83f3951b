//! A subscription that has, or has had, a consumer in the life of this process.

use std::collections::BTreeMap;

use hulse_log::{Disk, Log, ReadCursor, StoredEntry};
use hulse_model::Offset;
use hulse_subscription::{AttachError, Claim, ConsumerId, Cursor, Dispatcher, KeySlot};

use crate::command::StreamKey;

/// A consumer that is attached to a subscription.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) consumer: ConsumerId,
    pub(crate) stream: StreamKey,
    pub(crate) name: String,
    pub(crate) priority: u8,
    /// Messages that it was sent, redeliveries included.
    pub(crate) delivered_messages: u64,
}

/// Whether what is read next is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warming {
    /// It is, or has not been looked at.
    No,
    /// A helper brings it there.
    UnderWay,
    /// A helper has brought it there: it is read now, whatever became of it since.
    Done,
}

/// A subscription's dispatcher, the streams of its consumers, and where in the log it reads.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) dispatcher: Dispatcher,
    attached: BTreeMap<ConsumerId, Attached>,
    /// The id that was given last.
    last: u64,
    /// Consumers that the dispatcher was told to give nothing for now.
    paused: Vec<ConsumerId>,
    /// Where the next new entry is read, so that reading on needs no search.
    onward: Option<ReadCursor>,
    /// The same for entries that are read again, which lie before it.
    again: Option<ReadCursor>,
    warming: Warming,
    /// It has read much that is not due yet, and others have their turn before it reads on.
    resting: bool,
}

impl Served {
    pub(crate) const fn new(dispatcher: Dispatcher) -> Self {
        Self {
            dispatcher,
            attached: BTreeMap::new(),
            last: 0,
            paused: Vec::new(),
            onward: None,
            again: None,
            warming: Warming::No,
            resting: false,
        }
    }

    pub(crate) fn attach(
        &mut self,
        stream: StreamKey,
        claim: Claim<'_>,
        cursor: &Cursor,
    ) -> Result<ConsumerId, AttachError> {
        let consumer = ConsumerId(self.last + 1);
        self.dispatcher.attach(consumer, claim, cursor)?;
        self.last += 1;
        let attached = Attached {
            consumer,
            stream,
            name: claim.name.to_owned(),
            priority: claim.priority,
            delivered_messages: 0,
        };
        self.attached.insert(consumer, attached);
        // It is to be told that it is attached before it is sent anything.
        self.pause(consumer);
        Ok(consumer)
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) {
        self.attached.remove(&consumer);
        self.paused.retain(|paused| *paused != consumer);
        self.dispatcher.detach(consumer, cursor);
    }

    pub(crate) fn attached(&self, consumer: ConsumerId) -> Option<&Attached> {
        self.attached.get(&consumer)
    }

    /// The stream of a consumer.
    pub(crate) fn stream(&self, consumer: ConsumerId) -> Option<StreamKey> {
        Some(self.attached.get(&consumer)?.stream)
    }

    /// Notes what a consumer is sent, and gives its stream.
    pub(crate) fn delivered(&mut self, consumer: ConsumerId, messages: u32) -> Option<StreamKey> {
        let attached = self.attached.get_mut(&consumer)?;
        attached.delivered_messages += u64::from(messages);
        Some(attached.stream)
    }

    /// The slot of an entry's key, where the dispatcher wants to know it: that of its first message.
    /// What cannot be read has no key.
    pub(crate) fn slot_of<D: Disk>(&self, entry: &StoredEntry<D>) -> KeySlot {
        let first = || {
            let mut messages = entry.header.format.messages(entry.payload())?;
            messages.next()?.ok()
        };
        if !self.dispatcher.wants_keys() {
            return KeySlot::default();
        }
        KeySlot::of(first().and_then(|message| message.key))
    }

    pub(crate) fn consumers(&self) -> impl Iterator<Item = &Attached> {
        self.attached.values()
    }

    /// Whether anybody is attached.
    pub(crate) fn is_used(&self) -> bool {
        !self.attached.is_empty()
    }

    /// Whether it reads on when something has ended that is under way: a helper's work, or others'
    /// turn.
    pub(crate) fn is_waiting(&self) -> bool {
        self.warming == Warming::UnderWay || self.resting
    }

    /// Lets others have their turn before it reads on.
    pub(crate) const fn rest(&mut self) {
        self.resting = true;
    }

    /// They had it.
    pub(crate) const fn rested(&mut self) {
        self.resting = false;
    }

    /// What was read next is in memory.
    pub(crate) const fn warmed(&mut self) {
        self.warming = Warming::Done;
    }

    /// Gives a consumer nothing until [`Self::go_on`] finds that it can be sent something.
    pub(crate) fn pause(&mut self, consumer: ConsumerId) {
        self.dispatcher.pause(consumer, true);
        if !self.paused.contains(&consumer) {
            self.paused.push(consumer);
        }
    }

    /// Lets the paused consumers go on whose streams can be sent something.
    pub(crate) fn go_on(&mut self, mut can_be_sent: impl FnMut(StreamKey) -> bool) {
        let Self {
            dispatcher,
            attached,
            paused,
            ..
        } = self;
        paused.retain(|consumer| {
            let stream = attached.get(consumer).map(|attached| attached.stream);
            let still = stream.is_some_and(|stream| !can_be_sent(stream));
            if !still {
                dispatcher.pause(*consumer, false);
            }
            still
        });
    }

    /// The streams that are to be told whether their consumer is the active one.
    pub(crate) fn announcements(
        &mut self,
        cursor: &Cursor,
        can_be_told: impl Fn(StreamKey) -> bool,
    ) -> Vec<(StreamKey, bool)> {
        let Self {
            dispatcher,
            attached,
            ..
        } = self;
        let stream = |consumer| attached.get(&consumer).map(|attached| attached.stream);
        let announced = dispatcher.announce(cursor, |consumer| {
            stream(consumer).is_some_and(&can_be_told)
        });
        let known = |(consumer, active)| Some((stream(consumer)?, active));
        announced.into_iter().filter_map(known).collect()
    }

    /// The place in the log from which entry `offset` is read, and whether it is being brought into
    /// memory.
    pub(crate) fn reader<D: Disk>(
        &mut self,
        log: &Log<D>,
        offset: Offset,
    ) -> (&mut ReadCursor, &mut Warming) {
        let earlier = self
            .onward
            .as_ref()
            .is_some_and(|onward| offset < onward.offset());
        let reader = if earlier {
            &mut self.again
        } else {
            &mut self.onward
        };
        let reader = reader.get_or_insert_with(|| log.cursor(offset));
        if reader.offset() != offset {
            *reader = log.cursor(offset);
        }
        (reader, &mut self.warming)
    }
}
