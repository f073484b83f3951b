//! One producer of a load.

use std::collections::VecDeque;
use std::time::Duration;

use hulse_client::{ClientError, Producer, SendHandle};
use tokio::time::Instant;

use super::latency::Latencies;
use super::on_the_way::OnTheWay;
use super::schedule::Schedule;
use super::stamp::Stamp;
use super::timer::Timer;
use super::window::Window;
use crate::exit::Failure;

/// The clock is asked for the first of so many messages that are sent without a wait. What it says is
/// taken for all of them: if anything, they seem to have waited for longer than they did.
const MESSAGES_A_LOOK: u32 = 16;

/// What is measured of the messages of one producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Messages that are due so long after the start count.
    pub(super) warmup: Duration,
    /// Messages that are due so long after the start are not sent.
    pub(super) end: Option<Duration>,
    /// How many that count are sent.
    pub(super) messages: Option<u64>,
}

/// What came of the messages of one producer, or of several.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    /// From when messages were due to their receipts.
    pub(super) latencies: Latencies,
    /// From when messages were due to their sending: what the load itself is late, and how long
    /// there was no room in the window.
    pub(super) late: Latencies,
    /// Messages that count.
    pub(super) messages: u64,
    /// Entries that they are in, as far as these begin with one of them.
    pub(super) entries: u64,
    /// When the last receipt came.
    pub(super) last: Option<Instant>,
}

impl Counted {
    /// Nothing so far.
    pub(super) fn new() -> Self {
        Self {
            latencies: Latencies::new(),
            late: Latencies::new(),
            messages: 0,
            entries: 0,
            last: None,
        }
    }

    /// Those of another as well.
    pub(super) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.late.add(&other.late);
        self.messages += other.messages;
        self.entries += other.entries;
        self.last = self.last.max(other.last);
    }
}

/// A message that is on its way.
struct Sent {
    due: Instant,
    counts: bool,
    handle: SendHandle,
}

/// One producer and what it is to send.
pub(super) struct Sender {
    pub(super) producer: Producer,
    /// When messages are due; without one they are due as soon as there is room.
    pub(super) schedule: Option<Schedule>,
    pub(super) timer: Timer,
    pub(super) span: Span,
    pub(super) window_messages: usize,
    pub(super) payload: Vec<u8>,
    /// Written into every message, where it is to be known again.
    pub(super) stamp: Option<Stamp>,
}

impl Sender {
    /// Sends until the span is over, and waits for every receipt.
    ///
    /// # Errors
    /// When a message fails.
    pub(super) async fn run(mut self, start: Instant) -> Result<Counted, Failure> {
        let window = Window::new(self.window_messages);
        let on_the_way = OnTheWay::new();
        let mut late = Latencies::new();
        let sending = async {
            let sent = self.send(start, &window, &on_the_way, &mut late).await;
            on_the_way.end();
            sent
        };
        let (sending, counted) = tokio::join!(sending, count_receipts(&on_the_way, &window));
        sending?;
        let mut counted = counted?;
        counted.late = late;
        self.producer.close().await?;
        Ok(counted)
    }

    async fn send(
        &mut self,
        start: Instant,
        window: &Window,
        on_the_way: &OnTheWay<Sent>,
        late: &mut Latencies,
    ) -> Result<(), Failure> {
        let timed = |error| Failure::failed(format_args!("the timer fails: {error}"));
        self.timer.until(start).await.map_err(timed)?;
        let from = start + self.span.warmup;
        let until = self.span.end.map(|end| start + end);
        let mut left = self.span.messages;
        let mut now = start;
        let mut looked = 0;
        while left != Some(0) {
            let over = |due: Instant| until.is_some_and(|until| due >= until);
            let due = match &mut self.schedule {
                Some(schedule) => {
                    let due = start + schedule.due();
                    if over(due) {
                        break;
                    }
                    if due > now {
                        now = self.timer.until(due).await.map_err(timed)?;
                    }
                    // The clock has come to it, so it is taken.
                    schedule.take(now.saturating_duration_since(start));
                    if !window.take().await {
                        break;
                    }
                    due
                }
                None => {
                    if !window.try_take() {
                        if !window.take().await {
                            break;
                        }
                        looked = 0;
                    }
                    if looked == 0 {
                        now = Instant::now();
                        looked = MESSAGES_A_LOOK;
                    }
                    looked -= 1;
                    if over(now) {
                        break;
                    }
                    now
                }
            };
            let counts = due >= from;
            if counts {
                left = left.map(|left| left - 1);
            }
            if let Some(stamp) = &self.stamp {
                stamp.write(&mut self.payload, due, counts);
            }
            if self.schedule.is_some() {
                now = Instant::now();
                if counts {
                    late.record(now - due);
                }
            }
            let handle = self.producer.send(&self.payload).await?;
            on_the_way.push(Sent {
                due,
                counts,
                handle,
            });
        }
        Ok(())
    }
}

/// Waits for every receipt, in the order of sending.
async fn count_receipts(
    on_the_way: &OnTheWay<Sent>,
    window: &Window,
) -> Result<Counted, ClientError> {
    let mut counted = Counted::new();
    let mut some = VecDeque::new();
    let outcome = loop {
        if !on_the_way.take_all(&mut some).await {
            break Ok(());
        }
        if let Err(error) = count_some(&mut some, &mut counted, window).await {
            break Err(error);
        }
    };
    window.close();
    outcome.map(|()| counted)
}

/// Waits for the receipts of some messages.
async fn count_some(
    some: &mut VecDeque<Sent>,
    counted: &mut Counted,
    window: &Window,
) -> Result<(), ClientError> {
    // The clock is asked after every wait. What has its receipt already was answered before that:
    // answers come in on this very thread, which does nothing else while this does not wait.
    let mut now = Instant::now();
    let mut taken = 0;
    for Sent {
        due,
        counts,
        mut handle,
    } in some.drain(..)
    {
        let id = match handle.try_id() {
            Some(id) => id,
            None => {
                window.give_back(std::mem::take(&mut taken));
                let id = (&mut handle).await;
                now = Instant::now();
                id
            }
        }?;
        taken += 1;
        if counts {
            counted.latencies.record(now.saturating_duration_since(due));
            counted.messages += 1;
            counted.entries += u64::from(id.index == 0);
            counted.last = Some(now);
        }
    }
    window.give_back(taken);
    Ok(())
}

/// Bytes without a pattern that a disk or a file system could make less of, the same each time.
pub(super) fn payload(size: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(size as usize).collect()
}
