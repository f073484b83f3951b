//! What has to happen outside of the shard.

use hulse_log::{
    Disk, JournalTicket, LogKind, MarkFlushed, Prepare, PrepareJournal, Removal, StoredEntry,
    SyncTicket, WarmUp,
};
use hulse_model::{Offset, PartitionId, Position, ProducerName, Status, Term};
use hulse_subscription::IndexRange;

use crate::command::StreamKey;
use crate::shard::BackgroundSyncs;

/// Something for the rim to do, in the order in which the effects come.
pub enum Effect<D: Disk> {
    /// Answers the request `correlation` of a stream, or, with 0, tells the stream its end.
    Reply {
        /// The stream.
        to: StreamKey,
        /// The request.
        correlation: u64,
        /// The answer.
        reply: Reply,
    },
    /// Tells a producer that a batch is stored.
    Receipt {
        /// The producer's stream.
        to: StreamKey,
        /// The batch and its id.
        receipt: Receipt,
    },
    /// Delivers an entry to a consumer.
    Deliver {
        /// The consumer's stream.
        to: StreamKey,
        /// How often it was delivered before without being acknowledged.
        redelivery_count: u32,
        /// Messages of it that are acknowledged already.
        acked: Vec<IndexRange>,
        /// The entry.
        entry: StoredEntry<D>,
    },
    /// Syncs the ticket's files, then calls [`crate::Shard::synced`] with the ticket.
    Sync {
        /// The partition.
        partition: PartitionId,
        /// Which of its logs.
        log: LogKind,
        /// The files, and what their sync proves.
        ticket: SyncTicket<D>,
    },
    /// Syncs the ticket's file, then calls [`crate::Shard::journal_synced`].
    SyncJournal {
        /// The round of the journal.
        ticket: JournalTicket<D>,
    },
    /// Prepares a file of the journal on a helper thread, then calls
    /// [`crate::Shard::journal_prepared`].
    PrepareJournal {
        /// The work.
        work: PrepareJournal<D>,
    },
    /// Makes syncs on a helper thread, then calls [`crate::Shard::synced_in_background`].
    SyncInBackground {
        /// The work.
        work: BackgroundSyncs<D>,
    },
    /// Prepares a segment on a helper thread, then calls [`crate::Shard::prepared`].
    Prepare {
        /// The partition.
        partition: PartitionId,
        /// Which of its logs.
        log: LogKind,
        /// The work.
        work: Prepare<D>,
    },
    /// Removes old segments on a helper thread.
    Remove {
        /// The partition.
        partition: PartitionId,
        /// The work.
        work: Removal<D>,
    },
    /// Notes on a helper thread how far an idle partition is durable, then calls
    /// [`crate::Shard::marked_flushed`].
    MarkFlushed {
        /// The partition.
        partition: PartitionId,
        /// The work.
        work: MarkFlushed<D>,
    },
    /// Brings a part of a log into memory on a helper thread, then calls [`crate::Shard::warmed`].
    WarmUp {
        /// The partition.
        partition: PartitionId,
        /// The subscription that waits for it.
        subscription: u64,
        /// The work.
        work: WarmUp<D>,
    },
    /// Asks the connection whether it is still there, then calls [`crate::Shard::heard`] as soon as
    /// anything comes from it.
    Probe {
        /// The connection.
        connection: u64,
    },
    /// Closes a connection that has not answered. Its streams have ended already.
    Evict {
        /// The connection.
        connection: u64,
    },
    /// Calls [`crate::Shard::go_on`] once everything else that waits for the core has had its turn.
    GoOn {
        /// The partition.
        partition: PartitionId,
        /// The subscription that has more to read.
        subscription: u64,
    },
    /// The connection's held request may be offered again.
    Resume {
        /// The connection.
        connection: u64,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The stream's consumer is the active one of a Failover subscription now, or is not. Answers
    /// no request.
    Active(bool),
    /// The stream is a producer.
    ProducerOpened {
        /// Its name.
        name: ProducerName,
        /// Which opening of the name it is.
        epoch: u64,
        /// The newest batch stored under this name: its last sequence number and its id.
        last: Option<(u64, Term, Offset)>,
        /// The access epoch in which it publishes.
        access_epoch: u64,
    },
    /// The stream waits for exclusive access. When its turn has come, it is told that it is a
    /// producer, as the answer to no request.
    ProducerWaits {
        /// Its name.
        name: ProducerName,
    },
    /// The stream is a consumer.
    Subscribed {
        /// Everything before is acknowledged.
        mark: Position,
        /// The oldest offset that is kept.
        log_start: Offset,
        /// The offset after the newest readable entry.
        high_watermark: Offset,
        /// The subscription did not exist before.
        created: bool,
    },
    /// How far the partition goes.
    Last {
        /// The newest message that may be delivered, if anything is kept.
        last: Option<LastMessage>,
        /// Everything before is acknowledged.
        mark: Position,
        /// The offset after the newest readable entry.
        high_watermark: Offset,
    },
    /// The acknowledgement is durable.
    Acked,
    /// What was asked for is done.
    Done,
    /// The stream is closed.
    Closed,
    /// The request was refused, or the stream has ended.
    Refused(Refusal),
}

/// The newest message of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastMessage {
    /// The term of its entry.
    pub term: Term,
    /// The offset of its entry.
    pub offset: Offset,
    /// Its index within the entry.
    pub index: u32,
}

/// A batch that is stored at its partition's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The producer's sequence number of the first message.
    pub sequence: u64,
    /// How many messages.
    pub messages: u32,
    /// The batch had been stored before.
    pub duplicate: bool,
    /// The id under which it is stored; absent for a duplicate whose id is forgotten.
    pub id: Option<(Term, Offset)>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable status.
    pub status: Status,
    /// One clear sentence.
    pub message: String,
    /// For a batch: the sequence number of its first message and how many messages it holds.
    pub batch: Option<(u64, u32)>,
    /// For a batch: false when it was certainly not stored.
    pub appended: bool,
    /// The damaged offsets, end excluded, for [`Status::DataCorrupted`].
    pub damaged: Option<(Offset, Offset)>,
}

impl Refusal {
    /// A refusal that is about no batch.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            batch: None,
            appended: false,
            damaged: None,
        }
    }
}
