//! Making subscriptions that no consumer has asked for.

use hulse_log::Disk;
use hulse_model::{Offset, Position, Status, SubscriptionName};
use hulse_subscription::SubscriptionKind;

use crate::command::{Clock, StreamKey};
use crate::effect::{Refusal, Reply};
use crate::partition::Partition;
use crate::sibling::Answer;

impl<D: Disk> Partition<D> {
    /// Makes a subscription at the oldest message that is kept, unless there is one of this name.
    /// The answer goes once it is durable.
    pub(crate) fn create_subscription(
        &mut self,
        clock: Clock,
        name: &SubscriptionName,
        kind: SubscriptionKind,
        to: StreamKey,
        correlation: u64,
    ) -> Result<(), Refusal> {
        if let Some(refusal) = self.refused_record(clock.monotonic_ms) {
            return Err(refusal);
        }
        if self.state.subscription_id(name).is_none() {
            let oldest = Position::at(self.store.entries.start());
            let planned = self.state.plan_create(name, kind, oldest);
            let record = planned.map_err(|e| Refusal::new(Status::OverLimit, e.to_string()))?;
            self.store_record(clock, Some(record), Offset::ZERO, Vec::new());
        }
        let answer = Answer {
            to,
            correlation,
            reply: Reply::Done,
        };
        // One that exists may not be durable yet.
        self.store_record(clock, None, Offset::ZERO, vec![answer]);
        Ok(())
    }
}
