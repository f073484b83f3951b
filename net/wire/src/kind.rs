//! The kinds of frames: their numbers, who sends them, and how stream and correlation id are used.

use core::fmt;

/// Which side sends a kind of frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A request.
    ClientToBroker,
    /// An answer, or something that the broker says unasked.
    BrokerToClient,
    /// A number that is set aside: nobody sends it in this version.
    Reserved,
}

/// What the stream field of a kind of frame may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamUse {
    /// 0: the frame concerns the connection.
    Connection,
    /// Above 0: the frame concerns one producer or one consumer.
    Own,
    /// Either.
    Either,
}

/// What the correlation id of a kind of frame means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CorrelationUse {
    /// 0, and not looked at.
    None,
    /// Above 0: the answer carries the same.
    Asks,
    /// Above 0 asks for an answer that carries the same; 0 asks for none, or for one with 0.
    MayAsk,
    /// The one of the request that is answered; 0 for what comes unasked.
    Echoes,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $direction:ident, $stream:ident,
        $correlation:ident, $table:expr, $payload:literal;)*) => {
        /// What a frame is. The numbers go over the wire and are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[$doc])* $name = $code,)*
        }

        impl Kind {
            /// Every kind there is, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind with this number, if there is one.
            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The name, in capitals, as documents and logs print it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Who sends it.
            #[must_use]
            pub const fn direction(self) -> Direction {
                match self { $(Self::$name => Direction::$direction,)* }
            }

            /// What its stream field holds.
            #[must_use]
            pub const fn stream_use(self) -> StreamUse {
                match self { $(Self::$name => StreamUse::$stream,)* }
            }

            /// What its correlation id means.
            #[must_use]
            pub const fn correlation_use(self) -> CorrelationUse {
                match self { $(Self::$name => CorrelationUse::$correlation,)* }
            }

            /// The table of its control part; `None` when the control part is empty.
            #[must_use]
            pub const fn table(self) -> Option<&'static str> {
                match self { $(Self::$name => $table,)* }
            }

            /// Whether a payload may follow the control part.
            #[must_use]
            pub const fn has_payload(self) -> bool {
                match self { $(Self::$name => $payload,)* }
            }
        }
    };
}

kinds! {
    /// Opens the conversation: versions and wishes.
    Hello = 1, "HELLO", ClientToBroker, Connection, MayAsk, Some("Hello"), false;
    /// The broker's answer to it: the version and the limits that hold.
    Welcome = 2, "WELCOME", BrokerToClient, Connection, Echoes, Some("Welcome"), false;
    /// A request is refused, a stream ends or the connection ends.
    Error = 3, "ERROR", BrokerToClient, Either, Echoes, Some("Error"), false;
    /// A beacon.
    Ping = 4, "PING", ClientToBroker, Connection, MayAsk, None, false;
    /// Its answer.
    Pong = 5, "PONG", BrokerToClient, Connection, Echoes, None, false;
    /// A request is done that has nothing to tell.
    Done = 6, "DONE", BrokerToClient, Either, Echoes, None, false;
    /// Is the client there? It says something at once.
    Probe = 7, "PROBE", BrokerToClient, Connection, None, None, false;
    /// Where are the partitions of a topic?
    Lookup = 10, "LOOKUP", ClientToBroker, Connection, Asks, Some("Lookup"), false;
    /// Here.
    Located = 11, "LOCATED", BrokerToClient, Connection, Echoes, Some("Located"), false;
    /// Opens a stream as a producer.
    OpenProducer = 20, "OPEN_PRODUCER", ClientToBroker, Own, Asks, Some("OpenProducer"), false;
    /// It is open.
    ProducerOpened = 21, "PRODUCER_OPENED", BrokerToClient, Own, Echoes, Some("ProducerOpened"), false;
    /// One batch of messages.
    Produce = 22, "PRODUCE", ClientToBroker, Own, Asks, Some("Produce"), true;
    /// Batches are stored, several at once.
    Receipts = 23, "RECEIPTS", BrokerToClient, Own, None, Some("Receipts"), false;
    /// Closes a stream.
    Close = 24, "CLOSE", ClientToBroker, Own, Asks, None, false;
    /// It is closed: its last frame.
    Closed = 25, "CLOSED", BrokerToClient, Own, Echoes, None, false;
    /// Opens a stream as a consumer.
    Subscribe = 30, "SUBSCRIBE", ClientToBroker, Own, Asks, Some("Subscribe"), false;
    /// It is open.
    Subscribed = 31, "SUBSCRIBED", BrokerToClient, Own, Echoes, Some("Subscribed"), false;
    /// So many messages more may be delivered.
    Permits = 32, "PERMITS", ClientToBroker, Own, None, Some("Permits"), false;
    /// One entry.
    Deliver = 33, "DELIVER", BrokerToClient, Own, None, Some("Deliver"), true;
    /// Messages are done with.
    Ack = 34, "ACK", ClientToBroker, Own, MayAsk, Some("Ack"), false;
    /// The acknowledgement is durable.
    Acked = 35, "ACKED", BrokerToClient, Own, Echoes, None, false;
    /// Moves a subscription to another place.
    Seek = 36, "SEEK", ClientToBroker, Either, Asks, Some("Seek"), false;
    /// This consumer is the one that gets the messages now, or no longer is.
    Active = 37, "ACTIVE", BrokerToClient, Own, None, Some("Active"), false;
    /// Entries are to be delivered again.
    Redeliver = 38, "REDELIVER", ClientToBroker, Own, None, Some("Redeliver"), false;
    /// How far does the partition go?
    GetLast = 39, "GET_LAST", ClientToBroker, Own, Asks, None, false;
    /// So far.
    Last = 40, "LAST", BrokerToClient, Own, Echoes, Some("Last"), false;
    /// An administrative request.
    Admin = 50, "ADMIN", ClientToBroker, Connection, Asks, Some("Admin"), false;
    /// Its answer, as JSON.
    AdminDone = 51, "ADMIN_DONE", BrokerToClient, Connection, Echoes, None, true;
    /// A partition is about to move to another owner.
    Moving = 60, "MOVING", Reserved, Either, None, None, false;
}

impl Kind {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Whether a frame of this kind may carry this stream and this correlation id.
    #[must_use]
    pub const fn may_carry(self, stream: u32, correlation: u64) -> bool {
        let stream_fits = match self.stream_use() {
            StreamUse::Connection => stream == 0,
            StreamUse::Own => stream > 0,
            StreamUse::Either => true,
        };
        let correlation_fits = match self.correlation_use() {
            CorrelationUse::Asks => correlation > 0,
            CorrelationUse::None | CorrelationUse::MayAsk | CorrelationUse::Echoes => true,
        };
        stream_fits && correlation_fits
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_rising_and_read_back() {
        for pair in Kind::ALL.windows(2) {
            assert!(
                pair[0].code() < pair[1].code(),
                "{} and {}",
                pair[0],
                pair[1]
            );
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), Some(*kind));
        }
        assert_eq!(
            Kind::from_code(0),
            None,
            "0 is left free, so that zeros are no frame"
        );
    }

    #[test]
    fn a_request_that_wants_an_answer_needs_a_correlation_id() {
        assert!(Kind::Produce.may_carry(1, 1));
        assert!(!Kind::Produce.may_carry(1, 0));
        assert!(!Kind::Produce.may_carry(0, 1));
        assert!(Kind::Ack.may_carry(1, 0));
        assert!(!Kind::Lookup.may_carry(1, 1));
        assert!(Kind::Seek.may_carry(0, 1));
        assert!(Kind::Seek.may_carry(9, 1));
    }
}
