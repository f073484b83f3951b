//! What holds for the topics of a tenant or namespace: how long messages are kept, how much may be
//! unacknowledged, how fast may be published.
//!
//! Policies stand at three levels: tenant, namespace, topic. Of what is kept, and of the backlog, the
//! narrowest level that says something is right. Rates hold at each level by itself: what a namespace
//! may publish is part of what its tenant may.

use core::fmt;

use crate::limits::{POLICY_VALUE_MAX, RETENTION_MS_DEFAULT, TTL_MS_MIN};

/// One policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Policy {
    /// How long is kept what every subscription has acknowledged or none wants, in milliseconds.
    RetentionMs = 0,
    /// How many bytes a partition may take on the disk before the oldest such messages go.
    RetentionBytes = 1,
    /// After how long a message counts as acknowledged though it is not, in milliseconds.
    TtlMs = 2,
    /// How many bytes a subscription may leave unacknowledged before its topic takes no more.
    BacklogBytes = 3,
    /// How many bytes may be published in a second.
    RateBytes = 4,
    /// How many messages may be published in a second.
    RateMessages = 5,
}

impl Policy {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::RetentionMs,
        Self::RetentionBytes,
        Self::TtlMs,
        Self::BacklogBytes,
        Self::RateBytes,
        Self::RateMessages,
    ];

    /// Its name in answers and records, with its unit at the end.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RetentionMs => "retention_ms",
            Self::RetentionBytes => "retention_bytes",
            Self::TtlMs => "ttl_ms",
            Self::BacklogBytes => "backlog_bytes",
            Self::RateBytes => "rate_bytes_per_s",
            Self::RateMessages => "rate_messages_per_s",
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The one with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether it says how fast may be published.
    #[must_use]
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::RateBytes | Self::RateMessages)
    }

    /// The smallest number that it may state.
    const fn least(self) -> i64 {
        match self {
            Self::RetentionMs | Self::RetentionBytes => 0,
            Self::TtlMs => TTL_MS_MIN,
            Self::BacklogBytes | Self::RateBytes | Self::RateMessages => 1,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The value of a policy that says: without limit, whatever wider levels say.
pub const UNLIMITED: i64 = -1;

/// A value that a policy cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{policy} is {least} to {POLICY_VALUE_MAX}{unlimited}, not {value}",
    least = policy.least(),
    unlimited = if policy.is_rate() { "" } else { ", or -1 for no limit" }
)]
pub struct PolicyError {
    /// The policy.
    pub policy: Policy,
    /// The value.
    pub value: i64,
}

/// What is to become of one policy at one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyChange {
    /// The policy.
    pub policy: Policy,
    /// Its value; `None` takes it back, so that wider levels and the default hold.
    pub value: Option<i64>,
}

impl PolicyChange {
    /// Checks the value.
    ///
    /// # Errors
    /// When the policy cannot have it. A rate without limit has no meaning, since each level holds by
    /// itself: it is taken back instead.
    pub const fn check(self) -> Result<(), PolicyError> {
        let Self { policy, value } = self;
        let Some(value) = value else {
            return Ok(());
        };
        let unlimited = value == UNLIMITED && !policy.is_rate();
        if unlimited || (value >= policy.least() && value <= POLICY_VALUE_MAX) {
            Ok(())
        } else {
            Err(PolicyError { policy, value })
        }
    }
}

/// What one level says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policies([Option<i64>; Policy::ALL.len()]);

impl Policies {
    /// What it says of a policy.
    #[must_use]
    pub const fn get(&self, policy: Policy) -> Option<i64> {
        self.0[policy as usize]
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Changes one policy.
    ///
    /// # Errors
    /// When it cannot have the value; then nothing has changed.
    pub fn change(&mut self, change: PolicyChange) -> Result<(), PolicyError> {
        change.check()?;
        self.0[change.policy as usize] = change.value;
        Ok(())
    }

    /// The policies that it has something to say of.
    pub fn iter(&self) -> impl Iterator<Item = (Policy, i64)> + '_ {
        let all = Policy::ALL.into_iter();
        all.filter_map(|policy| Some((policy, self.get(policy)?)))
    }

    /// Reads what [`Self::iter`] gave, by name. A name that is not known, from a newer program, and a
    /// value that cannot be are passed over.
    pub fn from_named<'a>(named: impl IntoIterator<Item = (&'a str, i64)>) -> Self {
        let mut policies = Self::default();
        for (name, value) in named {
            if let Some(policy) = Policy::from_name(name) {
                let value = Some(value);
                let _ = policies.change(PolicyChange { policy, value });
            }
        }
        policies
    }

    /// The rate of this level, if it states one.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let per_s = |policy| self.get(policy).and_then(|value| u64::try_from(value).ok());
        let rate = Rate {
            bytes_per_s: per_s(Policy::RateBytes),
            messages_per_s: per_s(Policy::RateMessages),
        };
        (rate != Rate::default()).then_some(rate)
    }
}

/// How fast may be published; `None`: at any speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Bytes in a second.
    pub bytes_per_s: Option<u64>,
    /// Messages in a second.
    pub messages_per_s: Option<u64>,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bytes_per_s, self.messages_per_s) {
            (Some(bytes), Some(messages)) => write!(f, "{bytes} B/s and {messages} msg/s"),
            (Some(bytes), None) => write!(f, "{bytes} B/s"),
            (None, Some(messages)) => write!(f, "{messages} msg/s"),
            (None, None) => f.write_str("any speed"),
        }
    }
}

