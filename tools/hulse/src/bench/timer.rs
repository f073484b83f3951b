//! Waiting for a moment, to the microsecond.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::Instant;

/// Waits until moments. The runtime's own timers go by milliseconds, which is longer than what
/// is measured.
#[derive(Debug)]
pub(crate) enum Timer {
    /// Sleeps on a timer of the kernel's: some tens of microseconds late.
    Sleeping(AsyncFd<OwnedFd>),
    /// Looks at the clock again and again, and lets others run in between.
    Spinning,
}

impl Timer {
    /// A timer for the runtime that this is called on.
    ///
    /// # Errors
    /// When the system gives none.
    pub(crate) fn new(spin: bool) -> io::Result<Self> {
        if spin {
            return Ok(Self::Spinning);
        }
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe code, for descriptors that close while registered; \
                      an owned one does not"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self::Sleeping(timer))
    }

    /// Waits until `moment` and gives the time that it is then.
    ///
    /// # Errors
    /// When the system's timer fails.
    pub(crate) async fn until(&self, moment: Instant) -> io::Result<Instant> {
        loop {
            let now = Instant::now();
            if now >= moment {
                return Ok(now);
            }
            match self {
                Self::Spinning => yield_now().await,
                Self::Sleeping(timer) => sleep(timer, moment - now).await?,
            }
        }
    }
}

async fn sleep(timer: &AsyncFd<OwnedFd>, time: Duration) -> io::Result<()> {
    let wanted = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            // Nothing at all would switch the timer off.
            tv_nsec: time.subsec_nanos().max(1).into(),
        },
    };
    timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &wanted)?;
    let mut ready = timer.readable().await?;
    let mut expirations = [0; 8];
    match read(timer.get_ref(), &mut expirations) {
        // Readiness may be told that was there before the timer was set; the caller looks again.
        Ok(_) | Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn neither_kind_is_early() {
        for spin in [false, true] {
            let timer = Timer::new(spin).unwrap();
            for us in [0, 1, 150, 3_000] {
                let moment = Instant::now() + Duration::from_micros(us);
                let now = timer.until(moment).await.unwrap();
                assert!(now >= moment, "{us} us, spinning: {spin}");
                assert!(Instant::now() >= now);
            }
        }
    }
}
