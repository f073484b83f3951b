//! What must hold, whatever happens: it hears everything that is asked and everything that is
//! told, and stops the test when the two do not fit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hulse_log::PartitionStore;
use hulse_log::sim::SimDisk;
use hulse_model::{Offset, Position, Status, Term};
use hulse_shard::{Receipt, StreamKey};

use crate::covered::Covered;
use crate::rim::{Delivered, PARTITION};

/// A batch: whose it is, its first sequence number, and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) producer: usize,
    pub(crate) sequence: u64,
    pub(crate) messages: u32,
    pub(crate) payload: Vec<u8>,
}

/// One subscription as its clients know it.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// Somebody was told that it exists.
    exists: bool,
    /// Acknowledged at some time since the last seek: nothing else may be passed over.
    ever: Covered,
    /// Acknowledged since then, and since the last start unless with a receipt: nothing of it may
    /// come again.
    now: Covered,
    /// Acknowledged with a receipt.
    durable: Covered,
    /// It was set to another place at some time.
    sought: bool,
    /// It stands where it was set to, or where it stood before with all that was acknowledged
    /// then: a crash came before the answer. Only its receipts are checked.
    adrift: bool,
    /// How often it was set. An acknowledgement from before a seek proves nothing after it.
    seeks: u64,
}

/// The messages of an acknowledgement, and the seeks before it.
#[derive(Debug, Clone)]
struct Acknowledged {
    subscription: usize,
    messages: Covered,
    seeks: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// Every batch that was ever sent, by producer and sequence number.
    sent: BTreeMap<(usize, u64), Batch>,
    /// The ids that producers were told.
    ids: BTreeMap<(usize, u64), (Term, Offset)>,
    /// Batches that are said to be stored, without an id.
    somewhere: BTreeSet<(usize, u64)>,
    /// Producers that were told that their name is open: it is never forgotten again.
    named: BTreeSet<usize>,
    /// Messages of the entries that were seen.
    counts: BTreeMap<u64, u32>,
    pub(crate) subscriptions: BTreeMap<usize, Subscription>,
    /// Requests that are owed an answer.
    owed: BTreeSet<(StreamKey, u64)>,
    /// Batches that are owed a receipt, as sent: sequence number and correlation id.
    batches: BTreeMap<StreamKey, VecDeque<(usize, u64, u64)>>,
    /// Streams on which a batch was refused: those behind it may be refused for the gap.
    gaps: BTreeSet<StreamKey>,
    closed: BTreeSet<StreamKey>,
    /// Acknowledgements that are owed an answer.
    acknowledging: BTreeMap<(StreamKey, u64), Acknowledged>,
    /// Subscriptions whose seek was refused after it had been begun: it may be made or not.
    pub(crate) unsettled: BTreeSet<usize>,
    /// A loss of power at `memory` has taken what was promised only for the process's end.
    forgiven: bool,
}

impl Checker {
    /// A request was taken that is owed an answer.
    pub(crate) fn asked(&mut self, to: StreamKey, correlation: u64) {
        assert!(
            self.owed.insert((to, correlation)),
            "a correlation id was used twice"
        );
    }

    /// A batch was taken.
    pub(crate) fn produced(&mut self, to: StreamKey, correlation: u64, batch: &Batch) {
        let key = (batch.producer, batch.sequence);
        let known = self.sent.entry(key).or_insert_with(|| batch.clone());
        assert_eq!(known, batch, "the test sends a retry as it was");
        let owed = self.batches.entry(to).or_default();
        owed.push_back((batch.producer, batch.sequence, correlation));
    }

    /// A close was taken: from now on nothing comes for the stream but its end.
    pub(crate) fn closing(&mut self, to: StreamKey, correlation: u64) {
        self.owed
            .retain(|(stream, id)| *stream != to || *id == correlation);
        self.batches.remove(&to);
    }

