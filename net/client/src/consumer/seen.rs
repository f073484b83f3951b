//! Which messages of a partition have been handed out, so that none is handed out twice. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hulse_model::{EntryHeader, Offset, Term};

/// Whether messages that come again are told from new ones, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipSeen {
    /// They are not: whatever comes is handed out.
    Nothing,
    /// Entries come in the order of their offsets, so the last message handed out says it all.
    InOrder,
    /// Entries come in any order, so each is remembered: a bit for an entry, and a bit for each
    /// message of those that were handed out in part.
    AnyOrder,
}

/// The messages of one partition that have been handed out.
#[derive(Debug)]
pub(crate) enum Seen {
    Nothing,
    InOrder(InOrder),
    AnyOrder(AnyOrder),
}

impl Seen {
    /// Nothing has been handed out.
    pub(crate) fn new(rule: SkipSeen) -> Self {
        match rule {
            SkipSeen::Nothing => Self::Nothing,
            SkipSeen::InOrder => Self::InOrder(InOrder::default()),
            SkipSeen::AnyOrder => Self::AnyOrder(AnyOrder::default()),
        }
    }

    /// An entry came, or a part of it behind which more may come. Gives whether it comes again
    /// because that was asked for: then its messages are new, whatever [`Self::has`] says.
    pub(crate) fn arrives(&mut self, header: &EntryHeader, has_more_parts: bool) -> bool {
        match self {
            Self::InOrder(seen) => seen.arrives(header.offset, has_more_parts),
            Self::Nothing | Self::AnyOrder(_) => false,
        }
    }

    /// Whether all messages of an entry have been handed out.
    pub(crate) fn has_all(&self, header: &EntryHeader) -> bool {
        match self {
            Self::Nothing => false,
            Self::InOrder(seen) => seen.has(header, header.messages.saturating_sub(1)),
            Self::AnyOrder(seen) => seen.has_all(header),
        }
    }

    /// Whether a message has been handed out.
    pub(crate) fn has(&self, header: &EntryHeader, index: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::InOrder(seen) => seen.has(header, index),
            Self::AnyOrder(seen) => seen.has(header, index),
        }
    }

    /// A message is handed out.
    pub(crate) fn add(&mut self, header: &EntryHeader, index: u32) {
        match self {
            Self::Nothing => {}
            Self::InOrder(seen) => seen.add(header, index),
            Self::AnyOrder(seen) => seen.add(header, index),
        }
    }

    /// The rest of an entry is given up: what is told once of it is not told again.
    pub(crate) fn add_all(&mut self, header: &EntryHeader) {
        match self {
            Self::Nothing => {}
            Self::InOrder(seen) => seen.add(header, u32::MAX),
            Self::AnyOrder(seen) => seen.add_all(header),
        }
    }

    /// An entry is to be handed out again when it comes again.
    pub(crate) fn forget(&mut self, offset: Offset) {
        match self {
            Self::Nothing => {}
            Self::InOrder(seen) => {
                seen.again.insert(offset);
            }
            Self::AnyOrder(seen) => seen.forget(offset),
        }
    }

    /// The broker begins anew: what comes next is no other part of what came last.
    pub(crate) fn begins_anew(&mut self) {
        if let Self::InOrder(seen) = self {
            seen.coming = None;
        }
    }

    /// Everything is new from now on.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Nothing => {}
            Self::InOrder(seen) => *seen = InOrder::default(),
            Self::AnyOrder(seen) => *seen = AnyOrder::default(),
        }
    }
}

/// What was handed out when entries come in the order of their offsets.
#[derive(Debug, Default)]
pub(crate) struct InOrder {
    /// The last message that was handed out. Its place rises with every message, also when a new
    /// primary has stored others under offsets that an earlier one had used.
    last: Option<(Term, Offset, u32)>,
    /// Entries before it that are to be handed out again when they come again.
    again: BTreeSet<Offset>,
    /// The one of them that has come in part.
    coming: Option<Offset>,
}

