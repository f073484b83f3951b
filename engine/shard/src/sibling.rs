//! Records on their way into the sibling log, and the answers that wait for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hulse_model::{Offset, ProducerName};

use crate::command::StreamKey;
use crate::effect::Reply;

/// An answer that waits for something to be durable.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) to: StreamKey,
    pub(crate) correlation: u64,
    pub(crate) reply: Reply,
}

impl Answer {
    /// The producer's name that it says is open, if it says so.
    pub(crate) fn opens(&self) -> Option<ProducerName> {
        match &self.reply {
            Reply::ProducerOpened { name, .. } => Some(name.clone()),
            _ => None,
        }
    }

    /// Whether the stream does nothing else before it: a producer stores nothing before it is
    /// told that it is open, and a consumer is sent nothing before it is told that it is open or
    /// that its seek is done.
    const fn is_gate(&self) -> bool {
        matches!(
            self.reply,
            Reply::ProducerOpened { .. } | Reply::Subscribed { .. } | Reply::Done
        )
    }
}

/// A record that is not in the log yet, and the answers that wait for it and all before it.
#[derive(Debug)]
pub(crate) struct Unstored {
    /// Absent for answers that wait for what is there already.
    pub(crate) record: Option<Vec<u8>>,
    /// The subscription that the record makes, if it makes one.
    pub(crate) makes: Option<u64>,
    /// The producer's name that stands in no record before, if the record has such a one.
    pub(crate) names: Option<ProducerName>,
    /// The offset that the high watermark must have reached as well.
    pub(crate) entries: Offset,
    pub(crate) answers: Vec<Answer>,
}

/// How far a partition has come, for those who wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    /// The end of the sibling log's part that is stored at the partition's level.
    pub(crate) sibling: Offset,
    /// The end of its part that is synced.
    pub(crate) sibling_synced: Offset,
    /// The high watermark.
    pub(crate) entries: Offset,
}

/// Something whose record is in the sibling log, not yet stored at the partition's level.
#[derive(Debug)]
struct Waiting {
    /// The end of the sibling log that must be stored.
    sibling: Offset,
    /// The end of the sibling log that must be synced, whatever the level.
    name: Offset,
    /// The offset that the high watermark must have reached.
    entries: Offset,
    what: Awaited,
}

/// What follows when something is stored.
#[derive(Debug)]
enum Awaited {
    Answer(Answer),
    /// The subscription exists from now on, whatever happens.
    Made(u64),
}

impl Awaited {
    fn is_for(&self, stream: StreamKey) -> bool {
        matches!(self, Self::Answer(answer) if answer.to == stream)
    }

    fn into_answer(self) -> Option<Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Made(_) => None,
        }
    }
}

/// The producer's name that must be synced before this follows.
fn name_of(what: &Awaited) -> Option<&ProducerName> {
    match what {
        Awaited::Answer(Answer {
            reply: Reply::ProducerOpened { name, .. },
            ..
        }) => Some(name),
        _ => None,
    }
}

/// What one partition's sibling log is still to hold, and who waits for it.
///
/// Acknowledgements are not recorded one by one: while a sync runs they gather in the cursors, and
/// the next round records what has changed, so a record is as large as the round is long.
#[derive(Debug, Default)]
pub(crate) struct SiblingQueue {
    unstored: VecDeque<Unstored>,
    waiting: VecDeque<Waiting>,
    /// Openings of producers whose name alone is not synced yet, each with the end of the sibling
    /// log that must be. They stand aside, so that nobody else waits for a sync with them.
    unnamed: VecDeque<(Offset, Answer)>,
    /// Names of producers whose first record is in the log and not known to be synced, each with
    /// the log's end behind it.
    naming: BTreeMap<ProducerName, Offset>,
    /// The log's end behind the newest name's first record.
    named: Offset,
    /// The end of the log up to which `naming` has been looked through.
    synced: Offset,
    /// Subscriptions whose cursors have moved since their last record, with the receipts owed.
    moved: VecDeque<(u64, Vec<Answer>)>,
    /// For each stream that waits at a gate, how many gates it has before it.
    gated: BTreeMap<StreamKey, usize>,
    /// Subscriptions whose making is not durable.
    making: BTreeSet<u64>,
    /// The first record that is not in the log found no room there.
    no_room: bool,
}

impl SiblingQueue {
    /// Adds a record, or nothing but answers that wait for those before.
    pub(crate) fn push(&mut self, unstored: Unstored) {
        for answer in unstored.answers.iter().filter(|answer| answer.is_gate()) {
            *self.gated.entry(answer.to).or_default() += 1;
        }
        self.making.extend(unstored.makes);
        self.unstored.push_back(unstored);
    }

    /// Adds an answer that waits for nothing but its turn.
    pub(crate) fn push_due(&mut self, answer: Answer) {
        if answer.is_gate() {
            *self.gated.entry(answer.to).or_default() += 1;
        }
        self.waiting.push_back(Waiting {
            sibling: Offset::ZERO,
            name: Offset::ZERO,
            entries: Offset::ZERO,
            what: Awaited::Answer(answer),
        });
    }

    /// The first record that is not in the log.
    pub(crate) fn unstored(&self) -> Option<&Unstored> {
        self.unstored.front()
    }

