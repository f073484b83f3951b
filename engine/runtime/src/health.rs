//! What a core publishes about itself for other threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future::or;
use rustix::time::{ClockId, clock_gettime};

use crate::ticker::Ticker;

/// How often an idle core shows that it lives.
pub(crate) const BEAT: Duration = Duration::from_millis(20);

/// The life signs of one core. The core writes them, the watchdog and the metrics read them; all
/// of it is atomic and nobody waits.
#[derive(Debug)]
pub struct CoreHealth {
    core: usize,
    beats: AtomicU64,
    finished: AtomicBool,
    busy_us: AtomicU64,
    late_worst_us: AtomicU64,
    silent_worst_us: AtomicU64,
    poke: flume::Sender<()>,
    poked: flume::Receiver<()>,
}

impl CoreHealth {
    pub(crate) fn new(core: usize) -> Self {
        let (poke, poked) = flume::bounded(1);
        Self {
            core,
            beats: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            busy_us: AtomicU64::new(0),
            late_worst_us: AtomicU64::new(0),
            silent_worst_us: AtomicU64::new(0),
            poke,
            poked,
        }
    }

    /// The number of the core, from 0.
    pub fn core(&self) -> usize {
        self.core
    }

    /// How many life signs the core has given: 50 a second when it is well.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Whether the core's main future has returned.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    /// The processor's time that the core's thread has used since it started, in the kernel as well.
    /// Waiting does not count; spinning does. Half a tick of 20 ms old on average.
    pub fn busy(&self) -> Duration {
        Duration::from_micros(self.busy_us.load(Ordering::Relaxed))
    }

    /// The most by which a timer of the core was late since this was last asked (as measured on
    /// the core by a 20 ms timer). The answer starts anew from zero, so one reader asks.
    pub fn take_worst_lateness(&self) -> Duration {
        Duration::from_micros(self.late_worst_us.swap(0, Ordering::Relaxed))
    }

    /// The longest silence of the core that the watchdog saw since this was last asked. The
    /// answer starts anew from zero, so one reader asks.
    pub fn take_worst_silence(&self) -> Duration {
        Duration::from_micros(self.silent_worst_us.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    pub(crate) fn note_silence(&self, silent: Duration) {
        self.silent_worst_us
            .fetch_max(micros(silent), Ordering::Relaxed);
    }

    /// Wakes the core from outside: the wake writes its eventfd, which brings an executor back
    /// that has parked with work left to do.
    pub(crate) fn poke(&self) {
        // One poke that waits is enough.
        let _ = self.poke.try_send(());
    }

    /// The task of the core that gives its life signs, every `beat` and at each poke, for as long
    /// as the core runs.
    pub(crate) async fn pulse(&self, beat: Duration) {
        let mut ticker = Ticker::new(beat);
        loop {
            let due = ticker.due();
            let poked = or(
                async {
                    ticker.tick().await;
                    false
                },
                // This never disconnects: the sender is in self.
                async { self.poked.recv_async().await.is_ok() },
            )
            .await;
            self.beats.fetch_add(1, Ordering::Relaxed);
            if !poked {
                let late = Instant::now().saturating_duration_since(due);
                self.late_worst_us
                    .fetch_max(micros(late), Ordering::Relaxed);
                self.busy_us.store(processor_us(), Ordering::Relaxed);
            }
        }
    }
}

/// The processor's time of this thread, in microseconds. The executor's own count misses the turns,
/// which are taken outside it.
fn processor_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |count: i64| u64::try_from(count).unwrap_or_default();
    part(time.tv_sec) * 1_000_000 + part(time.tv_nsec) / 1_000
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use super::*;
    use crate::cores::{Cores, CoresConfig};
    use crate::task::spawn;

    #[test]
    fn a_poke_from_another_thread_is_answered_without_waiting_for_the_next_beat() {
        const NEVER: Duration = Duration::from_secs(3_600);
        let health = Arc::new(CoreHealth::new(0));
        let poked = health.clone();
        let config = CoresConfig {
            pin: false,
            ..CoresConfig::default()
        };
        let mut cores = Cores::<Infallible>::start(&config, |_core| {
            let poked = poked.clone();
            |context| async move {
                spawn(async move { poked.pulse(NEVER).await });
                context.stopping().raised().await;
                Ok(())
            }
        })
        .expect("the core starts");
        for answered in 0..100 {
            assert_eq!(health.beats(), answered);
            health.poke();
            while health.beats() == answered {
                std::thread::yield_now();
            }
        }
        cores.stop_signal().stop();
        cores.wait().expect("the core ends well");
    }
}
