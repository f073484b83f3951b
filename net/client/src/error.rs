//! What can go wrong, in one enum for the whole client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hulse_model::batch::BatchError;
use hulse_model::{MessageId, NameError, Offset, Status};
use hulse_wire::ErrorReply;

/// Why an operation of the client failed.
///
/// It is cheap to clone: one lost connection may fail thousands of sends with the same cause.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No server answered at any of the addresses. Nothing was asked of a broker.
    #[error("cannot reach a server at {addresses}: {source}")]
    Unreachable {
        /// The addresses that were tried, separated by commas.
        addresses: String,
        /// What the last of them gave.
        source: Arc<io::Error>,
    },
    /// A connection ended while something was waiting for an answer, which may have been carried
    /// out or not.
    #[error("the connection to {address} was lost: {source}")]
    ConnectionLost {
        /// The address of the broker.
        address: String,
        /// What the socket gave.
        source: Arc<io::Error>,
    },
    /// The broker sent nothing for longer than agreed, not even a beacon.
    #[error("the broker at {address} was silent for {} ms", silent.as_millis())]
    PeerSilent {
        /// The address of the broker.
        address: String,
        /// How long it was silent.
        silent: Duration,
    },
    /// The broker refused what it was asked for.
    #[error("{}: {message}", StatusText(*.code))]
    Broker {
        /// The status, when this client knows its number.
        status: Option<Status>,
        /// The number as the broker sent it.
        code: u16,
        /// One sentence for people.
        message: String,
        /// How long the broker asks to wait before the next attempt; zero when it does not say.
        retry_after: Duration,
    },
    /// The partition is served at another address now; what was asked has not been done. The client
    /// goes there by itself.
    #[error("NOT_PRIMARY: {message}")]
    Moved {
        /// `host:port` of the core that serves it.
        address: String,
        /// One sentence for people.
        message: String,
    },
    /// No answer came in time, and nothing said why.
    #[error("no answer within {} ms", after.as_millis())]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
    /// The client, producer or consumer was closed or dropped.
    #[error("closed")]
    Closed,
    /// A message is over a limit, and was not sent.
    #[error(transparent)]
    MessageTooLarge {
        /// Which limit, and by how much.
        source: BatchError,
    },
    /// A name is not legal.
    #[error("{what} `{name}`: {source}")]
    InvalidName {
        /// What the name is of: topic, subscription, producer.
        what: &'static str,
        /// The name.
        name: String,
        /// The rule that it breaks.
        source: NameError,
    },
    /// A server's address is not of the form `hulse://host:port`.
    #[error("`{text}` is no server address: expected hulse://host or hulse://host:port")]
    InvalidAddress {
        /// What was given.
        text: String,
    },
    /// An argument is out of its range.
    #[error("{what}")]
    InvalidArgument {
        /// Which one, and what it must be.
        what: String,
    },
    /// The broker and this client have no protocol version in common.
    #[error(
        "the broker at {address} speaks protocol version {version}, which this client does not"
    )]
    Version {
        /// The address of the broker.
        address: String,
        /// The version that it chose.
        version: u16,
    },
    /// Bytes that are not what the protocol allows, or whose checksum is wrong. The connection
    /// that they came over has been closed.
    #[error("the broker at {address} sent bytes that are not valid: {what}")]
    Corrupt {
        /// The address of the broker.
        address: String,
        /// What was wrong with them.
        what: String,
    },
    /// Entries are damaged on the broker's disk. The consumer does not go past them by itself: see
    /// [`crate::Consumer::seek`].
    #[error("entries {first} to {end} (exclusive) of partition {partition} are damaged: {message}")]
    DataCorrupted {
        /// The partition; -1 for a topic without partitions.
        partition: i32,
        /// The first damaged entry.
        first: Offset,
        /// The first entry after the damaged ones.
        end: Offset,
        /// One sentence for people.
        message: String,
    },
    /// The payload of an entry is not in the layout of this client, so its messages cannot be
    /// told apart. Acknowledge the id to have done with it.
    #[error("the entry {id} holds no messages that can be read: {source}")]
    Undecodable {
        /// The entry, with -1 as its index.
        id: MessageId,
        /// What is wrong with the payload.
        source: BatchError,
    },
    /// A batch had been stored before, so long ago that the broker has forgotten under which id.
    /// The messages are stored; nothing was lost.
    #[error("sequence {sequence} was stored before, under an id that is no longer known")]
    IdForgotten {
        /// The sequence number of the message.
        sequence: u64,
    },
    /// A message that came too often could not be published where dead letters go. It comes again,
    /// and is tried again: see [`crate::DeadLetterPolicy`].
    #[error("a dead letter cannot be published to {topic}: {cause}")]
    DeadLetter {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        cause: Arc<ClientError>,
    },
    /// Of a failover subscription: the consumer was not given the message since it last became the
    /// partition's active one, so it cannot acknowledge it any more. Another consumer gets the
    /// message, or has had it.
    #[error(
        "{}: the messages of partition {partition} have gone to another consumer since this one was \
         given them, so its acknowledgement moves nothing",
        Status::NotActive
    )]
    NotActive {
        /// The partition; -1 for a topic without partitions.
        partition: i32,
    },
    /// The producer had to give up: what is unacknowledged may be stored or not, and to go on
    /// would leave a hole. Build it again under the same name to go on behind the last stored
    /// message.
    #[error("the producer `{name}` gave up: {cause}")]
    ProducerFailed {
        /// The producer's name.
        name: String,
        /// Why.
        #[source]
        cause: Arc<ClientError>,
    },
}