    pub(crate) fn told_closed(&mut self, to: StreamKey) {
        self.closed.insert(to);
    }

    /// The connection is gone, and nobody hears anything more.
    pub(crate) fn disconnected(&mut self, connection: u64) {
        self.owed.retain(|(to, _)| to.connection != connection);
        self.batches.retain(|to, _| to.connection != connection);
    }

    /// Something is told to a stream.
    pub(crate) fn told(&self, to: StreamKey) {
        assert!(
            !self.closed.contains(&to),
            "{to:?} hears something after its end"
        );
    }

    /// A request is answered.
    pub(crate) fn answered(&mut self, to: StreamKey, correlation: u64) {
        assert!(
            self.owed.remove(&(to, correlation)),
            "request {correlation} of {to:?} is answered twice or was never made"
        );
    }

    /// A batch is refused.
    pub(crate) fn batch_refused(&mut self, to: StreamKey, correlation: u64, status: Status) {
        let owed = self
            .batches
            .get_mut(&to)
            .expect("the stream has sent batches");
        let at = owed.iter().position(|(_, _, id)| *id == correlation);
        owed.remove(at.expect("the batch is owed an answer"));
        let expected = match status {
            Status::SequenceGap => self.gaps.contains(&to),
            Status::DiskFull
            | Status::OverLimit
            | Status::BacklogQuota
            | Status::StorageFailed
            | Status::NotReady
            | Status::ProducerFenced
            | Status::ProtocolViolation => true,
            _ => false,
        };
        assert!(expected, "a batch is refused with {status}");
        self.gaps.insert(to);
    }

    /// A batch is stored. Returns its producer and sequence number.
    pub(crate) fn receipt(&mut self, to: StreamKey, receipt: &Receipt) -> (usize, u64) {
        let owed = self.batches.get_mut(&to).and_then(VecDeque::pop_front);
        let (producer, sequence, _) = owed.expect("a batch is owed a receipt");
        assert_eq!(
            receipt.sequence, sequence,
            "receipts come in the order of the batches"
        );
        let key = (producer, sequence);
        let sent = &self.sent[&key];
        assert_eq!(receipt.messages, sent.messages);
        let Some(id) = receipt.id else {
            assert!(receipt.duplicate, "a new batch has an id");
            self.somewhere.insert(key);
            return key;
        };
        self.entry_seen(id.1.0, receipt.messages);
        let known = self.ids.insert(key, id);
        assert!(
            known.is_none_or(|known| known == id) || self.forgiven,
            "a retry gets {id:?}, and had {known:?}"
        );
        key
    }

    /// A producer is told that its name is open. `chosen` says that it has left the epoch to the
    /// broker, which gives 0 to a name that it does not know.
    pub(crate) fn opened(&mut self, producer: usize, epoch: u64, chosen: bool) {
        let forgotten = chosen && epoch == 0 && self.named.contains(&producer);
        assert!(!forgotten, "the name of producer {producer} is forgotten");
        self.named.insert(producer);
    }

    /// The newest batch that the producer was told is stored.
    pub(crate) fn newest(&self, producer: usize) -> Option<u64> {
        if self.forgiven {
            return None;
        }
        let stored = self.ids.range((producer, 0)..=(producer, u64::MAX));
        let (_, sequence) = *stored.last()?.0;
        Some(sequence + u64::from(self.sent[&(producer, sequence)].messages) - 1)
    }

    /// A consumer is told that it is attached.
    pub(crate) fn subscribed(&mut self, subscription: usize, mark: Position, created: bool) {
        let known = self.subscriptions.entry(subscription).or_default();
        if created {
            assert!(
                !known.exists || self.forgiven,
                "a subscription was forgotten"
            );
        }
        if created || !known.exists {
            let seeks = known.seeks + 1;
            let at = || Covered::from(mark);
            *known = Subscription {
                exists: true,
                ever: at(),
                now: at(),
                durable: at(),
                sought: false,
                // Nobody has heard what became of one that is older.
                adrift: !created,
                seeks,
            };
        }
        assert!(
            known.adrift || mark <= known.ever.before || self.whole_before(subscription, mark),
            "the mark is beyond what was acknowledged"
        );
    }

