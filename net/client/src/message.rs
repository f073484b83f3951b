//! A message to send.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hulse_model::batch;

/// A message to send: a value, and a key or none. It borrows its bytes; [`crate::Producer::send`]
/// copies them into a batch.
///
/// ```
/// use hulse_client::Message;
///
/// let plain = Message::new("hello");
/// let keyed = Message::keyed("customer-7", "hello");
/// assert_eq!(plain.value, keyed.value);
/// assert_eq!(keyed.key, Some(&b"customer-7"[..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The key: messages of the same key go to the same partition. At most 4 KiB.
    pub key: Option<&'a [u8]>,
    /// The value, at most 5 MiB.
    pub value: &'a [u8],
    /// When it is delivered at the earliest, in milliseconds since 1970, by the broker's clock; at once
    /// when this is `None`. Consumers of exclusive and failover subscriptions, which keep the order of
    /// their partition, get it at once in any case.
    pub deliver_at_ms: Option<u64>,
}

impl<'a> Message<'a> {
    /// A message without a key.
    pub fn new<V: AsRef<[u8]> + ?Sized>(value: &'a V) -> Self {
        Self {
            key: None,
            value: value.as_ref(),
            deliver_at_ms: None,
        }
    }

    /// A message with a key.
    pub fn keyed<K, V>(key: &'a K, value: &'a V) -> Self
    where
        K: AsRef<[u8]> + ?Sized,
        V: AsRef<[u8]> + ?Sized,
    {
        Self {
            key: Some(key.as_ref()),
            value: value.as_ref(),
            deliver_at_ms: None,
        }
    }

    /// The same message, delivered to shared and key-shared subscriptions at `time` and not before.
    ///
    /// Messages of different times go in batches of their own.
    #[must_use]
    pub fn deliver_at(self, time: SystemTime) -> Self {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        Self {
            deliver_at_ms: Some(ms),
            ..self
        }
    }

    /// The same, `delay` from now by this machine's clock.
    #[must_use]
    pub fn deliver_after(self, delay: Duration) -> Self {
        match SystemTime::now().checked_add(delay) {
            Some(time) => self.deliver_at(time),
            None => Self {
                deliver_at_ms: Some(u64::MAX),
                ..self
            },
        }
    }

    /// The message as the payload's codec knows it.
    pub(crate) const fn encoded(&self) -> batch::Message<'a> {
        batch::Message {
            key: self.key,
            value: self.value,
        }
    }
}

impl<'a, V: AsRef<[u8]> + ?Sized> From<&'a V> for Message<'a> {
    fn from(value: &'a V) -> Self {
        Self::new(value)
    }
}