/// The name of a status when it is known, its number otherwise.
struct StatusText(u16);

impl std::fmt::Display for StatusText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Status::from_code(self.0) {
            Some(status) => f.write_str(status.name()),
            None => write!(f, "status {}", self.0),
        }
    }
}

impl ClientError {
    /// Whether the same operation may succeed when it is tried again later.
    ///
    /// The client has done so itself already, until its operation time-out was over.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::PeerSilent { .. }
            | Self::Timeout { .. }
            | Self::Moved { .. }
            | Self::Corrupt { .. } => true,
            Self::Broker { status, .. } => status.is_some_and(Status::retryable),
            Self::Closed
            | Self::MessageTooLarge { .. }
            | Self::InvalidName { .. }
            | Self::InvalidAddress { .. }
            | Self::InvalidArgument { .. }
            | Self::Version { .. }
            | Self::DataCorrupted { .. }
            | Self::Undecodable { .. }
            | Self::IdForgotten { .. }
            | Self::NotActive { .. }
            | Self::DeadLetter { .. }
            | Self::ProducerFailed { .. } => false,
        }
    }

    /// Whether the reason, or the reason behind it, is that no server could be reached.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ConnectionLost { .. } | Self::PeerSilent { .. } => {
                true
            }
            Self::ProducerFailed { cause, .. } | Self::DeadLetter { cause, .. } => {
                cause.is_unreachable()
            }
            _ => false,
        }
    }

    /// The broker's status, when a broker's refusal is the reason or the reason behind it.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Broker { status, .. } => *status,
            Self::DataCorrupted { .. } => Some(Status::DataCorrupted),
            Self::NotActive { .. } => Some(Status::NotActive),
            Self::Moved { .. } => Some(Status::NotPrimary),
            Self::ProducerFailed { cause, .. } | Self::DeadLetter { cause, .. } => cause.status(),
            _ => None,
        }
    }

    /// Whether a broker has said no, so that what was asked for is not open there.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Broker { .. } | Self::Moved { .. })
    }

    /// Whether the request may have been carried out although its answer never came.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(
            self,
            Self::ConnectionLost { .. }
                | Self::PeerSilent { .. }
                | Self::Timeout { .. }
                | Self::Corrupt { .. }
        )
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::InvalidArgument { what: what.into() }
    }

    /// How long the broker asked to wait before the next attempt.
    pub(crate) const fn retry_after(&self) -> Duration {
        match self {
            Self::Broker { retry_after, .. } => *retry_after,
            _ => Duration::ZERO,
        }
    }

    /// What a broker's refusal is to the caller.
    pub(crate) fn refused(error: &ErrorReply<'_>) -> Self {
        if error.status == Status::NotPrimary && !error.address.is_empty() {
            return Self::Moved {
                address: error.address.to_owned(),
                message: error.message.to_owned(),
            };
        }
        Self::Broker {
            status: error.status.known(),
            code: error.status.0,
            message: error.message.to_owned(),
            retry_after: Duration::from_millis(u64::from(error.retry_after_ms)),
        }
    }

    pub(crate) fn corrupt(address: &str, what: &dyn std::fmt::Display) -> Self {
        Self::Corrupt {
            address: address.to_owned(),
            what: what.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_error_reads_as_name_and_sentence() {
        let known = ClientError::Broker {
            status: Some(Status::NotPrimary),
            code: 30,
            message: "look again".to_owned(),
            retry_after: Duration::ZERO,
        };
        assert_eq!(known.to_string(), "NOT_PRIMARY: look again");
        assert!(known.is_retryable());
        let unknown = ClientError::Broker {
            status: None,
            code: 999,
            message: "new".to_owned(),
            retry_after: Duration::ZERO,
        };
        assert_eq!(unknown.to_string(), "status 999: new");
        assert!(!unknown.is_retryable());
    }

    #[test]
    fn the_reason_behind_a_failed_producer_shows_through() {
        let lost = ClientError::Unreachable {
            addresses: "a:1".to_owned(),
            source: Arc::new(io::ErrorKind::ConnectionRefused.into()),
        };
        let failed = ClientError::ProducerFailed {
            name: "p".to_owned(),
            cause: Arc::new(lost),
        };
        assert!(failed.is_unreachable());
        assert!(!failed.is_retryable());
        assert_eq!(failed.status(), None);
    }
}