/// What holds for a topic by all levels together, rates aside; `None`: without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// See [`Policy::RetentionMs`]; 7 days when no level says otherwise.
    pub retention_ms: Option<u64>,
    /// See [`Policy::RetentionBytes`].
    pub retention_bytes: Option<u64>,
    /// See [`Policy::TtlMs`].
    pub ttl_ms: Option<u64>,
    /// See [`Policy::BacklogBytes`].
    pub backlog_bytes: Option<u64>,
}

impl Default for Effective {
    /// What holds when no level says anything.
    fn default() -> Self {
        Self::of([])
    }
}

impl Effective {
    /// What the levels say together, the widest first.
    pub fn of<'a>(levels: impl IntoIterator<Item = &'a Policies>) -> Self {
        let mut narrowest = Policies::default();
        for level in levels {
            for (policy, value) in level.iter() {
                narrowest.0[policy as usize] = Some(value);
            }
        }
        let limit = |policy, default: Option<u64>| match narrowest.get(policy) {
            None => default,
            // Below zero is without limit.
            Some(value) => u64::try_from(value).ok(),
        };
        Self {
            retention_ms: limit(Policy::RetentionMs, Some(RETENTION_MS_DEFAULT)),
            retention_bytes: limit(Policy::RetentionBytes, None),
            ttl_ms: limit(Policy::TtlMs, None),
            backlog_bytes: limit(Policy::BacklogBytes, None),
        }
    }

    /// The policies with their values, those without limit as [`UNLIMITED`].
    pub fn iter(&self) -> impl Iterator<Item = (Policy, i64)> {
        let all = [
            (Policy::RetentionMs, self.retention_ms),
            (Policy::RetentionBytes, self.retention_bytes),
            (Policy::TtlMs, self.ttl_ms),
            (Policy::BacklogBytes, self.backlog_bytes),
        ];
        let value = |limit: Option<u64>| {
            limit.map_or(UNLIMITED, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
        };
        all.into_iter()
            .map(move |(policy, limit)| (policy, value(limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn set(policies: &mut Policies, policy: Policy, value: i64) {
        let value = Some(value);
        policies.change(PolicyChange { policy, value }).unwrap();
    }

    #[test]
    fn the_narrowest_level_wins_also_when_it_takes_a_limit_away() {
        let (mut tenant, mut namespace, mut topic) = <(Policies, Policies, Policies)>::default();
        assert_eq!(
            Effective::of([&tenant, &namespace, &topic]),
            Effective {
                retention_ms: Some(RETENTION_MS_DEFAULT),
                retention_bytes: None,
                ttl_ms: None,
                backlog_bytes: None,
            }
        );
        set(&mut tenant, Policy::RetentionMs, 5);
        set(&mut tenant, Policy::TtlMs, 7_000);
        set(&mut namespace, Policy::RetentionMs, UNLIMITED);
        set(&mut namespace, Policy::BacklogBytes, 9);
        set(&mut topic, Policy::TtlMs, 8_000);
        assert_eq!(
            Effective::of([&tenant, &namespace, &topic]),
            Effective {
                retention_ms: None,
                retention_bytes: None,
                ttl_ms: Some(8_000),
                backlog_bytes: Some(9),
            }
        );
    }

    #[test]
    fn a_value_out_of_its_range_is_refused_and_changes_nothing() {
        for (policy, wrong) in [
            (Policy::RetentionMs, -2),
            (Policy::TtlMs, TTL_MS_MIN - 1),
            (Policy::BacklogBytes, 0),
            (Policy::RateBytes, UNLIMITED),
            (Policy::RateMessages, 0),
            (Policy::RetentionBytes, POLICY_VALUE_MAX + 1),
        ] {
            let mut policies = Policies::default();
            let value = Some(wrong);
            let error = policies.change(PolicyChange { policy, value }).unwrap_err();
            assert!(error.to_string().contains(policy.name()), "{error}");
            assert!(policies.is_empty());
        }
    }

    #[test]
    fn a_level_has_a_rate_when_it_states_one() {
        let mut policies = Policies::default();
        assert_eq!(policies.rate(), None);
        set(&mut policies, Policy::RateMessages, 10);
        let rate = policies.rate().unwrap();
        assert_eq!((rate.bytes_per_s, rate.messages_per_s), (None, Some(10)));
        assert_eq!(rate.to_string(), "10 msg/s");
    }

    proptest! {
        #[test]
        fn policies_read_back_by_name_and_number(values: [Option<i64>; 6]) {
            let mut policies = Policies::default();
            for (policy, value) in Policy::ALL.into_iter().zip(values) {
                prop_assert_eq!(Policy::from_code(policy.code()), Some(policy));
                let before = policies;
                let change = PolicyChange { policy, value };
                if policies.change(change).is_err() {
                    prop_assert_eq!(policies, before);
                }
            }
            let named: Vec<_> = policies.iter().map(|(policy, value)| (policy.name(), value)).collect();
            let read = Policies::from_named(named.into_iter().chain([("colour", 3)]));
            prop_assert_eq!(read, policies);
        }
    }
}
