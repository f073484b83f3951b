//! The numeric answers of the broker: stable for ever, never reused.

use core::fmt;

/// Whose doing a failure is, so that a client knows whether to look at itself or at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request was wrong and will be wrong again.
    Client,
    /// The broker could not do what was rightly asked.
    Broker,
    /// Nobody's: the cluster is changing, or a limit holds the request back for now.
    Situation,
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $fault:ident, $retry:literal;)*) => {
        /// The outcome of a request. The number goes over the wire and is never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Status {
            $($(#[$doc])* $name = $code,)*
        }

        impl Status {
            /// Every status there is, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name, in capitals, as documents and tools print it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }

            /// Whether the same request may succeed when it is sent again later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }

            /// The status with this number, if there is one.
            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

statuses! {
    /// The bytes are no frame: bad magic, bad checksum, a length out of bounds, an unknown kind.
    MalformedFrame = 1, "MALFORMED_FRAME", Client, false;
    /// No protocol version is common to both sides.
    UnsupportedVersion = 2, "UNSUPPORTED_VERSION", Client, false;
    /// A frame that may not come here: before the handshake, twice, or for an unknown stream.
    ProtocolViolation = 3, "PROTOCOL_VIOLATION", Client, false;
    /// The handshake took too long or too many are under way.
    HandshakeTimeout = 4, "HANDSHAKE_TIMEOUT", Client, true;
    /// A name is empty, too long or holds characters that are not allowed.
    InvalidName = 10, "INVALID_NAME", Client, false;
    /// The topic does not exist, and may not be created by use.
    TopicNotFound = 11, "TOPIC_NOT_FOUND", Client, false;
    /// A topic of this name exists already.
    TopicExists = 12, "TOPIC_EXISTS", Client, false;
    /// The tenant or the namespace does not exist.
    NamespaceNotFound = 13, "NAMESPACE_NOT_FOUND", Client, false;
    /// The subscription does not exist.
    SubscriptionNotFound = 14, "SUBSCRIPTION_NOT_FOUND", Client, false;
    /// The subscription's type or its present consumer excludes this one.
    ConsumerBusy = 15, "CONSUMER_BUSY", Situation, true;
    /// An argument is out of its range.
    InvalidArgument = 16, "INVALID_ARGUMENT", Client, false;
    /// A message or a batch is over the limit.
    MessageTooLarge = 17, "MESSAGE_TOO_LARGE", Client, false;
    /// The named id lies outside what the log holds.
    OffsetOutOfRange = 18, "OFFSET_OUT_OF_RANGE", Client, false;
    /// A sequence number skips some, so that a message may be missing before it.
    SequenceGap = 20, "SEQUENCE_GAP", Client, false;
    /// A batch overlaps one that was stored, without being the same.
    SequenceOverlap = 21, "SEQUENCE_OVERLAP", Client, false;
    /// A newer producer of the same name, or one with exclusive access, has taken over.
    ProducerFenced = 22, "PRODUCER_FENCED", Client, false;
    /// The partition's present producers exclude this one: it wants to be alone, or one of them is.
    ProducerBusy = 23, "PRODUCER_BUSY", Situation, true;
    /// This core or broker does not own the partition; look it up again.
    NotPrimary = 30, "NOT_PRIMARY", Situation, true;
    /// The broker is starting or stopping.
    NotReady = 31, "NOT_READY", Situation, true;
    /// A budget of memory, streams, connections or open files is used up; wait and send again.
    OverLimit = 32, "OVER_LIMIT", Situation, true;
    /// Too few replicas are in sync to take a write.
    NotEnoughReplicas = 33, "NOT_ENOUGH_REPLICAS", Situation, true;
    /// The peer was silent for longer than agreed.
    PeerSilent = 34, "PEER_SILENT", Client, true;
    /// A subscription's backlog has reached its quota; publishes are taken again when it has shrunk.
    BacklogQuota = 38, "BACKLOG_QUOTA", Situation, true;
    /// The disk has no room for another segment. Reads, deletes and administration go on.
    DiskFull = 40, "DISK_FULL", Broker, true;
    /// A write or a sync failed, so the partition takes no more writes until it has been repaired.
    StorageFailed = 41, "STORAGE_FAILED", Broker, false;
    /// The entries asked for are damaged on the disk.
    DataCorrupted = 42, "DATA_CORRUPTED", Broker, false;
    /// Something failed in the broker that should not have; its log has more.
    Internal = 50, "INTERNAL", Broker, false;
    /// What was asked for is planned and not there yet.
    NotAvailableYet = 51, "NOT_AVAILABLE_YET", Client, false;
    /// A tenant or a namespace of this name exists already.
    NamespaceExists = 60, "NAMESPACE_EXISTS", Client, false;
    /// What is to be deleted holds something: a tenant namespaces, or a namespace topics.
    NotEmpty = 61, "NOT_EMPTY", Client, false;
}

impl Status {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_rising_and_read_back() {
        for pair in Status::ALL.windows(2) {
            assert!(
                pair[0].code() < pair[1].code(),
                "{} and {}",
                pair[0],
                pair[1]
            );
        }
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(*status));
        }
        assert_eq!(
            Status::from_code(0),
            None,
            "0 is left free, so that an unset field is no status"
        );
    }
}
