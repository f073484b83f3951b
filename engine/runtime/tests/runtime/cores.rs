//! Starting, failing and stopping cores.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hulse_runtime::{
    BoundListener, CoreError, Cores, CoresConfig, StartError, Stream, available_cpus, blocking,
    sleep, spawn, spawn_handle,
};

use crate::on_core::{LONG, on_core, one_core};

#[derive(Debug, thiserror::Error)]
#[error("out of {0}")]
struct OutOf(&'static str);

#[test]
fn one_core_for_each_processor_runs_pinned_on_a_thread_with_its_number() {
    let cpus = available_cpus();
    let count = cpus.len().min(2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let config = CoresConfig {
        cores: count,
        ..CoresConfig::default()
    };
    let mut cores = Cores::<OutOf>::start(&config, |core| {
        let seen = seen.clone();
        move |context| async move {
            assert_eq!((context.core(), context.cores()), (core, count));
            let name = thread::current().name().map(str::to_owned);
            let here = available_cpus();
            // Helper threads stay free of the core's processor.
            let helper = blocking(available_cpus).await.expect("no panic");
            seen.lock()
                .expect("no panic")
                .push((core, name, here, helper));
            Ok(())
        }
    })
    .expect("the cores start");
    cores.wait().expect("the cores end well");
    cores.wait().expect("and are at their end");
    assert!(cores.health().iter().all(|health| health.is_finished()));

    let mut seen = seen.lock().expect("no panic");
    seen.sort_unstable();
    assert_eq!(seen.len(), count);
    for (core, name, here, helper) in seen.iter() {
        assert_eq!(name.as_deref(), Some(format!("hulse-core-{core}").as_str()));
        assert_eq!(here, &[cpus[*core]]);
        assert_eq!(helper, &cpus);
    }
}

#[test]
fn more_cores_than_processors_is_a_plain_error() {
    let available = available_cpus().len();
    let config = CoresConfig {
        cores: available + 1,
        ..CoresConfig::default()
    };
    let error = Cores::<OutOf>::start(&config, |_core| |_context| async { Ok(()) })
        .expect_err("there are not so many processors");
    assert!(
        matches!(error, StartError::TooManyCores { asked, available: found }
            if asked == available + 1 && found == available),
        "{error}"
    );
}

#[test]
fn a_failing_core_is_named_and_stops_the_others() {
    let count = available_cpus().len().min(2);
    let config = CoresConfig {
        cores: count,
        pin: false,
        ..CoresConfig::default()
    };
    let mut cores = Cores::start(&config, |core| {
        move |context| async move {
            if core == 0 {
                return Err(OutOf("luck"));
            }
            // It ends only because it is told to.
            context.stopping().raised().await;
            Ok(())
        }
    })
    .expect("the cores start");
    let error = cores.wait().expect_err("core 0 fails");
    assert!(
        matches!(error, CoreError::Failed { core: 0, .. }),
        "{error}"
    );
    assert_eq!(error.to_string(), "core 0 failed: out of luck");
    assert!(cores.stop_signal().is_stopped());
    cores.wait().expect("the other core ends well");
}

#[test]
fn a_panic_of_any_task_is_the_failure_of_its_core() {
    let mut cores = Cores::<OutOf>::start(&one_core(), |_core| {
        |_context| async {
            spawn(async { panic!("the task is at a loss") });
            sleep(LONG).await;
            Ok(())
        }
    })
    .expect("the core starts");
    let error = cores.wait().expect_err("a panic ends the core");
    let CoreError::Panicked { core: 0, message } = error else {
        panic!("another error: {error}");
    };
    assert_eq!(message, "the task is at a loss");
}

#[test]
fn the_stop_signal_reaches_every_waiting_task() {
    let config = one_core();
    let stop = config.stop.clone();
    let mut cores = Cores::<OutOf>::start(&config, |_core| {
        |context| async move {
            let waiters: Vec<_> = (0..1_000)
                .map(|_| {
                    let stopping = context.stopping().clone();
                    spawn_handle(async move { stopping.raised().await })
                })
                .collect();
            // Another thread raises the signal, as the control thread does.
            let stop = context.stop_signal().clone();
            assert!(!stop.is_stopped());
            thread::spawn(move || stop.stop());
            for waiter in waiters {
                waiter.await;
            }
            assert!(context.stopping().is_raised());
            Ok(())
        }
    })
    .expect("the core starts");
    stop.wait();
    cores.wait().expect("the core ends well");
}

#[test]
fn what_is_left_at_the_end_is_closed_and_its_wakers_do_no_harm() {
    let (queue, address) = on_core(|_context| async {
        let port = BoundListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = port.address();
        let serving = port.into_local().serve(|mut stream| {
            spawn(async move {
                let _ = stream.read(&mut [0; 16]).await;
            });
        });
        let mut client = Stream::connect(address).await.expect("connects");
        let (queue, waiting) = flume::bounded::<u8>(1);
        spawn(async move {
            let _ = client.read(&mut [0; 16]).await;
        });
        spawn(async { sleep(LONG).await });
        spawn(async move {
            let _ = waiting.recv_async().await;
        });
        sleep(Duration::from_millis(1)).await;
        drop(serving);
        (queue, address)
    });
    // The port is free, although its accept was pending.
    BoundListener::bind(address).expect("the same port at once");
    // A waker of the ended core, woken and dropped by another thread.
    let _ = queue.send(1);
    drop(queue);
}
