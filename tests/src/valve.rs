//! A copier of bytes that can be held in the middle.

use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

const CHUNK_BYTES: usize = 64 * 1024;

/// Lets so many bytes pass and holds the rest until it is opened: so that something is certain to
/// happen in the middle of a stream, however fast the machine is.
#[derive(Debug)]
pub struct Valve {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug)]
struct State {
    passed: u64,
    limit: u64,
}

impl Valve {
    /// A valve that holds what comes after so many bytes.
    #[must_use]
    pub fn holding_after(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                passed: 0,
                limit: bytes,
            }),
            opened: Condvar::new(),
        })
    }

    /// Lets everything pass.
    pub fn open(&self) {
        self.lock().limit = u64::MAX;
        self.opened.notify_all();
    }

    /// How many bytes have passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.lock().passed
    }

    /// Copies from `from` to `to` until the end of `from`.
    ///
    /// # Errors
    /// Those of `from` and `to`.
    pub fn copy(&self, mut from: impl Read, mut to: impl Write) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let room = {
                let shut = |state: &mut State| state.passed >= state.limit;
                let state = self.opened.wait_while(self.lock(), shut);
                let state = state.unwrap_or_else(PoisonError::into_inner);
                usize::try_from(state.limit - state.passed).unwrap_or(usize::MAX)
            };
            let read = from.read(&mut chunk[..room.min(CHUNK_BYTES)])?;
            if read == 0 {
                return to.flush();
            }
            to.write_all(&chunk[..read])?;
            self.lock().passed += read as u64;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::{LIMIT, wait_until};

    #[test]
    fn it_holds_in_the_middle_and_lets_all_pass_when_it_is_opened() {
        let input: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        let valve = Valve::holding_after(150_001);
        let copy = {
            let (valve, input) = (Arc::clone(&valve), input.clone());
            std::thread::spawn(move || {
                let mut out = Vec::new();
                valve.copy(&input[..], &mut out).unwrap();
                out
            })
        };
        wait_until("150,001 bytes", LIMIT, || {
            (valve.passed() == 150_001).then_some(())
        });
        assert!(!copy.is_finished());
        valve.open();
        assert_eq!(copy.join().unwrap(), input);
    }
}
