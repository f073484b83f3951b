//! The dispatcher of an Exclusive subscription: one consumer, entries in order.

use hulse_model::Offset;
use hulse_model::limits::{CONSUMER_PERMITS_MAX, ENTRY_MESSAGES_MAX};

use crate::cursor::Cursor;
use crate::dispatcher::{AttachError, Blocked, ConsumerId, Delivery, PermitsError};
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
}

impl Exclusive {
    /// See [`crate::Dispatcher::attach`].
    ///
    /// # Errors
    /// When a consumer is attached, this one or another.
    pub fn attach(&mut self, consumer: ConsumerId) -> Result<(), AttachError> {
        if let Some(attached) = &self.attached {
            return Err(AttachError::Busy {
                by: attached.consumer,
            });
        }
        self.attached = Some(Attached {
            consumer,
            permits: 0,
        });
        Ok(())
    }

    /// See [`crate::Dispatcher::detach`].
    pub fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        if self.consumer() != Some(consumer) {
            return false;
        }
        self.attached = None;
        let mark = cursor.mark().offset;
        self.redeliveries.forget_below(mark);
        if self.read > mark {
            self.redeliveries.session_ended(self.read);
        }
        self.read = Offset::ZERO;
        true
    }

    /// See [`crate::Dispatcher::permits`].
    ///
    /// # Errors
    /// When the consumer is not attached, or would have too many.
    pub fn permits(&mut self, consumer: ConsumerId, messages: u32) -> Result<(), PermitsError> {
        let Some(attached) = self.attached.as_mut().filter(|it| it.consumer == consumer) else {
            return Err(PermitsError::NotAttached { consumer });
        };
        let outstanding = attached.permits;
        let limit = i64::from(CONSUMER_PERMITS_MAX);
        attached.permits = (outstanding + i64::from(messages)).min(limit);
        if outstanding + i64::from(messages) > limit {
            return Err(PermitsError::OverLimit {
                outstanding,
                asked: messages,
            });
        }
        Ok(())
    }

    /// See [`crate::Dispatcher::next`].
    #[must_use]
    pub fn next(&self, cursor: &Cursor, end: Offset) -> Option<Offset> {
        self.attached.filter(|attached| attached.permits > 0)?;
        Some(cursor.next_unacknowledged(self.read)).filter(|offset| *offset < end)
    }

    /// See [`crate::Dispatcher::delivered`].
    ///
    /// # Panics
    /// When the entry has no messages or more than any entry may have.
    pub fn delivered(
        &mut self,
        cursor: &Cursor,
        offset: Offset,
        messages: u32,
    ) -> Option<Delivery> {
        assert!(
            (1..=ENTRY_MESSAGES_MAX).contains(&messages),
            "an entry of {messages} messages"
        );
        let attached = self
            .attached
            .as_mut()
            .filter(|attached| attached.permits > 0)?;
        if cursor.next_unacknowledged(self.read) != offset {
            return None;
        }
        self.read = offset.next();
        let acknowledged = cursor.acknowledged_in(offset, messages);
        let skipped: u32 = acknowledged
            .iter()
            .map(|range| range.last - range.first + 1)
            .sum();
        let messages = messages - skipped;
        if messages == 0 {
            return None;
        }
        attached.permits -= i64::from(messages);
        let redelivery_count = self.redeliveries.count(offset);
        Some(Delivery {
            consumer: attached.consumer,
            messages,
            redelivery_count,
            acknowledged,
        })
    }

    /// See [`crate::Dispatcher::skip`].
    pub fn skip(&mut self, end: Offset) {
        if self.attached.is_some() {
            self.read = self.read.max(end);
        }
    }

    /// See [`crate::Dispatcher::seek`].
    pub fn seek(&mut self) {
        self.read = Offset::ZERO;
        self.redeliveries.clear();
    }

    /// The consumer, if one is attached.
    #[must_use]
    pub fn consumer(&self) -> Option<ConsumerId> {
        self.attached.map(|attached| attached.consumer)
    }

    /// See [`crate::Dispatcher::blocked`].
    #[must_use]
    pub fn blocked(&self, cursor: &Cursor, end: Offset) -> Option<Blocked> {
        let Some(attached) = self.attached else {
            return Some(Blocked::NoConsumer);
        };
        let next = cursor.next_unacknowledged(self.read);
        let mark = cursor.mark();
        if mark.offset >= end {
            Some(Blocked::CaughtUp { next: mark.offset })
        } else if next >= end {
            Some(Blocked::Unacknowledged {
                consumer: attached.consumer,
                first: mark,
            })
        } else if attached.permits <= 0 {
            Some(Blocked::NoPermits {
                consumer: attached.consumer,
                next,
            })
        } else {
            None
        }
    }

    /// See [`crate::Dispatcher::check_invariants`].
    ///
    /// # Panics
    /// When something that is never false is false.
    pub fn check_invariants(&self) {
        if let Some(attached) = self.attached {
            let lowest = -i64::from(ENTRY_MESSAGES_MAX);
            assert!(
                attached.permits > lowest,
                "permits were used that nobody gave"
            );
            assert!(
                attached.permits <= i64::from(CONSUMER_PERMITS_MAX),
                "too many permits"
            );
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
    use super::*;

    const CONSUMER: ConsumerId = ConsumerId(1);

    /// A session that is given the entries from the mark up to, not including, `read`, and dies.
    /// Returns the redelivery count of the first one.
    fn session(exclusive: &mut Exclusive, cursor: &Cursor, read: u64) -> u32 {
        exclusive.attach(CONSUMER).unwrap();
        exclusive.permits(CONSUMER, 1_000).unwrap();
        let mut first_count = None;
        while let Some(offset) = exclusive.next(cursor, Offset(read)) {
            let delivery = exclusive.delivered(cursor, offset, 1).unwrap();
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