impl InOrder {
    fn arrives(&mut self, offset: Offset, has_more_parts: bool) -> bool {
        let again = self.again.remove(&offset) || self.coming == Some(offset);
        self.coming = (again && has_more_parts).then_some(offset);
        again
    }

    fn has(&self, header: &EntryHeader, index: u32) -> bool {
        Some((header.term, header.offset, index)) <= self.last
    }

    fn add(&mut self, header: &EntryHeader, index: u32) {
        self.last = self.last.max(Some((header.term, header.offset, index)));
    }
}

/// Entries to a word of [`AnyOrder::whole`].
const WORD: u64 = u64::BITS as u64;

/// What was handed out when entries come in any order.
#[derive(Debug, Default)]
pub(crate) struct AnyOrder {
    /// Entries of which every message was handed out: by the number of their word and their term.
    whole: BTreeMap<(u64, Term), u64>,
    /// Entries of which some messages were.
    parts: BTreeMap<(Offset, Term), Part>,
}

/// The messages of one entry.
#[derive(Debug)]
struct Part {
    /// How many of them are missing.
    missing: u32,
    handed_out: Vec<u64>,
}

/// Number of an entry's word, and its bit in it.
const fn place(offset: Offset) -> (u64, u64) {
    (offset.0 / WORD, 1 << (offset.0 % WORD))
}

impl Part {
    fn new(messages: u32) -> Self {
        Self {
            missing: messages,
            handed_out: vec![0; messages.div_ceil(u64::BITS) as usize],
        }
    }

    fn has(&self, index: u32) -> bool {
        let word = self.handed_out.get((index / u64::BITS) as usize);
        word.is_some_and(|bits| bits >> (index % u64::BITS) & 1 == 1)
    }

    fn add(&mut self, index: u32) {
        if let Some(bits) = self.handed_out.get_mut((index / u64::BITS) as usize) {
            let with = *bits | 1 << (index % u64::BITS);
            self.missing -= u32::from(with != *bits);
            *bits = with;
        }
    }
}

impl AnyOrder {
    fn has_all(&self, header: &EntryHeader) -> bool {
        let (word, bit) = place(header.offset);
        self.whole
            .get(&(word, header.term))
            .is_some_and(|bits| bits & bit != 0)
    }

    fn has(&self, header: &EntryHeader, index: u32) -> bool {
        let part = self.parts.get(&(header.offset, header.term));
        part.is_some_and(|part| part.has(index)) || self.has_all(header)
    }

    fn add(&mut self, header: &EntryHeader, index: u32) {
        if self.has_all(header) {
            return;
        }
        if header.messages <= 1 {
            self.add_all(header);
            return;
        }
        let part = self.parts.entry((header.offset, header.term));
        let part = part.or_insert_with(|| Part::new(header.messages));
        part.add(index);
        if part.missing == 0 {
            self.add_all(header);
        }
    }

    fn add_all(&mut self, header: &EntryHeader) {
        self.parts.remove(&(header.offset, header.term));
        let (word, bit) = place(header.offset);
        *self.whole.entry((word, header.term)).or_default() |= bit;
    }