    /// A consumer is told that it is attached, and its subscription has been set meanwhile.
    pub(crate) fn subscribed_and_set(&mut self, subscription: usize) {
        self.subscriptions.entry(subscription).or_default().exists = true;
    }

    /// Whether every message before `mark` was acknowledged at some time.
    fn whole_before(&self, subscription: usize, mark: Position) -> bool {
        let ever = &self.subscriptions[&subscription].ever;
        let whole = |offset: u64| ever.has_entry(offset, self.counts.get(&offset));
        (0..mark.offset.0).all(whole) && (0..mark.index).all(|index| ever.has(mark.offset.0, index))
    }

    /// An entry is delivered where `expected` or something behind it was to come. Returns how many
    /// of its messages are new to the consumer.
    pub(crate) fn delivered(
        &mut self,
        subscription: usize,
        expected: u64,
        delivered: &Delivered,
    ) -> u32 {
        let header = &delivered.header;
        let (offset, messages) = (header.offset.0, header.messages);
        self.entry_seen(offset, messages);
        assert!(
            offset >= expected,
            "entry {offset} comes where {expected} was next"
        );
        let known = &self.subscriptions[&subscription];
        for passed in expected..offset {
            assert!(
                known.adrift || known.ever.has_entry(passed, self.counts.get(&passed)),
                "entry {passed} is passed over and was not acknowledged"
            );
        }
        let skipped = |index: u32| {
            delivered
                .acked
                .iter()
                .any(|r| (r.first..=r.last).contains(&index))
        };
        let mut new = 0;
        for index in 0..messages {
            if skipped(index) {
                assert!(
                    known.adrift || known.ever.has(offset, index),
                    "{offset}:{index} is skipped in vain"
                );
                continue;
            }
            new += 1;
            assert!(
                !known.durable.has(offset, index),
                "{offset}:{index} comes again after its receipt"
            );
            assert!(
                !known.now.has(offset, index),
                "{offset}:{index} comes again"
            );
        }
        assert!(new > 0, "an entry is delivered of which nothing is left");
        new
    }

    fn entry_seen(&mut self, offset: u64, messages: u32) {
        let known = *self.counts.entry(offset).or_insert(messages);
        assert_eq!(known, messages, "entry {offset} is another one");
    }

    /// Messages are acknowledged by a request that was not refused at once.
    pub(crate) fn acknowledged(
        &mut self,
        subscription: usize,
        request: (StreamKey, u64),
        messages: &Covered,
    ) {
        let known = self.subscriptions.entry(subscription).or_default();
        known.ever.join(messages);
        known.now.join(messages);
        let acknowledged = Acknowledged {
            subscription,
            messages: messages.clone(),
            seeks: known.seeks,
        };
        self.acknowledging.insert(request, acknowledged);
    }

    /// A request of a stream was answered with a confirmation.
    pub(crate) fn acked(&mut self, to: StreamKey, correlation: u64) {
        let acknowledged = self.acknowledging.remove(&(to, correlation));
        let acknowledged = acknowledged.expect("something was acknowledged");
        let known = self.subscriptions.get_mut(&acknowledged.subscription);
        let known = known.expect("its subscription exists");
        if known.seeks == acknowledged.seeks {
            known.durable.join(&acknowledged.messages);
        }
    }

    /// The subscription was set to `position`.
    pub(crate) fn sought(&mut self, subscription: usize, position: Position) {
        let known = self.subscriptions.entry(subscription).or_default();
        known.seeks += 1;
        known.sought = true;
        known.adrift = false;
        known.ever = Covered::from(position);
        known.now = known.ever.clone();
        known.durable = Covered::default();
    }

