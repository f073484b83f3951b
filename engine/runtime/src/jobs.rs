//! A pool of plain threads for jobs that take long.

use std::fmt;
use std::io;
use std::thread;

use crate::blocking::{BlockingPanicked, caught};

type Job = Box<dyn FnOnce() + Send>;

/// Plain threads that run long jobs (zeroing the next segment, removing old ones, checkpoints)
/// for all cores, in the order in which they were given.
///
/// It is apart from the blocking threads of a core on purpose: a job of a second there would hold
/// up every short one. The queue is bounded; a caller waits while it is full. It belongs to no
/// runtime, so the control thread may use it as well. Clones are the same pool; its threads end
/// when the last is dropped and the queue has run dry.
///
/// Start it on the main thread: threads inherit the processor that a core is pinned to.
#[derive(Clone)]
pub struct JobPool {
    queue: flume::Sender<Job>,
}

impl JobPool {
    /// Starts `threads` threads, named "NAME-0" and so on, with a queue for `waiting` jobs.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    ///
    /// # Panics
    ///
    /// When `threads` or `waiting` is zero.
    pub fn start(name: &str, threads: usize, waiting: usize) -> io::Result<Self> {
        assert!(
            threads > 0 && waiting > 0,
            "a pool needs a thread and room for a job"
        );
        let (queue, jobs) = flume::bounded::<Job>(waiting);
        for number in 0..threads {
            let jobs = jobs.clone();
            thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || {
                    for job in jobs.iter() {
                        job();
                    }
                })?;
        }
        Ok(Self { queue })
    }

    /// Runs `job` on one of the threads and returns what it returned. Works on any executor. A
    /// job that was queued runs to its end even when the future is dropped.
    ///
    /// # Errors
    ///
    /// [`BlockingPanicked`] when the job panicked; the thread goes on with the next one.
    pub async fn run<R, F>(&self, job: F) -> Result<R, BlockingPanicked>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let (answer, answered) = flume::bounded(1);
        let job: Job = Box::new(move || {
            // Nobody may be waiting any more; that is the caller's choice.
            let _ = answer.send(caught(job));
        });
        let lost = || BlockingPanicked {
            message: "the pool's threads have ended".to_owned(),
        };
        self.queue.send_async(job).await.map_err(|_| lost())?;
        answered.recv_async().await.unwrap_or_else(|_| Err(lost()))
    }

    /// How many jobs wait for a thread.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

impl fmt::Debug for JobPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobPool")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
