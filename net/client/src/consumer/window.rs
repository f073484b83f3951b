//! How many messages a broker may send ahead of the application. Pure.

use hulse_model::limits::CONSUMER_PERMITS_MAX;

/// What a message is taken to weigh before any has come, in bytes. It keeps the first permits few.
const FIRST_GUESS_BYTES: u64 = 16 * 1024;

/// The limits of one partition's receive queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// The most messages.
    pub(crate) messages: u32,
    /// Bytes that are aimed at. The protocol counts messages alone, so the number of permits
    /// follows the average size of what has come.
    pub(crate) bytes: usize,
}

/// The permits of one partition: what the broker may still send, and what waits here.
///
/// An entry is sent whole, so what the broker may still send falls below zero when an entry has
/// more messages than there were permits; it counts the same way.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    limits: QueueLimits,
    granted: i64,
    queued: i64,
    average_bytes: u64,
}

impl Window {
    /// A window in which nothing has come.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            granted: 0,
            queued: 0,
            average_bytes: FIRST_GUESS_BYTES,
        }
    }

    /// Begins anew on a new stream. Gives the permits that go with the subscription: none when it is
    /// `paused`, and then what waits goes on waiting; otherwise nothing waits.
    pub(crate) fn restart(&mut self, paused: bool) -> u32 {
        let permits = if paused { 0 } else { self.allowed() };
        self.granted = i64::from(permits);
        if !paused {
            self.queued = 0;
        }
        permits
    }

    /// `messages` came in one entry of `bytes`.
    pub(crate) fn arrived(&mut self, messages: u32, bytes: usize) {
        self.granted -= i64::from(messages);
        self.queued += i64::from(messages);
        if messages > 0 {
            let size = bytes as u64 / u64::from(messages);
            // A moving average over some eight entries.
            self.average_bytes = (self.average_bytes * 7 + size) / 8;
        }
    }

    /// `messages` have left the queue.
    pub(crate) const fn taken(&mut self, messages: u32) {
        self.queued -= messages as i64;
    }

    /// Permits to give now: none until half of the window is free.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        let allowed = i64::from(self.allowed());
        let free = allowed - self.granted - self.queued;
        if free <= 0 || free * 2 < allowed {
            return None;
        }
        let permits = u32::try_from(free)
            .unwrap_or(u32::MAX)
            .min(CONSUMER_PERMITS_MAX);
        self.granted += i64::from(permits);
        Some(permits)
    }

    fn allowed(&self) -> u32 {
        let fitting = self.limits.bytes as u64 / self.average_bytes.max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        fitting
            .min(self.limits.messages)
            .clamp(1, CONSUMER_PERMITS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A broker that sends whole entries while it has permits.
    struct Broker {
        permits: i64,
    }

    proptest! {
        #[test]
        fn a_consumer_that_takes_everything_never_starves(
            messages in 1..2_000_u32,
            bytes in 1..10_000_000_usize,
            entries in prop::collection::vec((1..5_000_u32, 1..3_000_usize), 1..60),
        ) {
            let mut window = Window::new(QueueLimits { messages, bytes });
            let mut broker = Broker { permits: i64::from(window.restart(false)) };
            for (count, size) in entries {
                prop_assert!(broker.permits > 0, "the broker may always send another entry");
                broker.permits -= i64::from(count);
                window.arrived(count, count as usize * size);
                for _ in 0..count {
                    window.taken(1);
                    if let Some(permits) = window.grant() {
                        prop_assert!(permits > 0);
                        broker.permits += i64::from(permits);
                    }
                }
                prop_assert_eq!(broker.permits, window.granted);
                prop_assert!(broker.permits <= i64::from(messages));
            }
        }

        #[test]
        fn a_consumer_that_takes_nothing_is_sent_no_more_than_its_window(
            messages in 1..2_000_u32,
            size in 1..100_000_usize,
        ) {
            let mut window = Window::new(QueueLimits { messages, bytes: 1_000_000 });
            let mut broker = Broker { permits: i64::from(window.restart(false)) };
            let mut queued = 0;
            while broker.permits > 0 {
                broker.permits -= 1;
                queued += 1;
                window.arrived(1, size);
                if let Some(permits) = window.grant() {
                    broker.permits += i64::from(permits);
                }
            }
            prop_assert!(queued <= messages);
        }
    }

    #[test]
    fn small_messages_widen_the_window_and_large_ones_narrow_it() {
        let limits = QueueLimits {
            messages: 100_000,
            bytes: 16 * 1024 * 1024,
        };
        let mut window = Window::new(limits);
        assert_eq!(window.restart(false), 1024);
        for _ in 0..100 {
            window.arrived(10, 1_000);
            window.taken(10);
        }
        assert_eq!(window.restart(false), 100_000);
        for _ in 0..100 {
            window.arrived(1, 4 * 1024 * 1024);
            window.taken(1);
        }
        assert!(window.restart(false) <= 4);
    }

    #[test]
    fn permits_come_back_when_half_of_the_window_is_free() {
        let mut window = Window::new(QueueLimits {
            messages: 10,
            bytes: 10_000_000,
        });
        assert_eq!(window.restart(false), 10);
        window.arrived(10, 10);
        let grants: Vec<_> = (0..10)
            .map(|_| {
                window.taken(1);
                window.grant()
            })
            .collect();
        let half = [
            None,
            None,
            None,
            None,
            Some(5),
            None,
            None,
            None,
            None,
            Some(5),
        ];
        assert_eq!(grants, half);
    }
}
