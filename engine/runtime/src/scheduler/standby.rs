//! The timers that keep the executor from sleeping too long.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

/// So short that it has passed when the executor looks; zero would not be registered at all.
const AT_ONCE: Duration = Duration::from_micros(1);
/// How long the first stands by after a turn that ran tasks.
const NEAR: Duration = Duration::from_millis(4);
/// And after one that ran none, so that an idle core wakes seldom.
const NEAR_IDLE: Duration = Duration::from_millis(40);
/// By how much the second is later than the first.
const FAR: Duration = Duration::from_millis(20);

/// Timers that are always pending, for no task.
///
/// The executor can park although it has been told of work (see [`super`]). It then sleeps until
/// something else happens, and this is what happens. There are two, since the first may be what it
/// was told of.
pub(super) struct Standby {
    again: Option<Timer>,
    near: Option<Armed>,
    far: Option<Armed>,
}

/// A timer that the executor knows of, for as long as this is held.
struct Armed {
    due: Instant,
    _registered: Timer,
}

impl Standby {
    pub(super) fn new() -> Self {
        Self {
            again: None,
            near: None,
            far: None,
        }
    }

    /// Arms the timers after a turn: one at once when tasks are `ready` still, and those that
    /// stand by.
    pub(super) fn arm(&mut self, context: &mut Context<'_>, worked: bool, ready: bool) {
        self.again = ready.then(|| register(context, AT_ONCE));
        let now = Instant::now();
        let near = if worked { NEAR } else { NEAR_IDLE };
        for (slot, within) in [(&mut self.near, near), (&mut self.far, near + FAR)] {
            let left = slot
                .as_ref()
                .map(|armed| armed.due.saturating_duration_since(now));
            // One that is far from its time is left alone, which costs a busy core nothing.
            let due_in = if worked {
                within / 2..=within
            } else {
                AT_ONCE..=Duration::MAX
            };
            if !left.is_some_and(|left| due_in.contains(&left)) {
                let timer = register(context, within);
                *slot = Some(Armed {
                    due: now + within,
                    _registered: timer,
                });
            }
        }
    }
}

/// A timer that the executor knows of. One that has passed before it could be registered is made
/// anew.
fn register(context: &mut Context<'_>, within: Duration) -> Timer {
    loop {
        let mut timer = Timer::new(within);
        if Pin::new(&mut timer).poll(context).is_pending() {
            return timer;
        }
    }
}
