//! Where `--until-end` ends: at the high watermarks that there were at the start.

use std::collections::BTreeMap;

use hulse_client::json::SubscriptionDescription;
use hulse_client::{MessageId, Offset, PartitionMarks};

/// The partitions of which something is still to come.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The high watermark of each partition at the start.
    watermarks: BTreeMap<i32, Offset>,
    /// Those partitions that have not come to it.
    open: BTreeMap<i32, Offset>,
    /// Messages come in order, so that the last one says that all have come.
    in_order: bool,
}

impl Ends {
    /// The ends for a subscription that stands at these marks, and whose messages come in order.
    pub(crate) fn new(marks: &[PartitionMarks]) -> Self {
        Self::with(marks, true)
    }

    /// The same for one whose messages go to several consumers, in any order: what comes to one of
    /// them says nothing, so that it is only the broker's word that ends a partition.
    pub(crate) fn of_many(marks: &[PartitionMarks]) -> Self {
        Self::with(marks, false)
    }

    fn with(marks: &[PartitionMarks], in_order: bool) -> Self {
        let ends = |one: &PartitionMarks| (one.partition, one.high_watermark);
        let unfinished = |one: &&PartitionMarks| {
            one.mark.offset < one.high_watermark && one.log_start < one.high_watermark
        };
        Self {
            watermarks: marks.iter().map(ends).collect(),
            open: marks.iter().filter(unfinished).map(ends).collect(),
            in_order,
        }
    }

    /// Whether what comes says when it is the end.
    pub(crate) const fn are_in_order(&self) -> bool {
        self.in_order
    }

    /// Whether everything has come.
    pub(crate) fn reached(&self) -> bool {
        self.open.is_empty()
    }

    /// A message came, of a batch with so many. Gives whether it is one of those that are wanted.
    pub(crate) fn received(&mut self, id: &MessageId, batch_messages: u32) -> bool {
        let Some(watermark) = self.watermarks.get(&id.partition) else {
            return true;
        };
        let wanted = id.offset < *watermark;
        let last_of_batch = u32::try_from(id.index).is_ok_and(|index| index + 1 >= batch_messages);
        let last = id.offset.next() >= *watermark && last_of_batch;
        if self.in_order && (!wanted || last) {
            self.open.remove(&id.partition);
        }
        wanted
    }

    /// The broker says where the subscription stands. Nothing comes of what was acknowledged out
    /// of order before, or has gone to another consumer, so this is how its end is found.
    pub(crate) fn stands(&mut self, subscription: &SubscriptionDescription) {
        let Some(watermark) = self.open.get(&subscription.partition) else {
            return;
        };
        let mark = subscription
            .mark
            .split('.')
            .next()
            .and_then(|offset| offset.parse().ok());
        if subscription.backlog_entries == 0 || mark.is_some_and(|mark| Offset(mark) >= *watermark)
        {
            self.open.remove(&subscription.partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_client::Position;

    fn marks(partition: i32, mark: u64, log_start: u64, high_watermark: u64) -> PartitionMarks {
        PartitionMarks {
            partition,
            mark: Position::at(Offset(mark)),
            log_start: Offset(log_start),
            high_watermark: Offset(high_watermark),
            created: false,
        }
    }

    fn id(text: &str) -> MessageId {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_empty_or_acknowledged_is_at_its_end() {
        assert!(Ends::new(&[marks(-1, 0, 0, 0)]).reached());
        assert!(Ends::new(&[marks(0, 9, 0, 9), marks(1, 3, 9, 9)]).reached());
        assert!(!Ends::new(&[marks(0, 9, 0, 9), marks(1, 8, 0, 9)]).reached());
    }

    #[test]
    fn the_end_is_the_last_message_of_the_last_entry_of_every_partition() {
        let mut ends = Ends::new(&[marks(0, 0, 0, 2), marks(1, 0, 0, 1)]);
        assert!(ends.received(&id("1:1:0:0"), 2));
        assert!(ends.received(&id("1:0:1:0"), 1));
        assert!(!ends.reached());
        assert!(ends.received(&id("1:1:0:1"), 2));
        assert!(ends.reached());
    }

    #[test]
    fn what_came_later_is_not_wanted_and_ends_its_partition() {
        let mut ends = Ends::new(&[marks(-1, 0, 0, 2)]);
        assert!(ends.received(&id("1:0:-1:0"), 1));
        assert!(!ends.received(&id("1:2:-1:0"), 1));
        assert!(ends.reached());
        let mut done = Ends::new(&[marks(-1, 5, 0, 5)]);
        assert!(!done.received(&id("1:5:-1:0"), 1));
    }

    #[test]
    fn where_many_consume_what_comes_ends_nothing() {
        let mut ends = Ends::of_many(&[marks(-1, 0, 0, 2)]);
        assert!(ends.received(&id("1:1:-1:0"), 1), "the last one");
        assert!(!ends.received(&id("1:2:-1:0"), 1), "one behind it");
        assert!(!ends.reached());
        ends.stands(&SubscriptionDescription {
            partition: -1,
            mark: "2.0".to_owned(),
            backlog_entries: 7,
            ..SubscriptionDescription::default()
        });
        assert!(ends.reached());
        assert!(Ends::of_many(&[marks(-1, 2, 0, 2)]).reached());
    }

    #[test]
    fn the_brokers_word_ends_what_never_comes() {
        let mut ends = Ends::new(&[marks(0, 0, 0, 4), marks(1, 0, 0, 4)]);
        let mut described = SubscriptionDescription {
            partition: 0,
            mark: "3.1".to_owned(),
            backlog_entries: 1,
            ..SubscriptionDescription::default()
        };
        ends.stands(&described);
        assert_eq!(ends.open.len(), 2);
        described.mark = "4.0".to_owned();
        ends.stands(&described);
        assert_eq!(ends.open.len(), 1);
        described.partition = 1;
        described.mark = "3.9".to_owned();
        described.backlog_entries = 0;
        ends.stands(&described);
        assert!(ends.reached());
    }
}
