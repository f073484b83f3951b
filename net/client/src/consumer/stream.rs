//! What comes over the stream of a partition's consumer, and what is put off until it is written.

use std::sync::Arc;

use bytes::Bytes;
use hulse_model::{Entry, Status};
use hulse_wire::{Ack, Deliver, ErrorReply, Redeliver, Reply, Request};

use crate::connection::{IncomingFrame, StreamHandler};
use crate::consumer::delivery::Delivery;
use crate::consumer::inbox::Grant;
use crate::consumer::partition::{PartitionConsumer, State};
use crate::consumer::seen::SkipSeen;
use crate::error::ClientError;

/// The handler of one stream of a partition's consumer. What comes from a stream that is not the
/// present one is not looked at.
pub(super) struct ConsumerStream {
    pub(super) owner: Arc<PartitionConsumer>,
    pub(super) generation: u64,
}

impl StreamHandler for ConsumerStream {
    fn on_frame(&self, frame: &IncomingFrame) -> Result<(), String> {
        let owner = &self.owner;
        let reply = frame.reply().map_err(|error| error.to_string())?;
        if let Reply::Deliver(deliver) = &reply {
            let delivered = owner.on_delivery(self.generation, deliver, frame.payload());
            return delivered.inspect_err(|what| {
                let error = ClientError::corrupt(&self.address(), &what);
                owner.inbox.lock().trouble(owner.lane, error);
                owner.inbox.notify();
            });
        }
        let mut state = owner.state();
        if state.generation != self.generation {
            return Ok(());
        }
        let correlation = frame.correlation();
        match reply {
            Reply::Acked => {
                let receipt = state.acks.confirmed(correlation);
                owner.mark(&mut state);
                drop(state);
                if let Some(receipt) = receipt {
                    receipt.complete(Ok(()));
                }
            }
            Reply::Done
                if state
                    .seek
                    .as_ref()
                    .is_some_and(|s| s.correlation == correlation) =>
            {
                let grant = owner.on_seek_done(&mut state);
                drop(state);
                if let Some(grant) = grant {
                    owner.grant(grant);
                }
            }
            Reply::Last(last) => {
                if let Some(asked) = state.last_asked.remove(&correlation) {
                    // A caller that has just given up is no reason for anything.
                    let _ = asked.send(Ok(last));
                }
            }
            Reply::Active(active) if state.activity.changes => {
                owner.on_active(&mut state, active.active);
            }
            Reply::Error(error) if correlation == 0 => {
                drop(state);
                owner.on_stream_end(&error);
            }
            Reply::Error(error) => owner.on_refusal(&mut state, correlation, &error),
            // The answer to a request that nobody waits for any more.
            _ if correlation > 0 => {}
            _ => return Err(format!("{} on a consumer's stream", frame.kind())),
        }
        Ok(())
    }

    fn on_lost(&self, cause: &ClientError) {
        let mut state = self.owner.state();
        if state.generation == self.generation && state.link.is_some() {
            state.lose(cause.clone());
            self.owner.wake.notify_one();
        }
    }

    fn write_pending(&self) {
        let mut state = self.owner.state();
        if state.generation != self.generation {
            return;
        }
        state.marked = false;
        let written = write_acks(&mut state);
        if let Err(cause) = written.and_then(|()| self.owner.write_redeliveries(&mut state)) {
            state.lose(cause);
            self.owner.wake.notify_one();
        }
    }
}

fn write_acks(state: &mut State) -> Result<(), ClientError> {
    let State {
        link: Some(link),
        acks,
        ..
    } = state
    else {
        return Ok(());
    };
    let connection = link.slot.connection();
    while let Some((correlation, frame)) = acks.next(|| connection.correlation()) {
        let ack = Ack {
            kind: frame.kind,
            ranges: frame.ranges[..].into(),
        };
        link.slot
            .send(correlation, &Request::Ack(ack), &Bytes::new())?;
    }
    Ok(())
}

impl ConsumerStream {
    fn address(&self) -> String {
        let state = self.owner.state();
        state
            .link
            .as_ref()
            .map_or_else(String::new, |it| it.slot.connection().address().to_owned())
    }
}

