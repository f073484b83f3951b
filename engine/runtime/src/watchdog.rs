//! A thread that watches whether every core is alive.

use std::fmt;
use std::io;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::health::{BEAT, CoreHealth};

/// When the watchdog speaks and when it acts.
#[derive(Clone)]
pub struct WatchdogConfig {
    /// A core that was silent for so long is named in the log. At least 200 ms.
    pub warn: Duration,
    /// A core that was silent for so long is lost, and `on_fatal` is called. Above `warn`.
    pub fatal: Duration,
    /// What is done about a lost core, once per silence; by default the process aborts, so that a
    /// supervisor starts it anew and the peers take over meanwhile.
    pub on_fatal: Arc<dyn Fn(Stall) + Send + Sync>,
}

impl Default for WatchdogConfig {
    /// 1 s, 30 s, abort.
    fn default() -> Self {
        Self {
            warn: Duration::from_secs(1),
            fatal: Duration::from_secs(30),
            on_fatal: Arc::new(abort),
        }
    }
}

impl fmt::Debug for WatchdogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchdogConfig")
            .field("warn", &self.warn)
            .field("fatal", &self.fatal)
            .finish_non_exhaustive()
    }
}

/// A core that has gone silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "core {core} has not answered for {} ms: a task there runs without yielding, or the executor is stuck",
    silent.as_millis()
)]
pub struct Stall {
    /// The number of the core.
    pub core: usize,
    /// For how long it has been silent.
    pub silent: Duration,
}

fn abort(stall: Stall) {
    tracing::error!(core = stall.core, "{stall}; the process aborts");
    eprintln!("hulse: {stall}; the process aborts");
    process::abort();
}

/// Watches the cores from a thread of its own, and stops when it is dropped.
///
/// A core shows life every 20 ms. When it does not, the watchdog first wakes it from outside, which
/// cures an executor that parked with work left to do. Silence is only counted while the watchdog
/// itself was awake, so a suspended or paused process does not accuse its cores when it goes on.
///
/// Start it on the main thread: threads inherit the processor that a core is pinned to.
#[derive(Debug)]
pub struct Watchdog {
    stop: flume::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to watch `cores` ([`Cores::health`](crate::Cores::health)).
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    ///
    /// # Panics
    ///
    /// When `warn` is below 200 ms or `fatal` is not above `warn`.
    pub fn start(config: WatchdogConfig, cores: Vec<Arc<CoreHealth>>) -> io::Result<Self> {
        assert!(
            config.warn >= BEAT * 10,
            "a shorter warning time would accuse healthy cores"
        );
        assert!(
            config.fatal > config.warn,
            "a core is lost after it was warned of"
        );
        let (stop, stopped) = flume::bounded(1);
        let thread = thread::Builder::new()
            .name("hulse-watchdog".to_owned())
            .spawn(move || watch(&config, &cores, &stopped))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            // It can only fail by a panic of `on_fatal`, which has been reported.
            let _ = thread.join();
        }
    }
}

fn watch(config: &WatchdogConfig, cores: &[Arc<CoreHealth>], stopped: &flume::Receiver<()>) {
    let tick = (config.warn / 4).clamp(BEAT * 2, Duration::from_millis(100));
    let mut silences: Vec<Silence> = cores.iter().map(|_| Silence::default()).collect();
    let mut looked = Instant::now();
    while let Err(flume::RecvTimeoutError::Timeout) = stopped.recv_timeout(tick) {
        let now = Instant::now();
        // A longer pause was the watchdog's own.
        let passed = now.duration_since(looked).min(tick * 2);
        looked = now;
        for (health, silence) in cores.iter().zip(&mut silences) {
            if !health.is_finished() {
                judge(config, health, silence, passed);
            }
        }
    }
}

