//! The runtime of Hulse: one executor per core over io_uring, and what runs on it.
//!
//! This is the only crate that uses glommio, and nothing of glommio is visible through it. The
//! executor has hazards (its last release is old); each is met here once, so that the rest of
//! Hulse need not know of it:
//!
//! | hazard | what this crate does |
//! |---|---|
//! | the executor panics where io_uring is denied, and reports a low memlock limit late | [`preflight`] probes first; [`Cores::start`] returns when every executor has run |
//! | with a short preempt timer the executor parks with work left to do; with a long one, timers and completions are late on a busy core | `scheduler` takes the turns itself, of 1 ms at most, and keeps timers standing by; [`yield_if_needed`] is here for every loop |
//! | a panic kills one executor and the rest goes on | [`install_panic_hook`], and [`Cores::wait`] returns the first failure |
//! | whatever else may stop an executor | the [`Watchdog`] pokes each core through a foreign wake and ends a process whose core stays silent |
//! | a cancelled `accept` loses connections | [`Listener::serve`] owns the accepting task; there is nothing to cancel |
//! | a panicking blocking job hangs its caller | [`blocking()`] and [`JobPool`] catch it and return [`BlockingPanicked`] |
//! | there is no vectored write | [`Stream::send`] is `sendmsg` with a wait for writability |
//! | a dropped file is closed late | [`SyncFile`] never gives its descriptor away |
//! | a spawned task runs inside `spawn`, within the caller's borrows | [`spawn`] only schedules |
//! | a task that waits when its executor ends is leaked, with its sockets | the scheduler drops it while the ring is still there |
//! | a task's waker counts in 16 bits, and may be used after it is freed when another thread drops it last | tasks have wakers of our own |
//! | dropping a task handle cancels the task | [`JoinHandle`] detaches; stopping is co-operative, by [`LocalFlag`] |
//!
//! Threads of other runtimes talk to a core over `flume` channels: `recv_async` works on a core,
//! and a wake from another thread reaches a parked core through its eventfd.
//!
//! Executors leak two file descriptors each when they end, so a process makes its cores once.

pub mod preflight;

mod adopt;
mod blocking;
mod cores;
mod cpus;
mod event;
mod flag;
mod health;
mod jobs;
mod net;
mod notify;
mod panic_hook;
mod scheduler;
mod stop;
mod sync_file;
mod task;
mod ticker;
mod watchdog;

pub use blocking::{BlockingPanicked, blocking};
pub use cores::{CoreContext, CoreError, Cores, CoresConfig, StartError};
pub use cpus::available_cpus;
pub use event::{Listening, LocalEvent};
pub use flag::LocalFlag;
pub use health::CoreHealth;
pub use jobs::JobPool;
pub use net::{BindError, BoundListener, Listener, ReadHalf, ServeEnd, Serving, Stream, WriteHalf};
pub use notify::Notify;
pub use panic_hook::install_panic_hook;
pub use stop::StopSignal;
pub use sync_file::{SyncFile, sync_data};
pub use task::{
    JoinHandle, sleep, sleep_until, spawn, spawn_handle, timeout, yield_if_needed, yield_now,
};
pub use ticker::Ticker;
pub use watchdog::{Stall, Watchdog, WatchdogConfig};
