//! Acknowledging by itself what the application has done with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hulse_model::MessageId;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::consumer::acknowledging::Reach;
use crate::consumer::dead_letters::range;
use crate::consumer::partition::PartitionConsumer;

/// Messages that the application was handed, and whether it has done with them. Pure.
///
/// It has done with what it was handed when it asks for more.
#[derive(Debug)]
pub(super) struct Progress {
    /// Everything up to a message is acknowledged, and not each by itself.
    in_order: bool,
    /// What was handed out since the application asked last.
    in_hands: Vec<MessageId>,
    done: Vec<MessageId>,
    /// In order: the first message of a partition that is not done with. Nothing is acknowledged
    /// from there on.
    held: BTreeMap<i32, MessageId>,
}

impl Progress {
    pub(super) const fn new(in_order: bool) -> Self {
        Self {
            in_order,
            in_hands: Vec::new(),
            done: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    /// A message is handed out.
    pub(super) fn handed_out(&mut self, id: MessageId) {
        self.in_hands.push(id);
    }

    /// The application asks for more. Returns how many messages can be acknowledged now.
    pub(super) fn asked(&mut self) -> usize {
        self.done.append(&mut self.in_hands);
        self.done.len()
    }

    /// A message is not done with, though it was handed out.
    pub(super) fn not_done(&mut self, id: MessageId) {
        let other = |it: &MessageId| !is_in(*it, id);
        self.in_hands.retain(other);
        self.done.retain(other);
        if self.in_order {
            let held = self.held.entry(id.partition).or_insert(id);
            *held = id.min(*held);
        }
    }

    /// What can be acknowledged, taken out: in order, the last message of each partition.
    pub(super) fn take_done(&mut self) -> Vec<MessageId> {
        let done = std::mem::take(&mut self.done);
        if !self.in_order {
            return done;
        }
        let free = |id: &MessageId| self.held.get(&id.partition).is_none_or(|held| id < held);
        let mut last = BTreeMap::new();
        for id in done.into_iter().filter(free) {
            let of_partition = last.entry(id.partition).or_insert(id);
            *of_partition = id.max(*of_partition);
        }
        last.into_values().collect()
    }

    /// The subscription goes elsewhere.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.in_order);
    }
}

/// Whether a message is the one that is meant, or with an index of -1 one of the entry that is.
fn is_in(id: MessageId, meant: MessageId) -> bool {
    let entry = (id.partition, id.offset) == (meant.partition, meant.offset);
    entry && (meant.index < 0 || id.index == meant.index)
}

/// The progress of a consumer, and where it is sent.
pub(super) struct AutoCommit {
    /// Messages that are acknowledged at once when so many are done with.
    count: usize,
    progress: Mutex<Progress>,
    partitions: Vec<Arc<PartitionConsumer>>,
}

impl AutoCommit {
    /// Starts the task that acknowledges every `interval` what is done with.
    pub(super) fn start(
        (interval, count): (Duration, usize),
        in_order: bool,
        partitions: Vec<Arc<PartitionConsumer>>,
    ) -> (Arc<Self>, AbortHandle) {
        let commit = Arc::new(Self {
            count,
            progress: Mutex::new(Progress::new(in_order)),
            partitions,
        });
        let committing = Arc::clone(&commit);
        let task = tokio::spawn(async move {
            let mut ticks = interval_at(Instant::now() + interval, interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                committing.commit();
            }
        });
        (commit, task.abort_handle())
    }

    /// The application asks for more.
    pub(super) fn asked(&self) {
        if self.progress().asked() >= self.count {
            self.commit();
        }
    }

    /// Messages are handed out.
    pub(super) fn handed_out(&self, ids: impl IntoIterator<Item = MessageId>) {
        let mut progress = self.progress();
        ids.into_iter().for_each(|id| progress.handed_out(id));
    }

    /// A message is not done with.
    pub(super) fn not_done(&self, id: MessageId) {
        self.progress().not_done(id);
    }

    /// The subscription goes elsewhere.
    pub(super) fn clear(&self) {
        self.progress().clear();
    }

    /// Acknowledges everything that is done with.
    pub(super) fn commit(&self) {
        let mut progress = self.progress();
        let reach = match progress.in_order {
            true => Reach::UpTo,
            false => Reach::Range,
        };
        for id in progress.take_done() {
            let mut partitions = self.partitions.iter();
            if let Some(partition) = partitions.find(|it| it.partition == id.partition) {
                // It is kept until the broker has confirmed it. A consumer that has failed or is closed
                // leaves its messages to the next.
                let _ = partition.acknowledge(range(id), reach, false);
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hulse_model::{Offset, Term};

    use super::*;

    fn id(partition: i32, offset: u64) -> MessageId {
        MessageId {
            term: Term(1),
            offset: Offset(offset),
            partition,
            index: 0,
        }
    }

    #[test]
    fn what_is_in_the_applications_hands_is_not_done() {
        let mut progress = Progress::new(false);
        progress.handed_out(id(0, 1));
        assert_eq!(progress.take_done(), []);
        assert_eq!(progress.asked(), 1);
        progress.handed_out(id(0, 2));
        assert_eq!(progress.take_done(), [id(0, 1)]);
        assert_eq!(progress.take_done(), []);
        assert_eq!(progress.asked(), 1);
        assert_eq!(progress.take_done(), [id(0, 2)]);
    }

    #[test]
    fn in_order_the_last_of_each_partition_stands_for_all() {
        let mut progress = Progress::new(true);
        for one in [id(0, 1), id(1, 7), id(0, 2)] {
            progress.handed_out(one);
        }
        assert_eq!(progress.asked(), 3);
        assert_eq!(progress.take_done(), [id(0, 2), id(1, 7)]);
    }

    #[test]
    fn what_is_not_done_is_left_out_and_in_order_all_behind_it() {
        let mut progress = Progress::new(false);
        (1..=3).for_each(|offset| progress.handed_out(id(0, offset)));
        progress.not_done(id(0, 2));
        progress.asked();
        assert_eq!(progress.take_done(), [id(0, 1), id(0, 3)]);

        let mut progress = Progress::new(true);
        (1..=3).for_each(|offset| progress.handed_out(id(0, offset)));
        progress.handed_out(id(1, 9));
        progress.not_done(id(0, 2));
        progress.asked();
        assert_eq!(progress.take_done(), [id(0, 1), id(1, 9)]);
        progress.handed_out(id(0, 4));
        progress.asked();
        assert_eq!(progress.take_done(), []);
        // It goes on there.
        progress.clear();
        progress.handed_out(id(0, 2));
        progress.asked();
        assert_eq!(progress.take_done(), [id(0, 2)]);
    }
}
