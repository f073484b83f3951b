//! Producing: OPEN_PRODUCER and PRODUCER_OPENED, PRODUCE and RECEIPTS.

use alloc::string::ToString;

use hulse_model::delayed::DUE_TIME_BYTES;
use hulse_model::limits::{ENTRY_MESSAGES_MAX, ENTRY_PAYLOAD_BYTES_MAX};
use hulse_model::{Offset, ProducerName, Term, TopicName};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::list::list;
use crate::table::root;
use crate::violation::{Violation, check_count, check_partition, name, optional_name};

/// The most receipts of one RECEIPTS.
pub const RECEIPTS_MAX: usize = 1024;

/// How a producer publishes beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Access {
    /// Beside others that are shared, too.
    #[default]
    Shared = 0,
    /// Alone; refused while another producer is there.
    Exclusive = 1,
    /// Alone, as soon as those who are there or wait already are gone.
    Wait = 2,
    /// Alone, at once: whoever is there, or waits, fails with `PRODUCER_FENCED`.
    Fencing = 3,
}

impl Access {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Shared),
            1 => Some(Self::Exclusive),
            2 => Some(Self::Wait),
            3 => Some(Self::Fencing),
            _ => None,
        }
    }
}

/// OPEN_PRODUCER: opens the frame's stream as a producer of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProducer {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number within it; -1 for a topic without partitions.
    pub partition: i32,
    /// The name by which retries are recognised; `None`: the broker chooses one.
    pub name: Option<ProducerName>,
    /// Counts the openings of this name: a higher one than the last takes over, a lower one is
    /// fenced. `None` takes over in any case, and the broker gives the next epoch: what a client
    /// does that has just started. When it opens the name again it states the epoch that it was
    /// given, so that it does not push out who came after it.
    pub epoch: Option<u64>,
    /// Whether it publishes beside others or alone.
    pub access: Access,
    /// When the name is opened again after a lost connection: the access epoch that the client was
    /// given. If another has begun since, the producer is fenced.
    pub access_epoch: Option<u64>,
}

impl OpenProducer {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        check_partition(self.partition)?;
        let topic = builder.create_string(&self.topic.to_string());
        let name = self
            .name
            .as_ref()
            .map(|name| builder.create_string(name.as_str()));
        let args = schema::OpenProducerArgs {
            topic: Some(topic),
            partition: self.partition,
            name,
            epoch: self.epoch.unwrap_or_default(),
            take_over: self.epoch.is_none(),
            access: schema::Access(self.access as u8),
            access_epoch: self.access_epoch.unwrap_or_default(),
            returns: self.access_epoch.is_some(),
        };
        let table = schema::OpenProducer::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::OpenProducer<'_>>(frame)?;
        Self::read(&table).map_err(|violation| frame.refused(violation))
    }

    fn read(table: &schema::OpenProducer<'_>) -> Result<Self, Violation> {
        check_partition(table.partition())?;
        let access = table.access().0;
        Ok(Self {
            topic: name("topic", table.topic())?,
            partition: table.partition(),
            name: optional_name("name", table.name())?,
            epoch: (!table.take_over()).then_some(table.epoch()),
            access: Access::from_code(access).ok_or(Violation::OutOfRange {
                field: "access",
                value: i128::from(access),
            })?,
            access_epoch: table.returns().then_some(table.access_epoch()),
        })
    }
}

/// The newest message that a partition holds from a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastStored {
    /// Its sequence number.
    pub sequence: u64,
    /// The term of its entry.
    pub term: Term,
    /// The offset of its entry.
    pub offset: Offset,
}

/// PRODUCER_OPENED: the answer to OPEN_PRODUCER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerOpened {
    /// The producer's name: the one asked for, or the broker's choice.
    pub name: ProducerName,
    /// The epoch of this opening.
    pub epoch: u64,
    /// The newest message stored under this name; `None` when there is none.
    pub last: Option<LastStored>,
    /// The access epoch in which it publishes.
    pub access_epoch: u64,
    /// It waits for exclusive access, and is not open yet: another PRODUCER_OPENED, with the
    /// correlation id 0, says when. Nothing else but its name holds until then.
    pub waits: bool,
}

impl ProducerOpened {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        let name = builder.create_string(self.name.as_str());
        let args = schema::ProducerOpenedArgs {
            name: Some(name),
            has_last: self.last.is_some(),
            last_sequence: self.last.map_or(0, |last| last.sequence),
            last_term: self.last.map_or(0, |last| last.term.0),
            last_offset: self.last.map_or(0, |last| last.offset.0),
            epoch: self.epoch,
            access_epoch: self.access_epoch,
            waits: self.waits,
        };
        let table = schema::ProducerOpened::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::ProducerOpened<'_>>(frame)?;
        let name = name("name", table.name()).map_err(|violation| frame.refused(violation))?;
        let last = table.has_last().then(|| LastStored {
            sequence: table.last_sequence(),
            term: Term(table.last_term()),
            offset: Offset(table.last_offset()),
        });
        Ok(Self {
            name,
            epoch: table.epoch(),
            last,
            access_epoch: table.access_epoch(),
            waits: table.waits(),
        })
    }
}

