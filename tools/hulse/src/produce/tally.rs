//! What became of the messages, in the order of the input.

use std::collections::VecDeque;

use hulse_client::{ClientError, MessageId, SendHandle};
use serde::Serialize;

/// What became of the messages so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages that have no receipt yet, in the order of the input.
    waiting: VecDeque<SendHandle>,
    summary: Summary,
    /// Why the first message failed that did.
    failure: Option<ClientError>,
}

/// The last line of the command, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Messages that are acknowledged.
    pub(crate) acked: u64,
    /// Messages that were read and are not known to be stored.
    pub(crate) failed: u64,
    /// The id of the first message that was acknowledged.
    pub(crate) first: Option<MessageId>,
    /// The id of the last one.
    pub(crate) last: Option<MessageId>,
}

impl Tally {
    /// Takes over a message that is on its way.
    pub(crate) fn sent(&mut self, handle: SendHandle) {
        self.waiting.push_back(handle);
    }

    /// Counts a message that could not even be sent.
    pub(crate) fn refused(&mut self) {
        self.summary.failed += 1;
    }

    /// Counts every outcome that is known, as far as no earlier one is missing.
    ///
    /// # Errors
    /// Why a message failed, if one did.
    pub(crate) fn collect(&mut self) -> Result<(), ClientError> {
        while let Some(outcome) = self.waiting.front().and_then(SendHandle::try_id) {
            self.waiting.pop_front();
            self.count(outcome);
        }
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    /// Waits for every outcome.
    ///
    /// # Errors
    /// Why the first message failed that did.
    pub(crate) async fn finish(&mut self) -> Result<(), ClientError> {
        while let Some(handle) = self.waiting.front_mut() {
            let outcome = handle.await;
            self.waiting.pop_front();
            self.count(outcome);
        }
        self.collect()
    }

    /// The end of it: what has no receipt now counts as failed.
    pub(crate) fn end(mut self) -> Summary {
        // Whether one failed is in the numbers.
        let _ = self.collect();
        // What stands behind a message without a receipt may have one all the same.
        for outcome in std::mem::take(&mut self.waiting)
            .iter()
            .map(SendHandle::try_id)
        {
            self.count(outcome.unwrap_or(Err(ClientError::Closed)));
        }
        self.summary
    }

    /// Messages that are acknowledged.
    pub(crate) const fn acked(&self) -> u64 {
        self.summary.acked
    }

    fn count(&mut self, outcome: Result<MessageId, ClientError>) {
        match outcome {
            Ok(id) => self.summary.acknowledged(Some(id)),
            Err(ClientError::IdForgotten { .. }) => self.summary.acknowledged(None),
            Err(error) => {
                self.summary.failed += 1;
                self.failure.get_or_insert(error);
            }
        }
    }
}

impl Summary {
    fn acknowledged(&mut self, id: Option<MessageId>) {
        self.acked += 1;
        if let Some(id) = id {
            self.first.get_or_insert(id);
            self.last = Some(id);
        }
    }

    /// The summary as JSON.
    pub(crate) fn json(&self) -> impl Serialize + use<> {
        #[derive(Serialize)]
        struct Json {
            acked: u64,
            failed: u64,
            first: Option<String>,
            last: Option<String>,
        }
        let text = |id: Option<MessageId>| id.map(|id| id.to_string());
        Json {
            acked: self.acked,
            failed: self.failed,
            first: text(self.first),
            last: text(self.last),
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |id: Option<MessageId>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let Self {
            acked,
            failed,
            first,
            last,
        } = self;
        write!(
            f,
            "acked={acked} failed={failed} first={} last={}",
            text(*first),
            text(*last)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MessageId {
        text.parse().unwrap()
    }

    #[test]
    fn the_summary_is_the_contract() {
        let mut tally = Tally::default();
        assert_eq!(tally.summary.to_string(), "acked=0 failed=0 first=- last=-");
        for text in ["1:0:-1:0", "1:0:-1:1", "2:1:-1:0"] {
            tally.count(Ok(id(text)));
        }
        tally.refused();
        assert!(tally.collect().is_ok());
        assert_eq!(
            tally.end().to_string(),
            "acked=3 failed=1 first=1:0:-1:0 last=2:1:-1:0"
        );
    }

    #[test]
    fn a_repetition_whose_id_is_forgotten_is_stored() {
        let mut tally = Tally::default();
        tally.count(Err(ClientError::IdForgotten { sequence: 5 }));
        tally.count(Ok(id("3:9:2:7")));
        assert!(tally.collect().is_ok());
        assert_eq!(
            tally.end().to_string(),
            "acked=2 failed=0 first=3:9:2:7 last=3:9:2:7"
        );
    }

    #[test]
    fn the_first_failure_is_the_one_that_is_told() {
        let mut tally = Tally::default();
        tally.count(Ok(id("1:0:-1:0")));
        tally.count(Err(ClientError::InvalidArgument {
            what: "first".to_owned(),
        }));
        tally.count(Err(ClientError::Closed));
        assert_eq!(tally.collect().unwrap_err().to_string(), "first");
        let summary = tally.end();
        assert_eq!((summary.acked, summary.failed), (1, 2));
        let json = serde_json::to_string(&summary.json()).unwrap();
        assert_eq!(
            json,
            r#"{"acked":1,"failed":2,"first":"1:0:-1:0","last":"1:0:-1:0"}"#
        );
    }
}