impl PartitionConsumer {
    fn on_delivery(
        &self,
        generation: u64,
        deliver: &Deliver<'_>,
        entry: Bytes,
    ) -> Result<(), String> {
        let header = match Entry::decode(deliver.entry) {
            Ok(decoded) if decoded.header.format.messages_at().is_some() => decoded.header,
            Ok(_) => return Err("a record was delivered as an entry".to_owned()),
            Err(error) => return Err(format!("a delivered entry is damaged: {error}")),
        };
        let acked = deliver.acked.iter().collect();
        let delivery = Delivery::new(header, entry, acked, deliver.redelivery_count);
        let (kept, grant) = {
            let mut inbox = self.inbox.lock();
            (
                inbox.arrived(self.lane, generation, delivery),
                inbox.grant(self.lane),
            )
        };
        if kept {
            self.inbox.notify();
        }
        if let Some(grant) = grant {
            self.grant(grant);
        }
        Ok(())
    }

    /// Asks for the entries whose time has come. What waits of them here is dropped, and gives its
    /// permits back.
    fn write_redeliveries(&self, state: &mut State) -> Result<(), ClientError> {
        let settings = &self.settings;
        // Without a memory of what was handed out, what waits would be handed out twice.
        let from_first_on = !settings.kind.is_shared() && settings.skip_seen == SkipSeen::Nothing;
        while state.may_redeliver()
            && let Some(link) = &state.link
            && let Some(entries) = state.redelivery.next_frame()
        {
            let grant = {
                let mut inbox = self.inbox.lock();
                inbox.forget(self.lane, &entries, from_first_on);
                inbox.grant(self.lane)
            };
            let redeliver = Redeliver {
                entries: entries[..].into(),
            };
            link.slot
                .send(0, &Request::Redeliver(redeliver), &Bytes::new())?;
            self.permit(state, grant.map_or(0, |grant| grant.permits));
        }
        Ok(())
    }

    /// Of a failover subscription: whether the messages come to this consumer from now on.
    fn on_active(&self, state: &mut State, active: bool) {
        state.activity.set(active);
        if !active {
            // What it held goes to another consumer, also what waits here.
            self.given_out_anew(state);
            let grant = {
                let mut inbox = self.inbox.lock();
                inbox.retire(self.lane);
                inbox.grant(self.lane)
            };
            self.permit(state, grant.map_or(0, |grant| grant.permits));
        }
    }

    fn on_seek_done(&self, state: &mut State) -> Option<Grant> {
        let seek = state.seek.take()?;
        state.redelivery.clear();
        let mut inbox = self.inbox.lock();
        inbox.moved(self.lane);
        let grant = inbox.grant(self.lane);
        drop(inbox);
        // A caller that has just given up is no reason for anything.
        let _ = seek.done.send(Ok(()));
        grant
    }

    /// The broker has ended the stream.
    fn on_stream_end(&self, error: &ErrorReply<'_>) {
        let mut state = self.state();
        if let Some(link) = state.link.take() {
            link.slot.ended_by_broker();
        }
        if error.status == Status::DataCorrupted {
            let damage = ClientError::DataCorrupted {
                partition: self.partition,
                first: error.first_offset,
                end: error.end_offset,
                message: error.message.to_owned(),
            };
            // The stream is opened again without permits: what was received can still be
            // acknowledged, and the application says where to go on.
            self.inbox.lock().stop(self.lane, damage.clone());
            self.inbox.notify();
            state.lose(damage);
            self.wake.notify_one();
            return;
        }
        let cause = ClientError::refused(error);
        if cause.is_retryable() {
            state.lose(cause);
            self.wake.notify_one();
        } else {
            drop(state);
            self.fail(&cause);
        }
    }

    /// An acknowledgement or a seek was refused.
    fn on_refusal(&self, state: &mut State, correlation: u64, error: &ErrorReply<'_>) {
        let cause = ClientError::refused(error);
        if let Some(asked) = state.last_asked.remove(&correlation) {
            // As above.
            let _ = asked.send(Err(cause));
            return;
        }
        if state
            .seek
            .as_ref()
            .is_some_and(|seek| seek.correlation == correlation)
        {
            if let Some(seek) = state.seek.take() {
                // As above.
                let _ = seek.done.send(Err(cause.clone()));
            }
            // What came meanwhile was dropped, so it has to come again.
            state.lose(cause);
            self.wake.notify_one();
        } else if cause.is_retryable() {
            state.lose(cause);
            self.wake.notify_one();
        } else if let Some(receipt) = state.acks.refused(correlation) {
            receipt.complete(Err(cause));
        }
    }
}
