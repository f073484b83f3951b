//! Offsets, terms, message ids and the random identities of partitions and groups.

use core::fmt;
use core::str::FromStr;

/// The position of an entry in its partition: counts entries from 0, without gaps, across terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// The offset that is `count` entries further on.
    ///
    /// # Panics
    /// When the sum does not fit into 64 bits, which a log never reaches.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        match self.0.checked_add(count) {
            Some(sum) => Self(sum),
            None => panic!("an offset overflowed 64 bits"),
        }
    }

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One primary's reign over a group. It rises with every installation of a primary, also of the
/// same broker again; the first is 1, and 0 stands for "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! random_identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Reads exactly 32 hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(ParseIdError);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| ParseIdError)
            }
        }
    };
}

random_identity! {
    /// The random identity of a partition: names its files, for ever.
    PartitionId
}
random_identity! {
    /// The random identity of a replica group, the unit of ownership and fail-over.
    GroupId
}

/// A producer's short identity within one partition, given by the broker at its first opening and
/// stored in every entry. 0 stands for "no producer".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProducerId(pub u64);

/// A place between messages: everything before message `index` of entry `offset` lies behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The entry.
    pub offset: Offset,
    /// The message within the entry's batch, from 0.
    pub index: u32,
}

impl Position {
    /// The place before the first message of entry `offset`.
    #[must_use]
    pub const fn at(offset: Offset) -> Self {
        Self { offset, index: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.offset, self.index)
    }
}

/// The name of a message, the same in every region for ever: written
/// `term:offset:partition:index`, with -1 for what is absent.
///
/// It orders by term, then offset, then index; the partition is no order, but takes part last so
/// that the order is total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The term in which the entry was appended.
    pub term: Term,
    /// The entry's offset in its partition.
    pub offset: Offset,
    /// The partition's number within its topic; -1 when the topic has no partitions.
    pub partition: i32,
    /// The message's number within its batch; -1 when the whole entry is meant.
    pub index: i32,
}

impl MessageId {
    fn order(&self) -> (Term, Offset, i32, i32) {
        (self.term, self.offset, self.index, self.partition)
    }
}

impl PartialOrd for MessageId {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MessageId {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}:{}",
            self.term, self.offset, self.partition, self.index
        )
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(ParseIdError);
        let term = part()?.parse().map(Term).map_err(|_| ParseIdError)?;
        let offset = part()?.parse().map(Offset).map_err(|_| ParseIdError)?;
        let partition = part()?.parse().map_err(|_| ParseIdError)?;
        let index = part()?.parse().map_err(|_| ParseIdError)?;
        if parts.next().is_some() || partition < -1 || index < -1 {
            return Err(ParseIdError);
        }
        Ok(Self {
            term,
            offset,
            partition,
            index,
        })
    }
}

/// A text that is no identity of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct ParseIdError;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn message_ids_are_written_and_read_back_and_order_by_term_first() {
        let id = MessageId {
            term: Term(3),
            offset: Offset(9),
            partition: -1,
            index: 4,
        };
        assert_eq!(id.to_string(), "3:9:-1:4");
        assert_eq!("3:9:-1:4".parse(), Ok(id));
        for bad in [
            "",
            "1:2:3",
            "1:2:3:4:5",
            "a:2:3:4",
            "1:2:-2:4",
            "1:2:3:-2",
            "-1:2:3:4",
        ] {
            assert_eq!(bad.parse::<MessageId>(), Err(ParseIdError), "{bad}");
        }
        let later_term = MessageId {
            term: Term(4),
            offset: Offset(0),
            ..id
        };
        assert!(later_term > id);
    }

    #[test]
    fn random_identities_are_thirty_two_hex_digits() {
        let id = PartitionId(0xab);
        assert_eq!(id.to_string().len(), 32);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(
            "+0000000000000000000000000000001"
                .parse::<PartitionId>()
                .is_err()
        );
        assert!("ab".parse::<PartitionId>().is_err());
    }
}
