//! Threads that write, so that several direct writes are under way at a time.
//!
//! A ring would do the same with one thread, and cost less processor time; glommio's belongs to an
//! executor, and what is compared here are the ways into a file.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::align::AlignedBuffer;
use crate::way::{PIECE_BYTES, Settle};

/// So many writes are under way at most.
pub(crate) const WRITES_MAX: usize = 8;

/// Which writes are under way. They are numbered from 0 in the order in which they were sent.
#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    numbers: BTreeSet<u64>,
}

impl UnderWay {
    fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.numbers.insert(number);
        number
    }

    fn end(&mut self, number: u64) {
        assert!(self.numbers.remove(&number), "a write ends once");
    }

    fn is_over(&self, number: u64) -> bool {
        !self.numbers.contains(&number)
    }

    /// Whether everything that was sent before the write of this number has ended.
    fn are_over_before(&self, number: u64) -> bool {
        self.numbers.first().is_none_or(|first| *first >= number)
    }
}

struct Write {
    number: u64,
    file: Arc<File>,
    buffer: AlignedBuffer,
    bytes: usize,
    position: usize,
}

struct State {
    queue: VecDeque<Write>,
    free: Vec<AlignedBuffer>,
    under_way: UnderWay,
    /// What the first write that failed said. Nothing is trusted after it.
    failed: Option<(io::ErrorKind, String)>,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    sent: Condvar,
    ended: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_so`, or until a write has failed.
    fn wait(&self, is_so: impl Fn(&State) -> bool) -> io::Result<MutexGuard<'_, State>> {
        let state = self
            .ended
            .wait_while(self.lock(), |state| state.failed.is_none() && !is_so(state))
            .unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            None => Ok(state),
        }
    }

    /// Writes what is sent, until there is nothing more and there will be nothing more.
    fn work(&self) {
        loop {
            let mut state = self
                .sent
                .wait_while(self.lock(), |state| state.queue.is_empty() && !state.closed)
                .unwrap_or_else(PoisonError::into_inner);
            let Some(write) = state.queue.pop_front() else {
                return;
            };
            drop(state);
            let bytes = &write.buffer[..write.bytes];
            let result = write.file.write_all_at(bytes, write.position as u64);
            let mut state = self.lock();
            state.under_way.end(write.number);
            state.free.push(write.buffer);
            if let Err(error) = result {
                let failure = (error.kind(), error.to_string());
                state.failed.get_or_insert(failure);
            }
            self.ended.notify_all();
        }
    }
}

/// The threads, and the buffers that they write from.
pub(crate) struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) fn start() -> io::Result<Self> {
        // One more than writes, which is filled meanwhile.
        let buffers = (0..=WRITES_MAX).map(|_| AlignedBuffer::new(PIECE_BYTES));
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                free: buffers.collect(),
                under_way: UnderWay::default(),
                failed: None,
                closed: false,
            }),
            sent: Condvar::new(),
            ended: Condvar::new(),
        });
        let mut writers = Self {
            shared,
            threads: Vec::new(),
        };
        for _ in 0..WRITES_MAX {
            let shared = writers.shared.clone();
            let thread = Builder::new().name("writer".to_owned());
            writers.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(writers)
    }

    /// A buffer to fill, as soon as one is free. With one that is filled, the others are as many
    /// as there are threads.
    pub(crate) fn buffer(&self) -> io::Result<AlignedBuffer> {
        let mut state = self.shared.wait(|state| !state.free.is_empty())?;
        Ok(state.free.pop().expect("one was free"))
    }

    /// Takes back a buffer that is not sent.
    pub(crate) fn give_back(&self, buffer: AlignedBuffer) {
        self.shared.lock().free.push(buffer);
    }

    /// Has the first `bytes` bytes of `buffer` written, and answers the write's number.
    pub(crate) fn send(
        &self,
        file: Arc<File>,
        buffer: AlignedBuffer,
        bytes: usize,
        position: usize,
    ) -> u64 {
        let mut state = self.shared.lock();
        let number = state.under_way.begin();
        state.queue.push_back(Write {
            number,
            file,
            buffer,
            bytes,
            position,
        });
        drop(state);
        self.shared.sent.notify_one();
        number
    }

    /// Waits for one write.
    pub(crate) fn wait_for(&self, number: u64) -> io::Result<()> {
        let over = self.shared.wait(|state| state.under_way.is_over(number));
        over.map(drop)
    }

    /// What waits for everything that was sent until now.
    pub(crate) fn settle(&self) -> Settle {
        let shared = self.shared.clone();
        let next = shared.lock().under_way.next;
        Box::new(move || {
            let over = shared.wait(|state| state.under_way.are_over_before(next));
            over.map(drop)
        })
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.sent.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::BLOCK_BYTES;

    #[test]
    fn a_sync_waits_for_all_writes_before_it_and_for_none_after_it() {
        let mut under_way = UnderWay::default();
        let [first, second] = [under_way.begin(), under_way.begin()];
        let sync = under_way.next;
        let third = under_way.begin();
        assert!(!under_way.are_over_before(sync));
        under_way.end(second);
        assert!(under_way.is_over(second) && !under_way.is_over(first));
        assert!(!under_way.are_over_before(sync));
        under_way.end(first);
        assert!(under_way.are_over_before(sync));
        assert!(!under_way.is_over(third) && !under_way.are_over_before(third + 1));
        under_way.end(third);
        assert!(under_way.are_over_before(u64::MAX));
    }

    #[test]
    fn a_write_that_fails_is_told_to_all_that_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let writers = Writers::start().unwrap();
        let only_read = Arc::new(File::open(&path).unwrap());
        let buffer = writers.buffer().unwrap();
        let number = writers.send(only_read, buffer, BLOCK_BYTES, 0);
        assert!(writers.wait_for(number).is_err());
        assert!(writers.settle()().is_err());
        assert!(writers.buffer().is_err());
    }
}
