//! What is known of every message of one subscription.

use std::collections::BTreeMap;

use hulse_subscription::IndexRange;

/// What was said of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It is not acknowledged.
    Open,
    /// Its acknowledgement was taken, by the process that lives.
    Taken,
    /// It was taken by a process that died before it said that it is durable.
    Doubtful,
    /// It was taken, and answered with a receipt.
    Sealed,
}

/// The messages of one entry.
#[derive(Debug)]
struct Entry {
    words: Vec<Word>,
    /// How many of them are open, and how many doubtful, counted after every change.
    open: usize,
    doubtful: usize,
}

impl Entry {
    fn new(messages: usize) -> Self {
        Self {
            words: vec![Word::Open; messages],
            open: messages,
            doubtful: 0,
        }
    }

    fn change<R>(&mut self, change: impl FnOnce(&mut [Word]) -> R) -> R {
        let result = change(&mut self.words);
        let count = |word| self.words.iter().filter(|it| **it == word).count();
        (self.open, self.doubtful) = (count(Word::Open), count(Word::Doubtful));
        result
    }

    /// Its first messages are passed over rightly, which settles what was doubtful of them.
    fn pass(&mut self, offset: u64, messages: usize) {
        if (self.open, self.doubtful) == (0, 0) {
            return;
        }
        self.change(|words| {
            for (index, word) in words[..messages].iter_mut().enumerate() {
                match word {
                    Word::Open => panic!("{offset}.{index} is passed over, and nobody has it"),
                    Word::Doubtful => *word = Word::Taken,
                    Word::Taken | Word::Sealed => {}
                }
            }
        });
    }
}

/// The messages of the entries that were given out, entry by entry.
#[derive(Debug, Default)]
pub(super) struct Words {
    entries: BTreeMap<u64, Entry>,
}

impl Words {
    /// An entry is given out without the messages in `skipped`. Returns how many are left of it.
    ///
    /// Rule: what was acknowledged does not come again, to anybody: while the process lives that of
    /// which the acknowledgement was taken, and after its end that of which it was answered. And
    /// nothing else is skipped.
    pub(super) fn given(&mut self, offset: u64, messages: u32, skipped: &[IndexRange]) -> u32 {
        let count = usize::try_from(messages).unwrap();
        let entry = self.entries.entry(offset);
        let entry = entry.or_insert_with(|| Entry::new(count));
        assert_eq!(entry.words.len(), count, "entry {offset} is another one");
        let left = entry.change(|words| {
            let mut left = 0;
            for (index, word) in (0..messages).zip(words) {
                let is_in = |it: &IndexRange| (it.first..=it.last).contains(&index);
                match (*word, skipped.iter().any(is_in)) {
                    (Word::Taken | Word::Sealed, true) => {}
                    // Now it is known what became of it.
                    (Word::Doubtful, true) => *word = Word::Taken,
                    (Word::Open | Word::Doubtful, false) => {
                        *word = Word::Open;
                        left += 1;
                    }
                    (Word::Open, true) => panic!("{offset}.{index} is skipped, and nobody has it"),
                    (word, false) => panic!("{offset}.{index} comes again and was {word:?}"),
                }
            }
            left
        });
        assert!(left > 0, "entry {offset} comes with nothing left of it");
        left
    }

    /// The acknowledgement of some messages of an entry was taken.
    pub(super) fn taken(&mut self, offset: u64, first: u32, last: u32) {
        self.note(offset, first, last, |word| {
            if *word != Word::Sealed {
                *word = Word::Taken;
            }
        });
    }

    /// It was answered.
    pub(super) fn sealed(&mut self, offset: u64, first: u32, last: u32) {
        self.note(offset, first, last, |word| *word = Word::Sealed);
    }

    fn note(&mut self, offset: u64, first: u32, last: u32, note: impl FnMut(&mut Word)) {
        let entry = self.entries.get_mut(&offset).expect("it was given out");
        let end = entry.words.len().min(usize::try_from(last).unwrap() + 1);
        let first = usize::try_from(first).unwrap();
        entry.change(|words| words[first..end].iter_mut().for_each(note));
    }

    /// The process has ended.
    pub(super) fn restarted(&mut self) {
        let settle = |word: &mut Word| {
            if *word == Word::Taken {
                *word = Word::Doubtful;
            }
        };
        for entry in self.entries.values_mut() {
            entry.change(|words| words.iter_mut().for_each(settle));
        }
    }

    /// The mark stands at a message.
    ///
    /// Rule: everything before the mark is acknowledged, and the message at it is not.
    pub(super) fn marked(&mut self, offset: u64, index: u32, end: u64) {
        self.pass_over(0..offset);
        if offset >= end {
            return assert_eq!((offset, index), (end, 0), "the mark is beyond the end");
        }
        let Some(entry) = self.entries.get_mut(&offset) else {
            return assert_eq!(
                index, 0,
                "the mark is within {offset}, of which nobody has any"
            );
        };
        let index = usize::try_from(index).unwrap();
        entry.pass(offset, index);
        entry.change(|words| match &mut words[index] {
            word @ (Word::Open | Word::Doubtful) => *word = Word::Open,
            word => panic!("the mark stays at {offset}.{index}, which is {word:?}"),
        });
    }

    /// How many messages of an entry are surely not acknowledged, if it was given out.
    pub(super) fn left(&self, offset: u64) -> Option<u64> {
        Some(self.entries.get(&offset)?.open as u64)
    }

    /// Whether some of an entry is surely not acknowledged.
    pub(super) fn is_open(&self, offset: u64) -> bool {
        self.left(offset).is_none_or(|left| left > 0)
    }

    /// Whether all of an entry is surely acknowledged.
    pub(super) fn is_done(&self, offset: u64) -> bool {
        let entry = self.entries.get(&offset);
        entry.is_some_and(|entry| (entry.open, entry.doubtful) == (0, 0))
    }

    /// These entries are passed over rightly: each was given out, and is acknowledged.
    pub(super) fn pass_over(&mut self, entries: std::ops::Range<u64>) {
        for offset in entries {
            let entry = self.entries.get_mut(&offset);
            let entry = entry.unwrap_or_else(|| panic!("entry {offset} is passed over"));
            entry.pass(offset, entry.words.len());
        }
    }
}
