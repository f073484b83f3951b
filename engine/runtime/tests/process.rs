//! What ends a process or changes its limits, each tried on a child process.
//!
//! The child is this program again, with the name of its case as the argument. It has its own
//! main function for that; the parent's cases run in turn and each fails by a panic.

use std::convert::Infallible;
use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hulse_runtime::preflight::{Check, Outcome, check_machine};
use hulse_runtime::{
    BoundListener, Cores, CoresConfig, JobPool, Watchdog, WatchdogConfig, blocking,
    install_panic_hook, sleep, spawn, sync_data,
};
use rustix::process::{Resource, Rlimit, setrlimit};

const CHILD: &str = "HULSE_RUNTIME_TEST_CHILD";
const SIGABRT: i32 = 6;

fn main() {
    if let Ok(case) = env::var(CHILD) {
        match case.as_str() {
            "task-panic" => task_panic(),
            "thread-panic" => thread_panic(),
            "job-panic" => job_panic(),
            "silent-core" => silent_core(),
            "little-memlock" => little_memlock(),
            "few-files" => few_files(),
            "descriptors" => descriptors(),
            other => panic!("no case {other}"),
        }
        return;
    }
    if env::args().any(|argument| argument == "--list") {
        return;
    }
    for (case, message) in [
        ("task-panic", "the task is at a loss"),
        ("thread-panic", "the thread is at a loss"),
        ("job-panic", "the job is at a loss"),
        ("silent-core", "core 0 has not answered for"),
    ] {
        let output = child(case);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(SIGABRT), "{case}: {output:?}");
        assert!(stderr.contains(message), "{case}: {stderr}");
        println!("test {case} ... ok");
    }
    for case in ["little-memlock", "few-files", "descriptors"] {
        let output = child(case);
        assert!(output.status.success(), "{case}: {output:?}");
        println!("test {case} ... ok");
    }
}

/// Runs the case in a child and returns how it ended. It panics when that takes over a minute.
fn child(case: &str) -> Output {
    let program = env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .env(CHILD, case)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("a process");
    let began = Instant::now();
    while child.try_wait().expect("our child").is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().expect("our child");
            let output = child.wait_with_output().expect("our child");
            panic!("{case} did not end: {output:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("our child")
}

fn one_core() -> CoresConfig {
    CoresConfig {
        pin: false,
        ..CoresConfig::default()
    }
}

/// One core that does nothing but what `task` does, until it is stopped.
fn core_with<F: Future<Output = ()> + 'static>(
    task: impl FnOnce() -> F + Send + 'static,
) -> Cores<Infallible> {
    let mut task = Some(task);
    Cores::start(&one_core(), |_core| {
        let task = task.take().expect("one core");
        |context| async move {
            spawn(task());
            context.stopping().raised().await;
            Ok(())
        }
    })
    .expect("the core starts")
}

fn task_panic() {
    install_panic_hook();
    let mut cores = core_with(|| async { panic!("the task is at a loss") });
    cores.wait().expect("this process does not get here");
}

fn thread_panic() {
    install_panic_hook();
    let _ = thread::spawn(|| panic!("the thread is at a loss")).join();
}

fn job_panic() {
    install_panic_hook();
    let mut cores = core_with(|| async {
        let _ = blocking(|| panic!("the job is at a loss")).await;
    });
    cores.wait().expect("this process does not get here");
}

fn silent_core() {
    let config = WatchdogConfig {
        warn: Duration::from_millis(200),
        fatal: Duration::from_millis(300),
        ..WatchdogConfig::default()
    };
    let mut cores = core_with(|| async {
        loop {
            std::hint::spin_loop();
        }
    });
    let _watchdog = Watchdog::start(config, cores.health().to_vec()).expect("a thread");
    cores.wait().expect("this process does not get here");
}

fn little_memlock() {
    let limit = Some(64 << 10);
    setrlimit(
        Resource::Memlock,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )
    .expect("lowered");
    let checks = check_machine(1, 512);
    let check: &Check = checks
        .iter()
        .find(|check| check.name == "locked memory")
        .expect("asked");
    assert_eq!(check.outcome, Outcome::Fail, "{check:?}");
    assert_eq!(check.found, "64 KiB");
    assert!(check.remedy.contains("ulimit -l 512"), "{check:?}");

    // And it is plain without the preflight too, for all cores at once.
    let error = Cores::<Infallible>::start(&one_core(), |_core| |_context| async { Ok(()) })
        .expect_err("the executor does not start")
        .to_string();
    assert!(
        error.starts_with("this process may lock 65536 bytes of memory and needs 524288"),
        "{error}"
    );
}

/// The process runs out of descriptors while connections arrive, and serves on when it has some.
fn few_files() {
    install_panic_hook();
    let warned = Warned::install();
    let limit = Some(96);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )
    .expect("lowered");
    let port = BoundListener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = port.address();
    let mut cores = core_with(move || async move {
        let serving = port.into_local().serve(|mut stream| {
            spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let mut slices = [std::io::IoSlice::new(&buffer[..read])];
                    if stream.send_all(&mut slices).await.is_err() {
                        return;
                    }
                }
            });
        });
        drop(serving);
    });
    // All descriptors but one are taken, and the client takes that one: none is left to accept
    // its connection with.
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    drop(taken.pop());
    let mut client = TcpStream::connect(address).expect("connects with the last descriptor");
    while !warned.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    // The connection has waited, and is served now.
    drop(taken);
    client.write_all(b"there").expect("sent");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"there");
    cores.stop_signal().stop();
    cores.wait().expect("the core ends well");
}

/// Notices warnings and nothing else.
struct Warned(Arc<AtomicBool>);

impl Warned {
    fn install() -> Arc<AtomicBool> {
        let warned = Arc::new(AtomicBool::new(false));
        tracing::subscriber::set_global_default(Self(warned.clone())).expect("the first");
        warned
    }
}

impl tracing::Subscriber for Warned {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("hulse_runtime")
    }

    fn new_span(&self, _attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, _event: &tracing::Event<'_>) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

/// Syncs and connections leave no descriptor behind.
fn descriptors() {
    install_panic_hook();
    let port = BoundListener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = port.address();
    let pool = JobPool::start("test-jobs", 1, 4).expect("a thread");
    let (done, finished) = flume::bounded(1);
    let mut cores = core_with(move || async move {
        let serving = port.into_local().serve(|mut stream| {
            spawn(async move {
                let _ = stream.read(&mut [0; 1]).await;
            });
        });
        drop(serving);
        let file = tempfile::tempfile().expect("a file");
        let mut before = 0;
        for round in 0..400 {
            sync_data(&file).await.expect("synced");
            pool.run(move || drop(TcpStream::connect(address).expect("connects")))
                .await
                .expect("no panic");
            if round == 100 {
                before = open_descriptors();
            }
        }
        // The last connections are on their way out.
        let began = Instant::now();
        while open_descriptors() > before {
            let open = open_descriptors();
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{open} open, {before} before"
            );
            sleep(Duration::from_millis(5)).await;
        }
        done.send(()).expect("awaited");
    });
    finished.recv().expect("the core counts");
    cores.stop_signal().stop();
    cores.wait().expect("the core ends well");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("readable")
        .count()
}
