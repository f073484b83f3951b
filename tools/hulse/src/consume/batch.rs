//! Messages that are written together and then acknowledged.

use std::collections::BTreeMap;

use hulse_client::MessageId;

/// Messages in the form in which they are written, with their ids.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// Where each message's text ends, and its id.
    ends: Vec<(usize, MessageId)>,
}

impl Batch {
    /// Notes that the text of the message `id` ends here.
    pub(crate) fn ended(&mut self, id: MessageId) {
        self.ends.push((self.text.len(), id));
    }

    /// Number of messages.
    pub(crate) const fn messages(&self) -> usize {
        self.ends.len()
    }

    /// The number of messages that lie wholly within the first `bytes` of the text.
    pub(crate) fn within(&self, bytes: usize) -> usize {
        self.ends.partition_point(|(end, _)| *end <= bytes)
    }

    /// The last of the first `messages`, of each partition: what a cumulative acknowledgement
    /// names. A message of each partition comes after those before it.
    pub(crate) fn last_ids(&self, messages: usize) -> BTreeMap<i32, MessageId> {
        self.ends[..messages]
            .iter()
            .map(|(_, id)| (id.partition, *id))
            .collect()
    }

    /// The first `messages`, each.
    pub(crate) fn ids(&self, messages: usize) -> impl Iterator<Item = MessageId> {
        self.ends[..messages].iter().map(|(_, id)| *id)
    }

    /// Those behind the first `messages`.
    pub(crate) fn rest(&self, messages: usize) -> impl Iterator<Item = MessageId> {
        self.ends[messages..].iter().map(|(_, id)| *id)
    }

    /// Empties it and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_is_what_was_written_whole() {
        let mut batch = Batch::default();
        for (text, id) in [("ab\n", "1:0:0:0"), ("c\n", "1:7:1:0"), ("\n", "1:0:0:1")] {
            batch.text.extend_from_slice(text.as_bytes());
            batch.ended(id.parse().unwrap());
        }
        assert_eq!(batch.messages(), 3);
        let counts: Vec<usize> = (0..=6).map(|bytes| batch.within(bytes)).collect();
        assert_eq!(counts, [0, 0, 0, 1, 1, 2, 3]);
        let ids = |messages| {
            let ids = batch.last_ids(messages);
            ids.values().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ids(0), [""; 0]);
        assert_eq!(ids(1), ["1:0:0:0"]);
        assert_eq!(ids(3), ["1:0:0:1", "1:7:1:0"]);
        let each: Vec<_> = batch.ids(2).map(|id| id.to_string()).collect();
        assert_eq!(each, ["1:0:0:0", "1:7:1:0"]);
        let rest: Vec<_> = batch.rest(2).map(|id| id.to_string()).collect();
        assert_eq!(rest, ["1:0:0:1"]);
        batch.clear();
        assert_eq!((batch.messages(), batch.text.len()), (0, 0));
    }
}
