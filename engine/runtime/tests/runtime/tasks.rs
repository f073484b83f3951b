//! Tasks, timers, wake-ups and blocking jobs on one core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hulse_runtime::{
    JobPool, LocalEvent, LocalFlag, Notify, Ticker, blocking, sleep, sleep_until, spawn,
    spawn_handle, sync_data, timeout, yield_if_needed, yield_now,
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

/// With the executor's own preempt timer of 100 ms the middle one was 94 to 190 ms late.
#[test]
fn timers_and_syncs_are_late_by_milliseconds_on_a_core_that_is_never_idle() {
    const GENEROUS: Duration = Duration::from_millis(40);
    let (timer, sync) = on_core(|_context| async {
        let stop = LocalFlag::new();
        let stopped = stop.clone();
        let hog = spawn_handle(async move {
            let mut turns = 0_u64;
            while !stopped.is_raised() {
                let until = Instant::now() + Duration::from_micros(20);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                turns += 1;
                yield_if_needed().await;
            }
            turns
        });

        let mut late = Vec::new();
        for _ in 0..41 {
            let due = Instant::now() + Duration::from_millis(5);
            sleep_until(due).await;
            late.push(due.elapsed());
        }
        let file = tempfile::tempfile().expect("a file");
        let mut syncs = Vec::new();
        for _ in 0..21 {
            // Nothing is dirty, so what is measured is the way through the ring.
            let began = Instant::now();
            sync_data(&file).await.expect("synced");
            syncs.push(began.elapsed());
        }
        stop.raise();
        assert!(hog.await > 1_000, "the core was kept busy all the while");
        late.sort_unstable();
        syncs.sort_unstable();
        (late[late.len() / 2], syncs[syncs.len() / 2])
    });
    assert!(timer < GENEROUS, "the middle timer was {timer:?} late");
    assert!(sync < GENEROUS, "the middle sync took {sync:?}");
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
