//! The tasks of one core, run within a single task of the executor.
//!
//! glommio's own scheduler is not used, for a reason that was measured: it arms its preempt timer,
//! and when that fires before the first task runs (another process had the processor for that
//! moment), it takes its queue for empty and parks with work left to do. With a timer of 500 us on
//! a busy machine this happened within seconds. With a timer of 100 ms it does not, but then
//! completions and timers are late by as much. So the executor keeps its long timer and only runs
//! the rings; the turns are taken here.
//!
//! A **turn** polls ready tasks, in the order in which they were woken, until none is ready or the
//! turn's budget is used up; then the executor submits and reaps. A very short timer brings it
//! back when tasks are ready still. Two more timers are always pending ([`standby`]), because a
//! wake from another thread can end in the same wrong parking; they bound it to milliseconds.
//!
//! It has two more merits. A task's waker is an `Arc` of our own: other threads hold and drop it
//! without touching the executor, even after its end. And the tasks that are left at the end of a
//! core are dropped while its ring is still there, so what they own is closed.

mod giving_way;
mod mailbox;
mod standby;
mod waker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) use giving_way::SyncUnderWay;

use giving_way::GivingWay;
use mailbox::Mailbox;
use standby::Standby;
use waker::TaskWaker;

/// How long the ring has to cancel what is left.
const FAREWELL: Duration = Duration::from_millis(1);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Scheduler>>> = const { RefCell::new(None) };
}

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of one core.
pub(crate) struct Scheduler {
    tasks: RefCell<Tasks>,
    ready: RefCell<VecDeque<Arc<TaskWaker>>>,
    mailbox: Arc<Mailbox>,
    budget: Duration,
    /// When the turn's budget is used up.
    turn_ends: Cell<Instant>,
    giving_way: GivingWay,
    in_turn: Cell<bool>,
    /// The executor's waker, while the executor runs.
    executor: RefCell<Option<Waker>>,
    closed: Cell<bool>,
}

/// Slots by number; a finished task's number is used again.
#[derive(Default)]
struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    /// Empty while the task is polled and when there is none.
    future: Option<LocalFuture>,
    waker: Option<Arc<TaskWaker>>,
}

