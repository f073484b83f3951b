//! Syncs on a thread of their own, one at a time, while writing goes on.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::way::Settle;

/// One sync: of the files that got something since the one before.
struct Job {
    settle: Settle,
    files: Vec<Arc<File>>,
}

/// The thread that syncs, and how much of the log is durable.
pub(crate) struct GroupCommit {
    jobs: Option<Sender<Job>>,
    done: Receiver<io::Result<Duration>>,
    thread: Option<JoinHandle<()>>,
    /// How much was written when the sync that runs began.
    running: Option<u64>,
    durable: u64,
    /// How long each sync took that has ended.
    pub(crate) times: Vec<Duration>,
}

impl GroupCommit {
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, work) = channel::<Job>();
        let (tell, done) = channel();
        let run = move || {
            for job in work {
                let began = Instant::now();
                let mut result = (job.settle)();
                for file in job.files {
                    result = result.and_then(|()| file.sync_data());
                }
                if tell.send(result.map(|()| began.elapsed())).is_err() {
                    return;
                }
            }
        };
        Ok(Self {
            jobs: Some(jobs),
            done,
            thread: Some(Builder::new().name("syncer".to_owned()).spawn(run)?),
            running: None,
            durable: 0,
            times: Vec::new(),
        })
    }

    /// How much of the log is known to be durable.
    pub(crate) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether a sync runs, as far as was heard.
    pub(crate) fn is_running(&mut self) -> io::Result<bool> {
        if self.running.is_some() {
            match self.done.try_recv() {
                Ok(result) => self.end(result)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err(gone()),
            }
        }
        Ok(self.running.is_some())
    }

    /// Begins a sync of all `written` bytes. None may be running.
    pub(crate) fn begin(
        &mut self,
        written: u64,
        settle: Settle,
        files: Vec<Arc<File>>,
    ) -> io::Result<()> {
        assert!(self.running.is_none(), "one sync at a time");
        self.running = Some(written);
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { settle, files }).map_err(|_| gone())
    }

    /// Waits for the sync that runs, if one does.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        if self.running.is_none() {
            return Ok(());
        }
        let result = self.done.recv().map_err(|_| gone())?;
        self.end(result)
    }

    fn end(&mut self, result: io::Result<Duration>) -> io::Result<()> {
        self.times.push(result?);
        self.durable = self.running.take().unwrap_or(self.durable);
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that syncs is gone")
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
