//! Tasks, timers, wake-ups and blocking jobs on one core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use hulse_runtime::{
    JobPool, LocalEvent, LocalFlag, Notify, Ticker, available_cpus, blocking, sleep, sleep_until,
    spawn, spawn_handle, sync_data, timeout, yield_if_needed, yield_now,
};

use crate::on_core::on_core;

#[test]
fn a_spawned_task_never_runs_inside_the_call() {
    on_core(|_context| async {
        let shared = Rc::new(RefCell::new(0));
        let borrowed = shared.borrow_mut();
        let task = {
            let shared = shared.clone();
            spawn_handle(async move { *shared.borrow_mut() += 1 })
        };
        drop(borrowed);
        assert_eq!(*shared.borrow(), 0);
        task.await;
        assert_eq!(*shared.borrow(), 1);

        // A handle that is dropped lets its task go on.
        let done = LocalFlag::new();
        let raised = done.clone();
        drop(spawn_handle(async move { raised.raise() }));
        done.raised().await;
    });
}

#[test]
fn a_notification_is_never_lost() {
    const ITEMS: u32 = 30_000;
    on_core(|_context| async {
        let queue = Rc::new(RefCell::new(VecDeque::new()));
        let notify = Rc::new(Notify::new());
        for producer in 0..3 {
            let (queue, notify) = (queue.clone(), notify.clone());
            spawn(async move {
                for item in 0..ITEMS / 3 {
                    queue.borrow_mut().push_back(item);
                    notify.notify();
                    if item % (producer + 2) == 0 {
                        yield_now().await;
                    }
                }
            });
        }
        let mut taken = 0;
        while taken < ITEMS {
            notify.notified().await;
            loop {
                let item = queue.borrow_mut().pop_front();
                if item.is_none() {
                    break;
                }
                taken += 1;
                if taken % 7 == 0 {
                    yield_now().await;
                }
            }
        }

        // Calls that nobody waited for count once, and a dropped wait uses up none.
        let notify = Notify::new();
        notify.notify();
        notify.notify();
        drop(notify.notified());
        notify.notified().await;
        let again = timeout(Duration::from_millis(1), notify.notified()).await;
        assert_eq!(again, None);
    });
}

#[test]
fn an_event_wakes_all_that_listened_before_it() {
    on_core(|_context| async {
        let event = LocalEvent::new();
        let early = event.listen();
        event.notify();
        let late = event.listen();
        early.await;
        assert_eq!(timeout(Duration::from_millis(1), late).await, None);
        assert_eq!(
            event.waiting(),
            0,
            "a dropped listening leaves nothing behind"
        );

        let woken = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..500)
            .map(|_| {
                let (listening, woken) = (event.listen(), woken.clone());
                spawn_handle(async move {
                    listening.await;
                    woken.set(woken.get() + 1);
                })
            })
            .collect();
        while event.waiting() < 500 {
            yield_now().await;
        }
        event.notify();
        for task in tasks {
            task.await;
        }
        assert_eq!(woken.get(), 500);
    });
}

