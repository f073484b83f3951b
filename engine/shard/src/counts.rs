//! How many messages the entries have that consumers are about to acknowledge.

use hulse_model::Offset;

/// Entries remembered at the most.
const SLOTS: usize = 256;

/// The number of messages of the entries that were delivered last. An acknowledgement then needs
/// no look into the log, which would read and check the whole entry for the sake of one field.
///
/// It takes no memory until the first delivery, and 4 KiB from then on.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// The entry that took the slot last, and its number of messages; 0 for none.
    slots: Vec<(Offset, u32)>,
}

impl Counts {
    /// Notes how many messages an entry has. An offset's entry never changes while the partition
    /// is open, so what is noted stays true.
    pub(crate) fn note(&mut self, offset: Offset, messages: u32) {
        if self.slots.is_empty() {
            self.slots = vec![(Offset::ZERO, 0); SLOTS];
        }
        if let Some(slot) = slot_of(offset).and_then(|at| self.slots.get_mut(at)) {
            *slot = (offset, messages);
        }
    }

    /// How many messages the entry has, if that is still known.
    pub(crate) fn get(&self, offset: Offset) -> Option<u32> {
        let (known, messages) = *self.slots.get(slot_of(offset)?)?;
        (known == offset && messages > 0).then_some(messages)
    }
}

fn slot_of(offset: Offset) -> Option<usize> {
    usize::try_from(offset.0 % SLOTS as u64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_known_until_another_takes_its_slot() {
        let mut counts = Counts::default();
        assert_eq!(counts.get(Offset(0)), None);
        counts.note(Offset(3), 7);
        assert_eq!(counts.get(Offset(0)), None, "an empty slot is no entry");
        assert_eq!(counts.get(Offset(3)), Some(7));
        counts.note(Offset(3 + SLOTS as u64), 9);
        assert_eq!(counts.get(Offset(3)), None);
        assert_eq!(counts.get(Offset(3 + SLOTS as u64)), Some(9));
    }
}