/// Runs `main`, and all that is spawned meanwhile, on the executor of this thread, with turns of
/// `budget`. When `main` has returned, the tasks that are left are dropped.
///
/// # Panics
///
/// When this thread runs a scheduler already.
pub(crate) async fn run<T: 'static>(
    budget: Duration,
    main: impl Future<Output = T> + 'static,
) -> T {
    let running = Running::begin(budget);
    let scheduler = running.scheduler.clone();
    let result = Rc::new(Cell::new(None));
    let outcome = result.clone();
    scheduler.spawn(Box::pin(async move { outcome.set(Some(main.await)) }));
    let mut standby = Standby::new();
    let value = poll_fn(|context| {
        let worked = scheduler.turn(context);
        standby.arm(context, worked, scheduler.has_ready());
        result.take().map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    drop(running);
    // The requests of the tasks that were left are cancelled before the ring goes.
    glommio::timer::sleep(FAREWELL).await;
    value
}

/// Polls by `work` with the scheduler of this thread; `None` where there is none.
pub(crate) fn with_current<R>(work: impl FnOnce(&Rc<Scheduler>) -> R) -> Option<R> {
    // Cloned out, so that nothing is borrowed while the work runs. A thread that is being torn
    // down has no scheduler.
    let current = CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten();
    current.as_ref().map(work)
}

impl Scheduler {
    /// Adds a task; it first runs in a later poll.
    pub(crate) fn spawn(&self, future: LocalFuture) {
        if self.closed.get() {
            // Spawned by the drop of a task that is left over.
            return;
        }
        let waker = {
            let mut tasks = self.tasks.borrow_mut();
            let number = tasks.free.pop().unwrap_or(tasks.slots.len());
            let waker = TaskWaker::new(number, self.mailbox.clone());
            let slot = Slot {
                future: Some(future),
                waker: Some(waker.clone()),
            };
            if number == tasks.slots.len() {
                tasks.slots.push(slot);
            } else {
                tasks.slots[number] = slot;
            }
            waker
        };
        Waker::from(waker).wake();
    }

    /// Whether the turn's budget is used up.
    pub(crate) fn is_turn_over(&self) -> bool {
        Instant::now() >= self.turn_ends.get()
    }

    /// Puts a task which was woken on this thread into the queue.
    fn push(&self, task: Arc<TaskWaker>) {
        if self.closed.get() {
            return;
        }
        self.ready.borrow_mut().push_back(task);
        if !self.in_turn.get() {
            // From within the executor, which has its own queue.
            let executor = self.executor.borrow();
            if let Some(executor) = executor.as_ref() {
                executor.wake_by_ref();
            }
        }
    }

    fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty() || self.mailbox.has_mail()
    }

    /// Takes one turn; returns whether a task ran.
    fn turn(&self, context: &mut Context<'_>) -> bool {
        self.keep_executor(context.waker());
        self.in_turn.set(true);
        let began = Instant::now();
        self.turn_ends.set(began + self.budget);
        self.giving_way.begin_turn(began);
        let mut worked = false;
        loop {
            if self.mailbox.has_mail() {
                self.mailbox.take_into(&mut self.ready.borrow_mut());
            }
            let next = self.ready.borrow_mut().pop_front();
            let Some(next) = next else {
                break;
            };
            self.poll_task(&next);
            worked = true;
            let now = Instant::now();
            if now >= self.turn_ends.get() || self.giving_way.has_sync_begun() {
                break;
            }
            self.giving_way.give_way(now);
        }
        self.in_turn.set(false);
        worked
    }

    fn keep_executor(&self, waker: &Waker) {
        let known = self
            .executor
            .borrow()
            .as_ref()
            .is_some_and(|known| known.will_wake(waker));
        if !known {
            self.mailbox.open(waker.clone());
            self.executor.replace(Some(waker.clone()));
        }
    }

    fn poll_task(&self, task: &Arc<TaskWaker>) {
        let number = task.number();
        let future = {
            let mut tasks = self.tasks.borrow_mut();
            let slot = &mut tasks.slots[number];
            // A waker that outlived its task finds the number free or with another.
            let same = slot
                .waker
                .as_ref()
                .is_some_and(|waker| Arc::ptr_eq(waker, task));
            if same { slot.future.take() } else { None }
        };
        let Some(mut future) = future else {
            return;
        };
        // Before the poll, so that a wake during it counts.
        task.unmark();
        let waker = Waker::from(task.clone());
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            self.tasks.borrow_mut().slots[number].future = Some(future);
            return;
        }
        // The future's drop may spawn and wake, so nothing is borrowed.
        drop(future);
        let mut tasks = self.tasks.borrow_mut();
        tasks.slots[number].waker = None;
        tasks.free.push(number);
    }

    /// Drops every task, and hears no waker from here on.
    fn close(&self) {
        self.closed.set(true);
        self.mailbox.close();
        let tasks = self.tasks.take();
        drop(tasks);
        self.ready.borrow_mut().clear();
        self.executor.take();
    }
}

/// The scheduler of this thread for as long as it runs, also when a task panics.
struct Running {
    scheduler: Rc<Scheduler>,
}

impl Running {
    fn begin(budget: Duration) -> Self {
        let scheduler = Rc::new(Scheduler {
            tasks: RefCell::default(),
            ready: RefCell::default(),
            mailbox: Arc::new(Mailbox::new()),
            budget,
            turn_ends: Cell::new(Instant::now()),
            giving_way: GivingWay::new(),
            in_turn: Cell::new(false),
            executor: RefCell::new(None),
            closed: Cell::new(false),
        });
        let before = CURRENT.replace(Some(scheduler.clone()));
        assert!(before.is_none(), "a thread runs one scheduler");
        Self { scheduler }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.scheduler.close();
        CURRENT.take();
    }
}