/// PRODUCE: one batch, stored as one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produce<'a> {
    /// The sequence number of the first message; the numbers rise by one from message to message.
    pub sequence: u64,
    /// Number of messages, at least 1.
    pub messages: u32,
    /// The producer says itself that it left numbers out before this batch.
    pub skipped: bool,
    /// The payload begins with the time at which the messages are due: see
    /// [`hulse_model::delayed`].
    pub delayed: bool,
    /// The messages, stored and delivered as they are.
    pub payload: &'a [u8],
}

impl<'a> Produce<'a> {
    /// The sequence number of the last message.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.sequence
            .saturating_add(self.messages.saturating_sub(1) as u64)
    }

    fn check(&self) -> Result<(), Violation> {
        if self.messages == 0 {
            return Err(Violation::OutOfRange {
                field: "messages",
                value: 0,
            });
        }
        if self.messages > ENTRY_MESSAGES_MAX {
            let (messages, limit) = (self.messages, ENTRY_MESSAGES_MAX);
            return Err(Violation::BatchTooLong { messages, limit });
        }
        if self.payload.len() > ENTRY_PAYLOAD_BYTES_MAX {
            let (bytes, limit) = (self.payload.len(), ENTRY_PAYLOAD_BYTES_MAX);
            return Err(Violation::PayloadTooLarge { bytes, limit });
        }
        if self.delayed && self.payload.len() < DUE_TIME_BYTES {
            let field = "the time at which the messages are due";
            return Err(Violation::Missing { field });
        }
        if self
            .sequence
            .checked_add(u64::from(self.messages))
            .is_none()
        {
            let value = i128::from(self.sequence);
            return Err(Violation::OutOfRange {
                field: "sequence",
                value,
            });
        }
        Ok(())
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        self.check()?;
        let args = schema::ProduceArgs {
            sequence: self.sequence,
            messages: self.messages,
            skipped: self.skipped,
            delayed: self.delayed,
        };
        let table = schema::Produce::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Produce<'a>>(frame)?;
        let produce = Self {
            sequence: table.sequence(),
            messages: table.messages(),
            skipped: table.skipped(),
            delayed: table.delayed(),
            payload: frame.payload,
        };
        produce
            .check()
            .map_err(|violation| frame.refused(violation))?;
        Ok(produce)
    }
}

/// One batch is stored: acknowledged at the level of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The sequence number of the batch's first message.
    pub sequence: u64,
    /// Number of messages of the batch.
    pub messages: u32,
    /// Where it is; `None` for a duplicate so old that its id is forgotten.
    pub id: Option<(Term, Offset)>,
    /// The batch had been stored before: `id` is the original's.
    pub duplicate: bool,
}

impl Receipt {
    fn read(bytes: &[u8; 32]) -> Self {
        let stored = schema::Receipt(*bytes);
        Self {
            sequence: stored.sequence(),
            messages: stored.messages(),
            id: stored
                .id_known()
                .then(|| (Term(stored.term()), Offset(stored.offset()))),
            duplicate: stored.duplicate(),
        }
    }

    fn written(self) -> schema::Receipt {
        let (term, offset) = self.id.unwrap_or_default();
        schema::Receipt::new(
            self.sequence,
            term.0,
            offset.0,
            self.messages,
            self.duplicate,
            self.id.is_some(),
        )
    }
}

list! {
    /// Receipts, in the order of their sequence numbers.
    ReceiptList, Receipt, schema::Receipt, 32, Receipt::read, Receipt::written
}

/// RECEIPTS: the answer to one or more PRODUCE of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipts<'a> {
    /// The receipts: at most [`RECEIPTS_MAX`].
    pub receipts: ReceiptList<'a>,
}

impl<'a> Receipts<'a> {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        check_count("receipts", self.receipts.len(), RECEIPTS_MAX)?;
        let args = schema::ReceiptsArgs {
            receipts: self.receipts.build(builder),
        };
        let table = schema::Receipts::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Receipts<'a>>(frame)?;
        let receipts = ReceiptList::from_vector(table.receipts());
        check_count("receipts", receipts.len(), RECEIPTS_MAX)
            .map_err(|violation| frame.refused(violation))?;
        Ok(Self { receipts })
    }
}
