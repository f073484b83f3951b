//! The dispatcher of an Exclusive subscription: one consumer, entries in order.

use hulse_model::Offset;

use crate::cursor::Cursor;
use crate::dispatcher::{
    AttachError, Blocked, ConsumerId, ConsumerState, Delivery, Next, PermitsError, add_permits,
    check_permits, what_is_left,
};
use crate::redeliveries::Redeliveries;

/// One consumer at most, which is sent the entries from the mark upwards, as far as its permits
/// go. [`crate::Dispatcher`] describes the calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclusive {
    attached: Option<Attached>,
    /// Entries below it have been delivered to the consumer. Below the mark it says nothing.
    read: Offset,
    redeliveries: Redeliveries,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attached {
    consumer: ConsumerId,
    /// Messages that may be sent. An entry is sent whole, so it falls below zero by less than one
    /// entry's messages.
    permits: i64,
    paused: bool,
}

impl Exclusive {
    pub(crate) fn attach(&mut self, consumer: ConsumerId) -> Result<(), AttachError> {
        self.take_over(consumer, 0, false)
    }

    /// Adds a consumer that brings permits with it.
    pub(crate) fn take_over(
        &mut self,
        consumer: ConsumerId,
        permits: i64,
        paused: bool,
    ) -> Result<(), AttachError> {
        if let Some(attached) = &self.attached {
            return Err(AttachError::Busy {
                by: attached.consumer,
            });
        }
        self.attached = Some(Attached {
            consumer,
            permits,
            paused,
        });
        Ok(())
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        if self.consumer() != Some(consumer) {
            return false;
        }
        self.attached = None;
        self.rewind(cursor);
        true
    }

    /// What was delivered and is not acknowledged has been delivered in vain.
    fn rewind(&mut self, cursor: &Cursor) {
        let mark = cursor.mark().offset;
        self.redeliveries.forget_below(mark);
        if self.read > mark {
            self.redeliveries.session_ended(self.read);
        }
        self.read = Offset::ZERO;
    }

    pub(crate) fn permits(
        &mut self,
        consumer: ConsumerId,
        messages: u32,
    ) -> Result<(), PermitsError> {
        let Some(attached) = self.attached.as_mut().filter(|it| it.consumer == consumer) else {
            return Err(PermitsError::NotAttached { consumer });
        };
        add_permits(&mut attached.permits, messages)
    }

    pub(crate) fn pause(&mut self, consumer: ConsumerId, paused: bool) {
        if let Some(attached) = self.attached.as_mut().filter(|it| it.consumer == consumer) {
            attached.paused = paused;
        }
    }

    pub(crate) fn next(&self, cursor: &Cursor, end: Offset) -> Option<Next> {
        let attached = self.attached.filter(|it| it.permits > 0 && !it.paused)?;
        let offset = cursor.next_unacknowledged(self.read);
        (offset < end).then_some(Next {
            consumer: Some(attached.consumer),
            offset,
        })
    }

    pub(crate) fn delivered(
        &mut self,
        cursor: &Cursor,
        offset: Offset,
        messages: u32,
    ) -> Option<Delivery> {
        let ready = |it: &&mut Attached| it.permits > 0 && !it.paused;
        let attached = self.attached.as_mut().filter(ready)?;
        if cursor.next_unacknowledged(self.read) != offset {
            return None;
        }
        self.read = offset.next();
        let (acknowledged, messages) = what_is_left(cursor, offset, messages)?;
        attached.permits -= i64::from(messages);
        let redelivery_count = self.redeliveries.count(offset);
        Some(Delivery {
            consumer: attached.consumer,
            messages,
            redelivery_count,
            acknowledged,
        })
    }

    pub(crate) fn redeliver(&mut self, consumer: ConsumerId, cursor: &Cursor) {
        if self.consumer() == Some(consumer) {
            self.rewind(cursor);
        }
    }

    pub(crate) fn skip(&mut self, end: Offset) {
        if self.attached.is_some() {
            self.read = self.read.max(end);
        }
    }

