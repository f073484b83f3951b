//! ADMIN and ADMIN_DONE: topics, subscriptions and the broker's state.

use alloc::string::ToString;
use alloc::vec::Vec;

use hulse_model::limits::TOPIC_PARTITIONS_MAX;
use hulse_model::{SubscriptionName, TopicName};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::tenancy::Tenancy;
use crate::violation::{TEXT_BYTES_MAX, Violation, check_count, check_text, name};

/// The most regions that one topic may name.
pub const REGIONS_MAX: usize = 64;

/// What an acknowledgement of a topic's messages means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AckLevel {
    /// The broker's default.
    Default = 0,
    /// Synced on every member of the in-sync set.
    Disk = 1,
    /// Out of the process on every member of the in-sync set.
    Memory = 2,
}

/// What a new topic is to be like. 0 and an empty list stand for the broker's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopic<'a> {
    /// The topic.
    pub topic: TopicName,
    /// Number of partitions; 0 for a topic without partitions.
    pub partitions: u32,
    /// Number of copies.
    pub replicas: u32,
    /// Names of the regions that hold them: at most [`REGIONS_MAX`].
    pub regions: Vec<&'a str>,
    /// What an acknowledgement means.
    pub ack: AckLevel,
    /// The fewest members that the in-sync set may shrink to.
    pub min_isr: u32,
}

impl CreateTopic<'_> {
    fn check(&self) -> Result<(), Violation> {
        if self.partitions > TOPIC_PARTITIONS_MAX {
            let value = i128::from(self.partitions);
            return Err(Violation::OutOfRange {
                field: "partitions",
                value,
            });
        }
        check_count("regions", self.regions.len(), REGIONS_MAX)?;
        for region in &self.regions {
            if region.is_empty() {
                return Err(Violation::Missing { field: "regions" });
            }
            check_text("regions", region, TEXT_BYTES_MAX)?;
        }
        Ok(())
    }
}

/// ADMIN: a request to administer. The answer is ADMIN_DONE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin<'a> {
    /// Creates a topic; answered with its description.
    CreateTopic(CreateTopic<'a>),
    /// Names all topics.
    ListTopics,
    /// Describes a topic and its subscriptions.
    DescribeTopic {
        /// The topic.
        topic: TopicName,
    },
    /// Deletes a topic with everything that it holds.
    DeleteTopic {
        /// The topic.
        topic: TopicName,
    },
    /// Describes the broker.
    Status,
    /// Describes the subscriptions of a topic.
    ListSubscriptions {
        /// The topic.
        topic: TopicName,
    },
    /// Deletes a subscription from every partition of a topic.
    DeleteSubscription {
        /// The topic.
        topic: TopicName,
        /// The subscription.
        subscription: SubscriptionName,
    },
    /// About tenants, namespaces, their policies and permissions.
    Tenancy(Tenancy),
}

impl<'a> Admin<'a> {
    const fn verb(&self) -> schema::AdminVerb {
        match self {
            Self::CreateTopic(_) => schema::AdminVerb::CreateTopic,
            Self::ListTopics => schema::AdminVerb::ListTopics,
            Self::DescribeTopic { .. } => schema::AdminVerb::DescribeTopic,
            Self::DeleteTopic { .. } => schema::AdminVerb::DeleteTopic,
            Self::Status => schema::AdminVerb::Status,
            Self::ListSubscriptions { .. } => schema::AdminVerb::ListSubscriptions,
            Self::DeleteSubscription { .. } => schema::AdminVerb::DeleteSubscription,
            Self::Tenancy(tenancy) => tenancy.verb(),
        }
    }

    const fn topic(&self) -> Option<&TopicName> {
        match self {
            Self::CreateTopic(CreateTopic { topic, .. })
            | Self::DescribeTopic { topic }
            | Self::DeleteTopic { topic }
            | Self::ListSubscriptions { topic }
            | Self::DeleteSubscription { topic, .. } => Some(topic),
            Self::ListTopics | Self::Status | Self::Tenancy(_) => None,
        }
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        let mut args = schema::AdminArgs {
            verb: self.verb(),
            ..schema::AdminArgs::default()
        };
        args.topic = self
            .topic()
            .map(|topic| builder.create_string(&topic.to_string()));
        match self {
            Self::CreateTopic(create) => {
                create.check()?;
                let regions: Vec<_> = create
                    .regions
                    .iter()
                    .map(|region| builder.create_string(region))
                    .collect();
                args.regions = (!regions.is_empty()).then(|| builder.create_vector(&regions));
                args.partitions = create.partitions;
                args.replicas = create.replicas;
                args.ack = schema::AckLevel(create.ack as u8);
                args.min_isr = create.min_isr;
            }
            Self::DeleteSubscription { subscription, .. } => {
                args.subscription = Some(builder.create_string(subscription.as_str()));
            }
            Self::Tenancy(tenancy) => tenancy.fill(builder, &mut args)?,
            Self::ListTopics
            | Self::DescribeTopic { .. }
            | Self::DeleteTopic { .. }
            | Self::Status
            | Self::ListSubscriptions { .. } => {}
        }
        let table = schema::Admin::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Admin<'a>>(frame)?;
        Self::read(&table).map_err(|violation| frame.refused(violation))
    }

    fn read(table: &schema::Admin<'a>) -> Result<Self, Violation> {
        let topic = || name("topic", table.topic());
        Ok(match table.verb() {
            schema::AdminVerb::CreateTopic => Self::CreateTopic(CreateTopic::read(table)?),
            schema::AdminVerb::ListTopics => Self::ListTopics,
            schema::AdminVerb::DescribeTopic => Self::DescribeTopic { topic: topic()? },
            schema::AdminVerb::DeleteTopic => Self::DeleteTopic { topic: topic()? },
            schema::AdminVerb::Status => Self::Status,
            schema::AdminVerb::ListSubscriptions => Self::ListSubscriptions { topic: topic()? },
            schema::AdminVerb::DeleteSubscription => Self::DeleteSubscription {
                topic: topic()?,
                subscription: name("subscription", table.subscription())?,
            },
            unknown => match Tenancy::read(table) {
                Some(tenancy) => Self::Tenancy(tenancy?),
                None => {
                    let value = i128::from(unknown.0);
                    return Err(Violation::OutOfRange {
                        field: "verb",
                        value,
                    });
                }
            },
        })
    }
}

impl<'a> CreateTopic<'a> {
    fn read(table: &schema::Admin<'a>) -> Result<Self, Violation> {
        let regions = table.regions().unwrap_or_default();
        check_count("regions", regions.len(), REGIONS_MAX)?;
        let ack = match table.ack() {
            schema::AckLevel::Default => AckLevel::Default,
            schema::AckLevel::Disk => AckLevel::Disk,
            schema::AckLevel::Memory => AckLevel::Memory,
            unknown => {
                let value = i128::from(unknown.0);
                return Err(Violation::OutOfRange {
                    field: "ack",
                    value,
                });
            }
        };
        let create = Self {
            topic: name("topic", table.topic())?,
            partitions: table.partitions(),
            replicas: table.replicas(),
            regions: regions.iter().collect(),
            ack,
            min_isr: table.min_isr(),
        };
        create.check()?;
        Ok(create)
    }
}

/// ADMIN_DONE: the answer to ADMIN, as JSON text (see the module `json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminDone<'a> {
    /// The JSON.
    pub json: &'a [u8],
}
