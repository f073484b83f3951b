//! The main job: what is sent through a broker that is killed comes out the same.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, cores};
use crate::command::Hulse;
use crate::compare::assert_same;
use crate::patience::{LIMIT, wait_until};
use crate::valve::Valve;

/// A file of lines.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Number of its lines.
    pub lines: u64,
    /// Whether its last line has no LF, so that a consumer writes one more than there is.
    pub ends_without_lf: bool,
}

impl Source {
    /// The file at `path`.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the input");
        Self {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            lines: crate::input::count_lines(&bytes),
            ends_without_lf: bytes.last().is_some_and(|last| *last != b'\n'),
        }
    }

    /// Asserts that a file holds what a consumer writes of this one.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_copied(&self, copy: &Path) {
        let end: &[u8] = if self.ends_without_lf { b"\n" } else { b"" };
        let expected = std::io::Read::chain(File::open(&self.path).expect("the input"), end);
        assert_same(expected, File::open(copy).expect("the copy"));
    }
}

/// A topic of a broker through which a file goes.
#[derive(Debug)]
pub struct Job<'a> {
    /// The broker.
    pub broker: &'a mut Broker,
    /// The topic.
    pub topic: &'a str,
    /// What goes through.
    pub source: &'a Source,
    /// How long each half may take.
    pub limit: Duration,
}

impl Job<'_> {
    /// Sends every line with `hulse produce`. The broker is killed with SIGKILL when it has
    /// acknowledged a tenth of them, before the producer has been given all, and started again with
    /// another number of cores. `between` sees the files that the kill has left.
    ///
    /// # Panics
    /// When not everything is acknowledged in the end.
    pub fn produce(&mut self, between: impl FnOnce(&Broker)) {
        let Source {
            path, bytes, lines, ..
        } = self.source;
        let command = format!("produce {}", self.topic);
        let produce = Hulse::to(self.broker, &command)
            .piped_input()
            .within(self.limit);
        let mut produce = produce.start();
        let valve = Valve::holding_after(bytes / 10 * 6);
        let feeding = {
            let (valve, input) = (Arc::clone(&valve), File::open(path).expect("the input"));
            let stdin = produce.stdin();
            thread::spawn(move || valve.copy(input, stdin))
        };
        wait_until("a tenth is acknowledged", LIMIT, || {
            (self.broker.produced_messages() >= lines / 10).then_some(())
        });
        self.broker.kill9();
        assert!(produce.runs(), "the producer ended before the kill");
        between(self.broker);
        self.broker.restart(cores(1));
        valve.open();
        let summary = produce.finish().expect(0).summary();
        assert_eq!((summary.acked, summary.failed), (*lines, 0), "{summary:?}");
        feeding
            .join()
            .expect("no panic")
            .expect("the producer took everything");
    }

    /// Receives every line with `hulse consume` into a file, which must be the same then. The
    /// broker is killed with SIGKILL when a tenth has been written, before the consumer has been
    /// let write all, and started again with another number of cores.
    ///
    /// # Panics
    /// When the file is another in the end.
    pub fn consume(&mut self) {
        let dir = tempfile::tempdir().expect("a directory");
        let copy = dir.path().join("copy");
        let command = format!("consume {} -s copy --until-end", self.topic);
        let consume = Hulse::to(self.broker, &command)
            .piped_output()
            .within(self.limit);
        let mut consume = consume.start();
        let valve = Valve::holding_after(self.source.bytes / 10 * 6);
        let writing = {
            let (valve, out) = (Arc::clone(&valve), File::create(&copy).expect("a file"));
            let stdout = consume.stdout();
            thread::spawn(move || valve.copy(stdout, out))
        };
        wait_until("a tenth is received", LIMIT, || {
            (valve.passed() >= self.source.bytes / 10).then_some(())
        });
        self.broker.kill9();
        assert!(consume.runs(), "the consumer ended before the kill");
        self.broker.restart(cores(2));
        valve.open();
        let _ = consume.finish().expect(0);
        writing
            .join()
            .expect("no panic")
            .expect("everything was written");
        self.source.assert_copied(&copy);
        let again = Hulse::to(self.broker, &command).done();
        assert!(
            again.is_empty(),
            "{} bytes came again after their receipt",
            again.len()
        );
    }
}