    /// Where the subscription was set to last, or stood when it was first known.
    pub(crate) fn place(&self, subscription: usize) -> Position {
        self.subscriptions[&subscription].ever.before
    }

    /// Whether everything from `expected` to `end` is acknowledged.
    pub(crate) fn nothing_left(&self, subscription: usize, expected: u64, end: u64) -> bool {
        let known = &self.subscriptions[&subscription];
        let acknowledged = |offset| known.ever.has_entry(offset, self.counts.get(&offset));
        known.adrift || (expected..end).all(acknowledged)
    }

    /// Everybody has been answered.
    pub(crate) fn all_answered(&self) {
        assert!(self.owed.is_empty(), "never answered: {:?}", self.owed);
        let batches: Vec<_> = self
            .batches
            .iter()
            .filter(|(_, owed)| !owed.is_empty())
            .collect();
        assert!(batches.is_empty(), "never answered: {batches:?}");
    }

    /// The process has ended, and left `disk`. `lost` says that what was promised for the end of
    /// the process alone may be lost. `unsettled` are the subscriptions whose seek has no answer.
    pub(crate) fn restarted(&mut self, disk: &SimDisk, lost: bool, unsettled: &BTreeSet<usize>) {
        self.owed.clear();
        self.batches.clear();
        self.closed.clear();
        self.acknowledging.clear();
        let unsettled: BTreeSet<_> = self.unsettled.union(unsettled).copied().collect();
        self.unsettled.clear();
        self.forgiven |= lost;
        let log = read(disk);
        let end = Offset(log.len() as u64);
        if lost {
            self.ids.retain(|key, (term, offset)| {
                let found = usize::try_from(offset.0).ok().and_then(|at| log.get(at));
                found.is_some_and(|(it, payload)| it == term && *payload == self.sent[key].payload)
            });
            self.counts.retain(|offset, _| *offset < end.0);
        }
        for (key, (term, offset)) in &self.ids {
            let found = usize::try_from(offset.0).ok().and_then(|at| log.get(at));
            let Some((it, payload)) = found else {
                panic!("batch {key:?} had a receipt and is not in the log, which ends at {end}");
            };
            assert!(
                it == term && *payload == self.sent[key].payload,
                "batch {key:?} had a receipt for {term}:{offset}, where another one stands"
            );
        }
        for key in &self.somewhere {
            let stored = log
                .iter()
                .any(|(_, payload)| *payload == self.sent[key].payload);
            assert!(stored || self.forgiven, "batch {key:?} is stored nowhere");
        }
        let mut seen = BTreeSet::new();
        for (_, payload) in &log {
            assert!(seen.insert(payload), "a batch was stored twice");
        }
        for (subscription, known) in &mut self.subscriptions {
            if unsettled.contains(subscription) || (lost && known.sought) {
                // It stands where it stood, or where it was to be set.
                known.adrift = true;
            }
            if lost {
                // It may have been forgotten, and somebody else may make it again.
                known.exists = false;
                known.ever.cut(end);
                known.durable = Covered::default();
            }
            known.now = known.durable.clone();
        }
        self.gaps.clear();
    }
}

/// The term and the payload of every entry on the disk.
fn read(disk: &SimDisk) -> Vec<(Term, Vec<u8>)> {
    let disk = disk.fork();
    hulse_log::replay(&disk).unwrap();
    let (mut store, report) = PartitionStore::open(&disk, PARTITION).unwrap();
    assert!(report.entries.damaged.is_empty() && report.sibling.damaged.is_empty());
    let end = store.entries.end();
    let mut cursor = store.entries.cursor(Offset::ZERO);
    let mut entries = Vec::new();
    while let Some(entry) = store.entries.read(&mut cursor, end).unwrap() {
        entries.push((entry.header.term, entry.payload().to_vec()));
    }
    entries
}
