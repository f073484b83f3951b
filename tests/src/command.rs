//! Commands of `hulse` that never hang.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::binary;
use crate::broker::Broker;
use crate::patience::{LIMIT, wait_until};

/// A command of `hulse`, not yet started.
#[derive(Debug)]
pub struct Hulse {
    command: Command,
    words: String,
    limit: Duration,
    piped_stdout: bool,
}

impl Hulse {
    /// `hulse` and these words, with an empty stdin.
    pub fn new<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut command = binary::command();
        command.stdin(Stdio::null());
        let mut line = String::from("hulse");
        for word in words {
            command.arg(word.as_ref());
            line.push(' ');
            line.push_str(word.as_ref());
        }
        Self {
            command,
            words: line,
            limit: LIMIT,
            piped_stdout: false,
        }
    }

    /// The words of one line, which are separated by spaces, for a command of this broker.
    #[must_use]
    pub fn to(broker: &Broker, line: &str) -> Self {
        let mut hulse = Self::new(line.split_whitespace());
        hulse.command.args(["--server", &broker.server()]);
        hulse
    }

    /// A variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// These bytes are its stdin.
    ///
    /// # Panics
    /// When they cannot be written to a file.
    #[must_use]
    pub fn input(mut self, bytes: &[u8]) -> Self {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes)
            .and_then(|()| file.rewind())
            .expect("written");
        self.command.stdin(file);
        self
    }

    /// Its stdin is a pipe: see [`Running::stdin`].
    #[must_use]
    pub fn piped_input(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Its stdout is a pipe: see [`Running::stdout`].
    #[must_use]
    pub fn piped_output(mut self) -> Self {
        self.command.stdout(Stdio::piped());
        self.piped_stdout = true;
        self
    }

    /// Its stdout goes to this file.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    pub fn output_to(mut self, path: &Path) -> Self {
        self.command.stdout(File::create(path).expect("a file"));
        self.piped_stdout = true;
        self
    }

    /// How long it may take in all, from its start.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut self) -> Running {
        let files = || tempfile::tempfile().expect("a file");
        let (stdout, stderr) = (files(), files());
        let share = |file: &File| file.try_clone().expect("a file");
        if !self.piped_stdout {
            self.command.stdout(share(&stdout));
        }
        let child = self.command.stderr(share(&stderr)).spawn();
        Running {
            child: child.expect("hulse can be started"),
            words: self.words,
            ends_by: Instant::now() + self.limit,
            stdout,
            stderr,
        }
    }

    /// Starts it and waits until it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Runs it, asserts that it is done with exit status 0, and gives its stdout.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub fn done(self) -> Vec<u8> {
        self.run().expect(0).stdout
    }
}

/// A command that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    words: String,
    ends_by: Instant,
    stdout: File,
    stderr: File,
}

impl Running {
    /// The pipe to its stdin.
    ///
    /// # Panics
    /// When there is none, or it was taken.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("stdin is a pipe")
    }

    /// The pipe from its stdout.
    ///
    /// # Panics
    /// When there is none, or it was taken.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("stdout is a pipe")
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// Never: it is our own child.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the command runs");
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn kill9(mut self) {
        assert!(self.runs(), "`{}` had ended by itself", self.words);
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let left = self.ends_by.saturating_duration_since(Instant::now());
        let words = self.words.clone();
        let status = wait_until(&format!("the end of `{words}`"), left, || {
            self.child.try_wait().expect("our own child")
        });
        Finished {
            words,
            code: status.code(),
            stdout: content(&mut self.stdout),
            stderr: String::from_utf8_lossy(&content(&mut self.stderr)).into_owned(),
        }
    }

    /// What it has written to stderr so far.
    pub fn said(&mut self) -> String {
        String::from_utf8_lossy(&content(&mut self.stderr)).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            println!("--- what `{}` said ---\n{said}---", self.words);
        }
    }
}

/// What is in a file that another process writes at its end.
fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The process shares the file's position, so its end is where it goes on in any case.
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("a file");
    bytes
}

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    words: String,
    /// Its exit status; `None` when a signal has ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout, unless that was led elsewhere.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// Asserts the exit status.
    ///
    /// # Panics
    /// When it is another.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        let Self {
            words,
            code: found,
            stdout,
            stderr,
        } = &self;
        let shown = String::from_utf8_lossy(&stdout[..stdout.len().min(2000)]);
        assert_eq!(
            *found,
            Some(code),
            "`{words}`\nstdout: {shown}\nstderr: {stderr}"
        );
        self
    }

    /// Asserts the exit status, and that stderr is one sentence in which all of `parts` occur.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn refused(self, code: i32, parts: &[&str]) {
        let Self { words, stderr, .. } = self.expect(code);
        for part in parts {
            assert!(
                stderr.contains(part),
                "`{words}` does not say {part:?}: {stderr}"
            );
        }
        let sentences = stderr.lines().filter(|line| line.starts_with("hulse: "));
        assert_eq!(
            sentences.count(),
            1,
            "`{words}`: not one sentence: {stderr}"
        );
    }

    /// Its stdout as text.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text")
    }

    /// Its stdout as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let read = serde_json::from_slice(&self.stdout);
        read.unwrap_or_else(|error| panic!("`{}`: {error}: {}", self.words, self.text()))
    }

    /// The last line of `hulse produce`.
    ///
    /// # Panics
    /// When it is not what was promised.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::read(self.stderr.lines().last().unwrap_or_default())
    }
}

/// The last line of `hulse produce`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Messages that were not.
    pub failed: u64,
    /// The first id, `-` when there is none.
    pub first: String,
    /// The last id, `-` when there is none.
    pub last: String,
}

impl Summary {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [acked, failed, first, last] = words[..] else {
            panic!("not a summary: {line:?}");
        };
        let value = |word: &str, name: &str| {
            let value = word
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='));
            value
                .unwrap_or_else(|| panic!("{name}= is missing in {line:?}"))
                .to_owned()
        };
        let number = |text: String| text.parse().expect("a number");
        Self {
            acked: number(value(acked, "acked")),
            failed: number(value(failed, "failed")),
            first: value(first, "first"),
            last: value(last, "last"),
        }
    }
}