    fn forget(&mut self, offset: Offset) {
        const FIRST: Term = Term(0);
        const LAST: Term = Term(u64::MAX);
        let (word, bit) = place(offset);
        for (_, bits) in self.whole.range_mut((word, FIRST)..=(word, LAST)) {
            *bits &= !bit;
        }
        let entries = (offset, FIRST)..=(offset, LAST);
        let gone: Vec<_> = self.parts.range(entries).map(|(key, _)| *key).collect();
        for key in gone {
            self.parts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::{PayloadFormat, ProducerId};
    use proptest::prelude::*;

    /// Entry `offset` of term `term`; it has as many messages as its offset says, at least one.
    fn header(term: u64, offset: u64) -> EntryHeader {
        EntryHeader {
            crc: 0,
            term: Term(term),
            offset: Offset(offset),
            format: PayloadFormat::Messages,
            appended_ms: 0,
            producer: ProducerId(0),
            sequence: 0,
            messages: messages(offset),
            payload_bytes: 0,
        }
    }

    fn messages(offset: u64) -> u32 {
        [1, 1, 3, 64, 65, 200][usize::try_from(offset % 6).unwrap()]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u64, u64, u32),
        AddAll(u64, u64),
        Forget(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = 0..u32::MAX;
        prop_oneof![
            20 => (1..3_u64, 0..140_u64, index).prop_map(|(term, offset, index)| {
                Step::Add(term, offset, index % messages(offset))
            }),
            1 => (1..3_u64, 0..140_u64).prop_map(|(term, offset)| Step::AddAll(term, offset)),
            1 => (0..140_u64).prop_map(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn in_any_order_exactly_what_was_handed_out_and_not_forgotten_is_known(
            steps in prop::collection::vec(step(), 0..400),
            dense in prop::collection::vec((0..12_u64, any::<u32>()), 0..2_000),
        ) {
            let mut seen = Seen::new(SkipSeen::AnyOrder);
            let mut model = BTreeSet::new();
            let dense = dense
                .into_iter()
                .map(|(offset, index)| Step::Add(1, offset, index % messages(offset)));
            for step in dense.chain(steps) {
                match step {
                    Step::Add(term, offset, index) => {
                        seen.add(&header(term, offset), index);
                        model.insert((term, offset, index));
                    }
                    Step::AddAll(term, offset) => {
                        seen.add_all(&header(term, offset));
                        model.extend((0..messages(offset)).map(|index| (term, offset, index)));
                    }
                    Step::Forget(gone) => {
                        seen.forget(Offset(gone));
                        model.retain(|(_, offset, _)| *offset != gone);
                    }
                }
            }
            for (term, offset) in (1..3).flat_map(|term| (0..141).map(move |at| (term, at))) {
                let header = header(term, offset);
                let known: Vec<bool> = (0..messages(offset))
                    .map(|index| model.contains(&(term, offset, index)))
                    .collect();
                for (index, known) in (0..).zip(&known) {
                    prop_assert_eq!(seen.has(&header, index), *known, "{}:{} {}", term, offset, index);
                }
                prop_assert_eq!(seen.has_all(&header), known.iter().all(|known| *known));
                prop_assert!(!seen.arrives(&header, true));
            }
        }
    }

    #[test]
    fn an_entry_that_was_handed_out_whole_leaves_a_bit() {
        let mut seen = AnyOrder::default();
        for offset in 0..6_400 {
            for index in 0..messages(offset) {
                seen.add(&header(1, offset), index);
            }
        }
        assert!(seen.parts.is_empty());
        assert_eq!(seen.whole.len(), 100);
    }

    #[test]
    fn in_order_the_last_message_says_what_was_before() {
        let mut seen = Seen::new(SkipSeen::InOrder);
        seen.add(&header(1, 5), 7);
        assert!(seen.has_all(&header(1, 4)) && seen.has(&header(1, 5), 7));
        assert!(!seen.has(&header(1, 5), 8) && !seen.has_all(&header(1, 5)));
        assert!(!seen.has(&header(2, 0), 0), "of a later term");
        seen.clear();
        assert!(!seen.has(&header(1, 0), 0));
    }

    #[test]
    fn an_entry_that_is_forgotten_comes_again_once_in_as_many_parts_as_it_has() {
        let mut seen = Seen::new(SkipSeen::InOrder);
        seen.add(&header(1, 9), 0);
        seen.forget(Offset(5));
        assert!(!seen.arrives(&header(1, 4), true));
        assert!(seen.arrives(&header(1, 5), true), "first part");
        seen.add(&header(1, 5), 3);
        assert!(seen.arrives(&header(1, 5), false), "second part");
        assert!(!seen.arrives(&header(1, 5), false), "once only");
        assert!(seen.has_all(&header(1, 6)), "the others stay known");
        seen.forget(Offset(5));
        assert!(seen.arrives(&header(1, 5), true));
        seen.begins_anew();
        assert!(!seen.arrives(&header(1, 5), true), "it is not another part");
        seen.forget(Offset(5));
        assert!(seen.arrives(&header(1, 5), true));
        assert!(!seen.arrives(&header(1, 6), true) && !seen.arrives(&header(1, 5), true));
    }
}
