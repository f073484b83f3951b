//! Handing messages out.

use hulse_model::MessageId;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::consumer::Consumer;
use crate::consumer::dead_letters::Room;
use crate::consumer::inbox::{Grant, Taken};
use crate::consumer::received::Received;
use crate::error::ClientError;

impl Consumer {
    /// The next message. Waits until there is one; to drop the future loses none.
    ///
    /// # Errors
    /// - [`ClientError::DataCorrupted`]: what comes next on a partition is damaged. The partition
    ///   waits until the subscription is moved ([`seek`](Self::seek)); others go on.
    /// - [`ClientError::Undecodable`]: an entry that another kind of producer wrote. The next call
    ///   goes on behind it.
    /// - [`ClientError::Corrupt`]: bytes were damaged on the way. The connection is opened anew and
    ///   nothing is lost; the next call goes on.
    /// - [`ClientError::DeadLetter`]: a message that came too often could not be published where
    ///   those go. It comes again; the next call goes on.
    /// - The cause for which there has been no connection for as long as an operation may take.
    ///   The next call waits for another such time.
    /// - What the broker refuses for good, and [`ClientError::Closed`]: at every further call.
    pub async fn receive(&self) -> Result<Received, ClientError> {
        // A caller that never has to wait would keep everything else on its thread from running.
        consume_budget().await;
        if let Some(commit) = &self.auto_commit {
            commit.asked();
        }
        loop {
            // What is taken out has somewhere to go, whatever it is.
            let room = match &self.dead_letters {
                Some(letters) => Some(letters.room().await?),
                None => None,
            };
            let mut grants = Vec::new();
            let (taken, more) = {
                let mut inbox = self.inbox.lock();
                (inbox.take(&mut grants), inbox.has_items())
            };
            self.grant(grants);
            if more {
                // Another caller may wait for what is left.
                self.inbox.notify();
            }
            match taken {
                Taken::Message(message) => {
                    if let Some(message) = self.handed_out(message, room) {
                        return Ok(message);
                    }
                }
                Taken::Error(error) => return Err(error),
                Taken::Nothing => {
                    drop(room);
                    self.inbox.filled().await;
                }
            }
        }
    }

    /// Waits for a message and takes with it what else is there, up to `max` (at least one).
    ///
    /// # Errors
    /// As [`receive`](Self::receive), and only when there is no message before the error.
    pub async fn receive_many(&self, max: usize) -> Result<Vec<Received>, ClientError> {
        let mut messages = vec![self.receive().await?];
        let mut grants = Vec::new();
        let mut dead = Vec::new();
        {
            let mut inbox = self.inbox.lock();
            while messages.len() < max && inbox.has_items() {
                let room = self.dead_letters.as_ref().map(|letters| letters.room_now());
                if matches!(room, Some(None)) {
                    break;
                }
                match inbox.take(&mut grants) {
                    Taken::Message(message) => match room.flatten() {
                        Some(room) if self.is_dead(&message) => dead.push((message, room)),
                        _ => messages.push(message),
                    },
                    Taken::Error(error) => {
                        inbox.put_back(error);
                        break;
                    }
                    Taken::Nothing => break,
                }
            }
        }
        self.grant(grants);
        for (message, room) in dead {
            room.send(message);
        }
        if let Some(commit) = &self.auto_commit {
            // As below.
            commit.handed_out(messages[1..].iter().map(Received::message_id));
        }
        if self.ack_timeout {
            let now = Instant::now();
            // The first has been counted already.
            for message in &messages[1..] {
                self.count(&message.message_id(), now);
            }
        }
        Ok(messages)
    }

    /// Passes a message on to the application; `None` when it came too often, and goes where dead
    /// letters go.
    fn handed_out(&self, message: Received, room: Option<Room<'_>>) -> Option<Received> {
        if let Some(room) = room
            && self.is_dead(&message)
        {
            room.send(message);
            return None;
        }
        if self.ack_timeout {
            self.count(&message.message_id(), Instant::now());
        }
        if let Some(commit) = &self.auto_commit {
            commit.handed_out([message.message_id()]);
        }
        Some(message)
    }

    fn is_dead(&self, message: &Received) -> bool {
        let letters = self.dead_letters.as_ref();
        letters.is_some_and(|letters| letters.takes(message))
    }

    /// The acknowledgement of a message is waited for from now on.
    fn count(&self, id: &MessageId, now: Instant) {
        if let (Ok(partition), Ok(index)) = (self.partition(id.partition), u32::try_from(id.index))
        {
            partition.handed_out(id.offset, index, now);
        }
    }

    fn grant(&self, grants: Vec<Grant>) {
        for grant in grants {
            self.partitions.list[grant.lane].grant(grant);
        }
    }
}