#[test]
fn timers_end_in_their_order_and_never_early() {
    on_core(|_context| async {
        let began = Instant::now();
        let ended = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|ms| {
                let ended = ended.clone();
                spawn_handle(async move {
                    sleep(Duration::from_millis(ms)).await;
                    assert!(began.elapsed() >= Duration::from_millis(ms));
                    ended.borrow_mut().push(ms);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(*ended.borrow(), [10, 20, 30]);

        sleep_until(began).await;
        assert_eq!(
            timeout(Duration::from_millis(1), std::future::pending::<()>()).await,
            None
        );
        assert_eq!(
            timeout(Duration::ZERO, async { 1 }).await,
            Some(1),
            "a ready future wins"
        );

        let began = Instant::now();
        let mut ticker = Ticker::new(Duration::from_millis(4));
        for _ in 0..5 {
            ticker.tick().await;
        }
        assert!(began.elapsed() >= Duration::from_millis(20));
    });
}

/// Lateness is counted in slices of 20 us that another task ran meanwhile, and not by the clock,
/// so that other processes do not count. With the executor's own preempt timer of 100 ms a timer
/// was late by 5,000 slices and more, and a sync took 15,000.
#[test]
fn timers_and_syncs_are_not_late_on_a_core_that_is_never_idle() {
    const SLICE: Duration = Duration::from_micros(20);
    // Eight turns of 500 us; usual are two.
    const TIMER_SLICES: usize = 200;
    // This includes a kernel thread's work, which waits for a processor.
    const SYNC_SLICES: usize = 5_000;
    let (timer, sync) = on_core(|_context| async {
        let stop = LocalFlag::new();
        let stopped = stop.clone();
        let began = Rc::new(RefCell::new(Vec::new()));
        let slices = began.clone();
        let hog = spawn_handle(async move {
            while !stopped.is_raised() {
                let start = Instant::now();
                slices.borrow_mut().push(start);
                while start.elapsed() < SLICE {
                    std::hint::spin_loop();
                }
                yield_if_needed().await;
            }
        });
        let since = |due: Instant| {
            began
                .borrow()
                .iter()
                .rev()
                .take_while(|start| **start > due)
                .count()
        };

        let mut late = Vec::new();
        for _ in 0..41 {
            let due = Instant::now() + Duration::from_millis(5);
            sleep_until(due).await;
            late.push(since(due));
        }
        let file = tempfile::tempfile().expect("a file");
        let mut syncs = Vec::new();
        for _ in 0..21 {
            // Nothing is dirty, so what is measured is the way through the ring.
            let asked = Instant::now();
            sync_data(&file).await.expect("synced");
            syncs.push(since(asked));
        }
        stop.raise();
        hog.await;
        assert!(
            began.borrow().len() > 500,
            "the core was kept busy all the while"
        );
        late.sort_unstable();
        syncs.sort_unstable();
        (late[late.len() / 2], syncs[syncs.len() / 2])
    });
    assert!(
        timer < TIMER_SLICES,
        "the middle timer was {timer} slices late"
    );
    assert!(sync < SYNC_SLICES, "the middle sync took {sync} slices");
}

/// The executor's own scheduler parked with tasks left to run when another process had the
/// processor between the arming of its timer and the first task; 7 runs of 60 stood still.
#[test]
fn a_core_that_loses_its_processor_at_any_moment_goes_on() {
    let over = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..available_cpus().len() + 1)
        .map(|_| {
            let over = over.clone();
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    // A hang shows as the end of `on_core`'s patience.
    on_core(|_context| async {
        let file = tempfile::tempfile().expect("a file");
        let (there, arriving) = flume::bounded::<flume::Sender<()>>(1);
        let answering = thread::spawn(move || {
            while let Ok(back) = arriving.recv() {
                let _ = back.send(());
            }
        });
        let busy = LocalFlag::new();
        let idle = busy.clone();
        spawn(async move {
            while !idle.is_raised() {
                let until = Instant::now() + Duration::from_micros(20);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                yield_if_needed().await;
            }
        });
        for round in 0..300 {
            // Half of the rounds on a core that is never idle, half on one that parks.
            if round == 150 {
                busy.raise();
            }
            sync_data(&file).await.expect("synced");
            let (back, answer) = flume::bounded(1);
            there.send(back).expect("the thread answers");
            answer.recv_async().await.expect("answered");
            if round % 10 == 0 {
                sleep(Duration::from_micros(700)).await;
            }
        }
        drop(there);
        answering.join().expect("no panic");
    });
    over.store(true, Ordering::Relaxed);
    for hog in hogs {
        hog.join().expect("no panic");
    }
}

#[test]
fn tasks_that_are_left_are_dropped_with_what_they_own() {
    struct Owned(Arc<AtomicBool>);
    impl Drop for Owned {
        fn drop(&mut self) {
            // What a task's drop spawns is dropped as well, and a wake comes to nothing.
            spawn(async { unreachable!("the core is at its end") });
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let owned = Owned(dropped.clone());
    on_core(move |_context| async move {
        spawn(async move {
            let _owned = owned;
            std::future::pending::<()>().await;
        });
        yield_now().await;
    });
    assert!(dropped.load(Ordering::SeqCst));
}

#[test]
fn a_panicking_job_is_an_error_and_not_a_hang() {
    let pool = JobPool::start("test-jobs", 1, 4).expect("threads");
    let outside = pool.clone();
    on_core(move |_context| async move {
        let panicked = blocking(|| -> u32 { panic!("no such {}", "file") }).await;
        assert_eq!(panicked.expect_err("it panicked").message, "no such file");
        assert_eq!(blocking(|| 5).await, Ok(5), "the thread goes on");

        let panicked = pool.run(|| -> u32 { panic!("no room") }).await;
        assert_eq!(panicked.expect_err("it panicked").message, "no room");
        assert_eq!(pool.run(|| 6).await, Ok(6), "the thread goes on");
    });
    // The pool belongs to no runtime.
    assert_eq!(futures_lite::future::block_on(outside.run(|| 7)), Ok(7));
}

#[test]
fn a_core_has_two_blocking_threads_and_a_pool_has_its_own() {
    on_core(|_context| async {
        // Each pair of jobs ends only when both run at once.
        let meet = Arc::new(Barrier::new(2));
        let pair: Vec<_> = (0..2)
            .map(|_| {
                let meet = meet.clone();
                spawn_handle(blocking(move || meet.wait().is_leader()))
            })
            .collect();
        let mut leaders = 0;
        for job in pair {
            leaders += u32::from(job.await.expect("no panic"));
        }
        assert_eq!(leaders, 1);

        // While the pool is full of long jobs, the short ones of the core go through.
        let pool = JobPool::start("test-long", 1, 1).expect("threads");
        let (release, released) = std::sync::mpsc::channel::<()>();
        let long = {
            let pool = pool.clone();
            spawn_handle(async move { pool.run(move || released.recv().is_ok()).await })
        };
        yield_now().await;
        assert_eq!(blocking(|| 1).await, Ok(1));
        release.send(()).expect("the job waits");
        assert_eq!(long.await, Ok(true));
    });
}