    /// Notes that the first record is in the log, which now ends at `sibling`.
    pub(crate) fn stored(&mut self, sibling: Offset) {
        self.no_room = false;
        let Some(unstored) = self.unstored.pop_front() else {
            return;
        };
        let entries = unstored.entries;
        if let Some(name) = unstored.names {
            self.naming.insert(name, sibling);
            self.named = sibling;
        }
        let made = unstored.makes.map(Awaited::Made);
        let answers = unstored.answers.into_iter().map(Awaited::Answer);
        let naming = &self.naming;
        let wait = |what| Waiting {
            sibling,
            name: name_of(&what)
                .and_then(|name| naming.get(name).copied())
                .unwrap_or_default(),
            entries,
            what,
        };
        self.waiting
            .extend(made.into_iter().chain(answers).map(wait));
    }

    /// Notes that the first record finds no room in the log.
    pub(crate) fn found_no_room(&mut self) {
        self.no_room = true;
    }

    /// Whether records wait for a segment.
    pub(crate) const fn wants_room(&self) -> bool {
        self.no_room
    }

    /// Notes that a cursor has moved; the receipt, if one is wanted, goes when that is durable.
    pub(crate) fn cursor_moved(&mut self, subscription: u64, receipt: Option<Answer>) {
        match self.moved.iter_mut().find(|(id, _)| *id == subscription) {
            Some((_, answers)) => answers.extend(receipt),
            None => self
                .moved
                .push_back((subscription, receipt.into_iter().collect())),
        }
    }

    /// Takes the first subscription whose cursor has moved.
    pub(crate) fn take_moved(&mut self) -> Option<(u64, Vec<Answer>)> {
        self.moved.pop_front()
    }

    /// Whether the stream waits for an answer before which it neither stores nor is sent anything.
    pub(crate) fn gates(&self, stream: StreamKey) -> bool {
        self.gated.contains_key(&stream)
    }

    /// Whether the making of this subscription may yet be forgotten.
    pub(crate) fn makes(&self, subscription: u64) -> bool {
        self.making.contains(&subscription)
    }

    /// Whether everything asked for so far is stored and answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.unstored.is_empty()
            && self.waiting.is_empty()
            && self.unnamed.is_empty()
            && self.moved.is_empty()
    }

    /// Whether the log holds the name of a producer that a loss of power could take from it when
    /// it is synced up to `synced`.
    pub(crate) fn wants_sync(&self, synced: Offset) -> bool {
        self.named > synced
    }

    /// Whether every record so far is in the log, durable or not.
    pub(crate) fn is_stored(&self) -> bool {
        self.unstored.is_empty()
    }

    /// Whether somebody waits to be told something.
    pub(crate) fn owes(&self) -> bool {
        !self.waiting.is_empty()
            || !self.unnamed.is_empty()
            || self.unstored.iter().any(|u| !u.answers.is_empty())
            || self.moved.iter().any(|(_, answers)| !answers.is_empty())
    }

    /// Takes the next answer that is due.
    pub(crate) fn due(&mut self, reached: Reached) -> Option<Answer> {
        let synced = reached.sibling_synced;
        if synced > self.synced {
            self.synced = synced;
            self.naming.retain(|_, end| *end > synced);
        }
        if self
            .unnamed
            .front()
            .is_some_and(|(name, _)| *name <= synced)
        {
            let (_, answer) = self.unnamed.pop_front()?;
            self.passed(&answer);
            return Some(answer);
        }
        loop {
            let first = self.waiting.front()?;
            if first.sibling > reached.sibling || first.entries > reached.entries {
                return None;
            }
            let Waiting { name, what, .. } = self.waiting.pop_front()?;
            match what {
                Awaited::Answer(answer) if name > synced => self.unnamed.push_back((name, answer)),
                Awaited::Answer(answer) => {
                    self.passed(&answer);
                    return Some(answer);
                }
                Awaited::Made(subscription) => {
                    self.making.remove(&subscription);
                }
            }
        }
    }

    /// Drops the answers for a stream that is gone; the records stay.
    pub(crate) fn forget(&mut self, stream: StreamKey) {
        self.waiting.retain(|waiting| !waiting.what.is_for(stream));
        self.unnamed.retain(|(_, answer)| answer.to != stream);
        let unstored = self.unstored.iter_mut().map(|u| &mut u.answers);
        let moved = self.moved.iter_mut().map(|(_, answers)| answers);
        for answers in unstored.chain(moved) {
            answers.retain(|answer| answer.to != stream);
        }
        self.gated.remove(&stream);
    }

    /// Takes the answers that wait for records which are not in the log; the records stay.
    pub(crate) fn take_unstored_answers(&mut self) -> Vec<Answer> {
        let unstored = self.unstored.iter_mut().map(|u| &mut u.answers);
        let moved = self.moved.iter_mut().map(|(_, answers)| answers);
        let taken: Vec<_> = unstored.chain(moved).flat_map(std::mem::take).collect();
        self.unstored.retain(|u| u.record.is_some());
        for answer in &taken {
            self.passed(answer);
        }
        taken
    }

    /// Takes every answer, due or not, and gives up the records: when the log has failed. What was
    /// in the making stays so.
    pub(crate) fn drain(&mut self) -> Vec<Answer> {
        self.no_room = false;
        self.gated.clear();
        let unnamed = self.unnamed.drain(..).map(|(_, answer)| answer);
        let waiting = self.waiting.drain(..).filter_map(|w| w.what.into_answer());
        let unstored = self.unstored.drain(..).flat_map(|u| u.answers);
        let moved = self.moved.drain(..).flat_map(|(_, answers)| answers);
        let waiting = unnamed.chain(waiting);
        waiting.chain(unstored).chain(moved).collect()
    }

    /// An answer has left.
    fn passed(&mut self, answer: &Answer) {
        if answer.is_gate()
            && let Some(gates) = self.gated.get_mut(&answer.to)
        {
            *gates -= 1;
            if *gates == 0 {
                self.gated.remove(&answer.to);
            }
        }
    }
}
