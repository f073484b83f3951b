//! Who is told of a store's changes.

use flume::{Receiver, Sender};

use crate::store::{Event, WATCH_EVENTS_MAX};

/// The open watches of one store. It is held under the lock that orders the store's changes, so
/// that every reader sees them in the order of versions.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    open: Vec<(String, Sender<Event>)>,
}

impl Watchers {
    pub(crate) fn watch(&mut self, prefix: &str) -> Receiver<Event> {
        let (sender, receiver) = flume::bounded(WATCH_EVENTS_MAX);
        self.open.retain(|(_, sender)| !sender.is_disconnected());
        self.open.push((prefix.to_owned(), sender));
        receiver
    }

    /// Tells every watch what concerns it. A reader that is too slow loses its watch, which it
    /// notices after it has read what is queued.
    pub(crate) fn tell(&mut self, events: &[Event]) {
        self.open.retain(|(prefix, sender)| {
            events
                .iter()
                .filter(|event| event.key.starts_with(prefix))
                .all(|event| sender.try_send(event.clone()).is_ok())
        });
    }
}
