//! What a message says of itself, for the one who receives it.

use std::time::Duration;

use tokio::time::Instant;

/// The bytes that a stamp takes, at the front of a message.
pub(super) const STAMP_BYTES: u32 = 24;

/// Marks the messages of one run. Sender and receiver are of one process, so that they share a
/// clock that no one sets and that goes by nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    run: u64,
    epoch: Instant,
}

/// What a stamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamped {
    /// When the message was due.
    pub(super) due: Instant,
    /// Whether it counts.
    pub(super) counts: bool,
}

impl Stamp {
    /// The stamp of a run, by a number that no other run has.
    pub(super) fn new(run: u64) -> Self {
        Self {
            run,
            epoch: Instant::now(),
        }
    }

    /// Writes it into the front of a message.
    ///
    /// # Panics
    /// When the message is shorter than [`STAMP_BYTES`].
    pub(super) fn write(&self, payload: &mut [u8], due: Instant, counts: bool) {
        let since = due.saturating_duration_since(self.epoch);
        let ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        payload[0..8].copy_from_slice(&self.run.to_le_bytes());
        payload[8..16].copy_from_slice(&ns.to_le_bytes());
        payload[16..24].copy_from_slice(&u64::from(counts).to_le_bytes());
    }

    /// Reads it; `None` when the message is not of this run.
    pub(super) fn read(&self, payload: &[u8]) -> Option<Stamped> {
        let word = |at: usize| {
            let bytes = payload.get(at..at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        (word(0)? == self.run).then_some(())?;
        Some(Stamped {
            due: self.epoch + Duration::from_nanos(word(8)?),
            counts: word(16)? == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_as_it_was_written_and_no_other_is_taken_for_it() {
        let stamp = Stamp::new(7);
        let due = Instant::now() + Duration::from_nanos(1_234_567);
        let mut payload = [9; 30];
        for counts in [false, true] {
            stamp.write(&mut payload, due, counts);
            assert_eq!(stamp.read(&payload), Some(Stamped { due, counts }));
            assert_eq!(stamp.read(&payload[..24]), Some(Stamped { due, counts }));
        }
        assert_eq!(Stamp::new(8).read(&payload), None);
        assert_eq!(stamp.read(&payload[..23]), None);
        assert_eq!(stamp.read(b""), None);
    }
}
