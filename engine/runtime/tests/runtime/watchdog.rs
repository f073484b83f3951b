//! The watchdog over a real core.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hulse_runtime::{Cores, Stall, Watchdog, WatchdogConfig, sleep, yield_now};

use crate::on_core::one_core;

#[test]
fn a_core_that_blocks_is_noticed_once_and_its_silence_is_published() {
    const FATAL: Duration = Duration::from_millis(400);
    let (block, blocked) = mpsc::channel::<Stall>();
    let (started, starting) = mpsc::channel::<()>();
    let starting = Mutex::new(Some(starting));
    let blocked = Mutex::new(Some(blocked));
    let mut cores = Cores::<Infallible>::start(&one_core(), |_core| {
        let starting = starting.lock().expect("no panic").take().expect("one core");
        let blocked = blocked.lock().expect("no panic").take().expect("one core");
        move |context| async move {
            let health = context.health().clone();
            // An idle core gives its signs.
            let before = health.beats();
            while health.beats() < before + 5 {
                sleep(Duration::from_millis(5)).await;
            }
            // The watchdog is there.
            starting.recv().expect("the test goes on");
            let _ = health.take_worst_lateness();
            // This blocks the core until the watchdog has called it lost.
            let stall = blocked.recv().expect("the watchdog notices");
            assert_eq!(stall.core, 0);
            assert!(stall.silent >= FATAL, "{stall}");
            assert!(
                stall.to_string().starts_with("core 0 has not answered for"),
                "{stall}"
            );
            // Its own timer was late by about as much; it reports that when it runs again.
            loop {
                let late = health.take_worst_lateness();
                if late >= FATAL / 2 {
                    break;
                }
                yield_now().await;
                sleep(Duration::from_millis(1)).await;
            }
            assert!(blocked.try_recv().is_err(), "one silence is told once");
            Ok(())
        }
    })
    .expect("the core starts");

    let config = WatchdogConfig {
        warn: Duration::from_millis(200),
        fatal: FATAL,
        on_fatal: Arc::new(move |stall| {
            let _ = block.send(stall);
        }),
    };
    let watchdog = Watchdog::start(config, cores.health().to_vec()).expect("a thread");
    started.send(()).expect("the core waits");
    cores.wait().expect("the core ends well");
    let silence = cores.health()[0].take_worst_silence();
    assert!(silence >= FATAL, "{silence:?}");
    assert_eq!(
        cores.health()[0].take_worst_silence(),
        Duration::ZERO,
        "taken"
    );
    drop(watchdog);
}
