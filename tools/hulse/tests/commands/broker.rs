//! The program under test, and a broker to talk to.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The program with these arguments, and nothing of our own environment that it would heed.
pub(crate) fn hulse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hulse"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HULSE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    hulse(arguments).output().expect("the program runs")
}

/// What the program wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the program wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts the exit status, showing what was said when it is another.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}\n{}",
        stdout(output),
        stderr(output)
    );
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is our own child");
}

/// A broker of one core, killed when this is dropped.
pub(crate) struct Broker {
    child: Child,
    /// What it wrote to stderr, in all its lives.
    log: PathBuf,
    /// Its ready line.
    pub(crate) ready: String,
    /// `host:port`.
    pub(crate) address: String,
}

impl Broker {
    /// Starts a broker on a free port of a loopback address that no other broker has: once it is
    /// killed, nobody else is met where it was.
    pub(crate) fn start(data: &Path) -> Self {
        static BROKERS: AtomicU8 = AtomicU8::new(1);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(
            127,
            high | 128,
            low,
            BROKERS.fetch_add(1, Ordering::Relaxed),
        );
        Self::start_at(data, &format!("{host}:0"))
    }

    /// Starts a broker at an address.
    pub(crate) fn start_at(data: &Path, listen: &str) -> Self {
        let data = data
            .to_str()
            .expect("a temporary directory has a plain name");
        let arguments = [
            "serve", "--data", data, "--listen", listen, "--admin", "off", "--cores", "1",
        ];
        let log = Path::new(data).with_extension("log");
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("there is room");
        let mut command = hulse(&arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("it runs");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut ready)
            .expect("it is text");
        let address = ready
            .strip_prefix("ready listen=")
            .and_then(|rest| rest.split([' ', ',']).next())
            .unwrap_or_else(|| panic!("no ready line: {}", fs::read_to_string(&log).unwrap()))
            .to_owned();
        Self {
            child,
            log,
            ready,
            address,
        }
    }

    /// Kills it as a power switch would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our own child");
        self.child.wait().expect("it ends");
    }

    /// Stops it with SIGTERM. Gives the exit status.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        signal(&self.child, Signal::TERM);
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// A broker with a data directory of its own.
pub(crate) struct Bed {
    pub(crate) dir: TempDir,
    pub(crate) broker: Broker,
}

impl Bed {
    /// Starts it.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let broker = Broker::start(&dir.path().join("data"));
        Self { dir, broker }
    }

    /// The program with these arguments and this broker.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = hulse(arguments);
        command.env("HULSE_SERVER", &self.broker.address);
        command
    }

    /// Runs the program against this broker.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Runs the program against this broker, with this input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A program that fails early closes its input.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }
}