    pub(crate) fn seek(&mut self) {
        self.read = Offset::ZERO;
        self.redeliveries.clear();
    }

    /// The consumer, if one is attached.
    #[must_use]
    pub fn consumer(&self) -> Option<ConsumerId> {
        self.attached.map(|attached| attached.consumer)
    }

    /// Whether everything that the consumer was given is acknowledged.
    pub(crate) fn is_idle(&self, cursor: &Cursor) -> bool {
        cursor.next_unacknowledged(Offset::ZERO) >= self.read
    }

    pub(crate) fn state(&self, consumer: ConsumerId) -> Option<ConsumerState> {
        let attached = self.attached.filter(|it| it.consumer == consumer)?;
        Some(ConsumerState {
            permits: attached.permits,
            unacknowledged: None,
            active: true,
        })
    }

    pub(crate) fn blocked(&self, cursor: &Cursor, end: Offset) -> Option<Blocked> {
        let Some(attached) = self.attached else {
            return Some(Blocked::NoConsumer);
        };
        let next = cursor.next_unacknowledged(self.read);
        let mark = cursor.mark();
        let consumer = attached.consumer;
        if mark.offset >= end {
            Some(Blocked::CaughtUp { next: mark.offset })
        } else if next >= end {
            Some(Blocked::Unacknowledged {
                consumer,
                first: mark,
            })
        } else if attached.permits <= 0 {
            Some(Blocked::NoPermits { consumer, next })
        } else if attached.paused {
            Some(Blocked::Paused { consumer, next })
        } else {
            None
        }
    }

    pub(crate) fn check_invariants(&self) {
        if let Some(attached) = self.attached {
            check_permits(attached.permits);
        } else {
            assert_eq!(
                self.read,
                Offset::ZERO,
                "something is out with nobody attached"
            );
        }
        self.redeliveries.check_invariants();
    }
}

#[cfg(test)]
mod tests {
    use hulse_model::limits::CONSUMER_PERMITS_MAX;

    use super::*;

    const CONSUMER: ConsumerId = ConsumerId(1);

    /// A session that is given the entries from the mark up to, not including, `read`, and dies.
    /// Returns the redelivery count of the first one.
    fn session(exclusive: &mut Exclusive, cursor: &Cursor, read: u64) -> u32 {
        exclusive.attach(CONSUMER).unwrap();
        exclusive.permits(CONSUMER, 1_000).unwrap();
        let mut first_count = None;
        while let Some(next) = exclusive.next(cursor, Offset(read)) {
            let delivery = exclusive.delivered(cursor, next.offset, 1).unwrap();
            first_count.get_or_insert(delivery.redelivery_count);
        }
        assert!(exclusive.detach(CONSUMER, cursor));
        exclusive.check_invariants();
        first_count.unwrap()
    }

    #[test]
    fn counts_below_the_mark_make_room_for_those_above() {
        let mut exclusive = Exclusive::default();
        let mut cursor = Cursor::default();
        for mark in 0..500 {
            // Each entry is given to three sessions: as the highest, the middle and the lowest.
            let count = session(&mut exclusive, &cursor, mark + 3);
            assert_eq!(u64::from(count), mark.min(2), "entry {mark}");
            cursor.acknowledge_cumulative(Offset(mark), 0, 1);
        }
    }

    #[test]
    fn permits_over_the_limit_are_told_and_cut() {
        let mut exclusive = Exclusive::default();
        let limit = i64::from(CONSUMER_PERMITS_MAX);
        exclusive.attach(CONSUMER).unwrap();
        exclusive
            .permits(CONSUMER, CONSUMER_PERMITS_MAX - 1)
            .unwrap();
        for (outstanding, asked) in [(limit - 1, u32::MAX), (limit, 2)] {
            let error = exclusive.permits(CONSUMER, asked);
            assert_eq!(error, Err(PermitsError::OverLimit { outstanding, asked }));
            exclusive.check_invariants();
        }
        let stranger = ConsumerId(2);
        let error = exclusive.permits(stranger, 1);
        assert_eq!(error, Err(PermitsError::NotAttached { consumer: stranger }));
    }
}