fn judge(config: &WatchdogConfig, health: &CoreHealth, silence: &mut Silence, passed: Duration) {
    let core = health.core();
    match silence.look(health.beats(), passed, config.warn, config.fatal) {
        Verdict::Alive => {}
        Verdict::Quiet => health.poke(),
        Verdict::Warn(silent) => {
            health.poke();
            tracing::warn!(
                core,
                silent_ms = silent.as_millis(),
                "a core does not answer"
            );
        }
        Verdict::Fatal(silent) => (config.on_fatal)(Stall { core, silent }),
        Verdict::Back(silent) => {
            tracing::warn!(core, silent_ms = silent.as_millis(), "a core answers again");
        }
    }
    health.note_silence(silence.worst);
    silence.worst = Duration::ZERO;
}

/// What the watchdog knows of one core: when it last changed.
#[derive(Debug, Default)]
struct Silence {
    beats: u64,
    silent: Duration,
    /// The longest silence since it was last published.
    worst: Duration,
    /// The silence at which the next warning is due; zero when none was given.
    warned: Duration,
    fatal: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It has given a sign since the last look.
    Alive,
    /// It has given a sign after it was warned of.
    Back(Duration),
    /// No sign since the last look, not for long yet.
    Quiet,
    /// Silent for so long that people should know; again at every doubling.
    Warn(Duration),
    /// Lost; said once.
    Fatal(Duration),
}

impl Silence {
    /// Judges by the beats seen now and the time that passed since the last look.
    fn look(&mut self, beats: u64, passed: Duration, warn: Duration, fatal: Duration) -> Verdict {
        if beats != self.beats {
            let silent = self.silent;
            let warned = !self.warned.is_zero();
            *self = Self {
                beats,
                worst: self.worst,
                ..Self::default()
            };
            return if warned {
                Verdict::Back(silent)
            } else {
                Verdict::Alive
            };
        }
        self.silent += passed;
        self.worst = self.worst.max(self.silent);
        if self.silent >= fatal && !self.fatal {
            self.fatal = true;
            return Verdict::Fatal(self.silent);
        }
        if self.silent >= warn.max(self.warned) {
            self.warned = self.silent * 2;
            return Verdict::Warn(self.silent);
        }
        Verdict::Quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARN: Duration = Duration::from_millis(1_000);
    const FATAL: Duration = Duration::from_millis(4_000);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn look(silence: &mut Silence, beats: u64, passed: u64) -> Verdict {
        silence.look(beats, ms(passed), WARN, FATAL)
    }

    #[test]
    fn silence_is_warned_of_at_doublings_and_is_fatal_once() {
        let mut silence = Silence::default();
        assert_eq!(look(&mut silence, 1, 100), Verdict::Alive);
        assert_eq!(look(&mut silence, 1, 900), Verdict::Quiet);
        assert_eq!(look(&mut silence, 1, 100), Verdict::Warn(ms(1_000)));
        assert_eq!(look(&mut silence, 1, 900), Verdict::Quiet);
        assert_eq!(look(&mut silence, 1, 100), Verdict::Warn(ms(2_000)));
        assert_eq!(look(&mut silence, 1, 1_900), Verdict::Quiet);
        assert_eq!(look(&mut silence, 1, 100), Verdict::Fatal(ms(4_000)));
        assert_eq!(look(&mut silence, 1, 100), Verdict::Warn(ms(4_100)));
        assert_eq!(look(&mut silence, 1, 100), Verdict::Quiet);
    }

    #[test]
    fn a_sign_of_life_ends_the_silence() {
        let mut silence = Silence::default();
        assert_eq!(look(&mut silence, 0, 1_500), Verdict::Warn(ms(1_500)));
        assert_eq!(look(&mut silence, 7, 100), Verdict::Back(ms(1_500)));
        assert_eq!(
            silence.worst,
            ms(1_500),
            "what was seen is still to be published"
        );
        assert_eq!(look(&mut silence, 7, 999), Verdict::Quiet);
        assert_eq!(look(&mut silence, 8, 100), Verdict::Alive);
        assert_eq!(
            look(&mut silence, 8, 5_000),
            Verdict::Fatal(ms(5_000)),
            "fatal comes first"
        );
    }
}
