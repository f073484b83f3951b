//! What the cores and the control thread say to each other, over bounded channels.

use hulse_model::{PartitionId, Status, SubscriptionName, TopicName};
use hulse_shard::{HeldBack, PartitionPolicies, PartitionSpec, PartitionStats, ShardStats};
use hulse_wire::{AckLevel, Tenancy};

/// A client's question that a core cannot answer by itself.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Which core asks.
    pub(crate) core: usize,
    /// For which of its connections.
    pub(crate) connection: u64,
    /// For which request.
    pub(crate) correlation: u64,
    /// What.
    pub(crate) question: Question,
}

/// The question, in a form that owns what it needs.
#[derive(Debug)]
pub(crate) enum Question {
    /// Where a topic's partitions are; it is made, if that is allowed.
    Locate {
        topic: TopicName,
        create_missing: bool,
    },
    /// Makes a topic.
    CreateTopic(NewTopic),
    /// Names all topics.
    ListTopics,
    /// Tells all about one topic.
    DescribeTopic { topic: TopicName },
    /// Deletes a topic with its data.
    DeleteTopic { topic: TopicName },
    /// Tells all about the broker.
    Status,
    /// Tells all about a topic's subscriptions.
    ListSubscriptions { topic: TopicName },
    /// Deletes a subscription on every partition.
    DeleteSubscription {
        topic: TopicName,
        subscription: SubscriptionName,
    },
    /// Something about tenants and namespaces.
    Tenancy(Tenancy),
}

/// A topic as a client wants it; 0 and nothing stand for the broker's defaults.
#[derive(Debug)]
pub(crate) struct NewTopic {
    pub(crate) topic: TopicName,
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
    pub(crate) regions: Vec<String>,
    pub(crate) ack: AckLevel,
    pub(crate) min_isr: u32,
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) enum Told {
    /// Where the partitions are.
    Located {
        topic: TopicName,
        places: Vec<Place>,
    },
    /// JSON.
    Json(Vec<u8>),
    /// It was refused.
    Refused { status: Status, message: String },
}

/// Where one partition is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) id: PartitionId,
    pub(crate) address: String,
}

/// What the control thread tells a core to do. Answers go over one-shot channels.
#[derive(Debug)]
pub(crate) enum Order {
    /// Opens partitions. Answered with the failures.
    Open {
        specs: Vec<PartitionSpec>,
        done: flume::Sender<Vec<OpenFailure>>,
    },
    /// Closes partitions of a deleted topic and removes their files. Answered with the failures.
    Drop {
        partitions: Vec<PartitionId>,
        done: flume::Sender<Vec<String>>,
    },
    /// Describes partitions; those that the core does not have are left out.
    Describe {
        partitions: Vec<PartitionId>,
        done: flume::Sender<Vec<PartitionStats>>,
    },
    /// Deletes a subscription of some partitions. Answered with the first refusal, if any.
    DeleteSubscription {
        partitions: Vec<PartitionId>,
        subscription: SubscriptionName,
        done: flume::Sender<Result<(), (Status, String)>>,
    },
    /// Changes the policies of partitions; those that the core does not have are passed over.
    SetPolicies {
        policies: Vec<(PartitionId, PartitionPolicies)>,
        done: flume::Sender<()>,
    },
    /// Says which rates, and which of these partitions' backlogs, or of all, hold producers back.
    HeldBack {
        only: Option<Vec<PartitionId>>,
        done: flume::Sender<Vec<HeldBack>>,
    },
    /// Reads the core's counters.
    Count { done: flume::Sender<CoreCounts> },
    /// Gives a client its answer.
    Tell {
        connection: u64,
        correlation: u64,
        told: Told,
    },
    /// Takes no more work, finishes what was begun, closes, and ends.
    Stop,
}

/// A partition that could not be opened.
#[derive(Debug, Clone)]
pub(crate) struct OpenFailure {
    pub(crate) partition: PartitionId,
    pub(crate) reason: String,
}

/// The counters of one core.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CoreCounts {
    pub(crate) shard: ShardStats,
    pub(crate) connections: u64,
    pub(crate) connections_total: u64,
    pub(crate) connections_refused: u64,
    pub(crate) connections_evicted: u64,
    pub(crate) frames_received: u64,
    pub(crate) frames_malformed: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// The longest that the core was late for its own timer since it was last asked, microseconds.
    pub(crate) lateness_us: u64,
    /// Percentiles of the duration of syncs, microseconds: p50, p99, p99.9, and the longest.
    pub(crate) sync_us: [u64; 4],
}
