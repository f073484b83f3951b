//! Policies on the command line: the flags that set them, and how they are shown.

use clap::Args;
use hulse_client::json::{PolicyDescription, PolicyValues};
use hulse_client::{Policy, PolicyChange, UNLIMITED};

use crate::exit::Failure;
use crate::output::{table, text_of};

/// How the flags are written, for the help of the verbs that have them.
pub(crate) const HELP: &str = "\
Policies:
  --retention  how long, and how much of, what every subscription has acknowledged is kept: an age
               (90s, 15m, 12h, 7d), an amount on the disk for each partition (10GB, 512MiB), or
               both: 7d,10GB. What is over either goes, in whole segments, oldest first
  --ttl        after how long a message counts as acknowledged though it is not, for every
               subscription
  --backlog    how much a subscription may leave unacknowledged in a partition before producers of
               that partition are refused; they are taken again by themselves
  --rate       how fast may be published: 10MB/s, 1000msg/s, or both: 10MB/s,1000msg/s. The
               connections of who is faster are not read for a while

`none` takes a policy back; `unlimited` (not for rates) says that there is no limit here, whatever
wider levels say. KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB powers of 1024.

Levels are tenant, namespace and topic. Of retention, time to live and backlog the narrowest level
that says something holds. Rates hold at each level: what a namespace may publish is part of what
its tenant may. They count all partitions on all cores of a broker together. Policies are kept
through restarts and hold for open topics at once.";

/// What the policies of a level are to be.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyFlags {
    /// How long, and how much of, what all have acknowledged is kept: 7d, 10GB, 7d,10GB, unlimited, none
    #[arg(long, value_name = "D", value_parser = retention)]
    retention: Option<Changes>,
    /// After how long messages count as acknowledged: 90s, 15m, 12h, 7d, unlimited, none
    #[arg(long, value_name = "D", value_parser = ttl)]
    ttl: Option<Changes>,
    /// How much a subscription may leave unacknowledged: 10GB, 512MiB, unlimited, none
    #[arg(long, value_name = "N", value_parser = backlog)]
    backlog: Option<Changes>,
    /// How much may be published per second: 10MB/s, 1000msg/s, 10MB/s,1000msg/s, none
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<Changes>,
}

impl PolicyFlags {
    /// What was asked for.
    pub(crate) fn changes(&self) -> Vec<PolicyChange> {
        let flags = [&self.retention, &self.ttl, &self.backlog, &self.rate];
        let given = flags.into_iter().flatten();
        given.flat_map(|changes| changes.0.clone()).collect()
    }

    /// The same for a verb that is for nothing else.
    ///
    /// # Errors
    /// When nothing was asked for.
    pub(crate) fn some_changes(&self) -> Result<Vec<PolicyChange>, Failure> {
        let changes = self.changes();
        if changes.is_empty() {
            return Err(Failure::usage(
                "name at least one of --retention, --ttl, --backlog and --rate",
            ));
        }
        Ok(changes)
    }
}

/// What one flag asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Changes(Vec<PolicyChange>);

impl Changes {
    fn all(policies: &[Policy], value: Option<i64>) -> Self {
        let change = |policy: &Policy| PolicyChange {
            policy: *policy,
            value,
        };
        Self(policies.iter().map(change).collect())
    }

    /// Several values, no policy twice, each within its bounds.
    fn checked(changes: Vec<PolicyChange>) -> Result<Self, String> {
        for (at, change) in changes.iter().enumerate() {
            change.check().map_err(|error| error.to_string())?;
            if changes[..at].iter().any(|it| it.policy == change.policy) {
                return Err(format!("{} is named twice", change.policy));
            }
        }
        Ok(Self(changes))
    }
}

fn retention(text: &str) -> Result<Changes, String> {
    let both = [Policy::RetentionMs, Policy::RetentionBytes];
    match text {
        "none" => return Ok(Changes::all(&both, None)),
        "unlimited" => return Ok(Changes::all(&both, Some(UNLIMITED))),
        _ => {}
    }
    let part = |part: &str| {
        let (policy, value) = match (duration_ms(part), bytes(part)) {
            (Some(ms), _) => (Policy::RetentionMs, ms),
            (None, Some(bytes)) => (Policy::RetentionBytes, bytes),
            (None, None) => {
                return Err(
                    "it is an age such as 7d, an amount such as 10GB, both such as 7d,10GB, \
                     unlimited or none"
                        .to_owned(),
                );
            }
        };
        let value = Some(value);
        Ok(PolicyChange { policy, value })
    };
    Changes::checked(text.split(',').map(part).collect::<Result<_, _>>()?)
}

fn ttl(text: &str) -> Result<Changes, String> {
    let read = |text: &str| duration_ms(text).ok_or("it is an age such as 12h, unlimited or none");
    single(Policy::TtlMs, text, read)
}

fn backlog(text: &str) -> Result<Changes, String> {
    let read = |text: &str| bytes(text).ok_or("it is an amount such as 10GB, unlimited or none");
    single(Policy::BacklogBytes, text, read)
}

fn single(
    policy: Policy,
    text: &str,
    read: impl Fn(&str) -> Result<i64, &'static str>,
) -> Result<Changes, String> {
    let value = match text {
        "none" => None,
        "unlimited" => Some(UNLIMITED),
        text => Some(read(text)?),
    };
    Changes::checked(vec![PolicyChange { policy, value }])
}

fn rate(text: &str) -> Result<Changes, String> {
    if text == "none" {
        return Ok(Changes::all(
            &[Policy::RateBytes, Policy::RateMessages],
            None,
        ));
    }
    let part = |part: &str| {
        let amount = part.strip_suffix("/s");
        let messages = amount.and_then(|it| it.strip_suffix("msg")).and_then(whole);
        let (policy, value) = match (messages, amount.and_then(bytes)) {
            (Some(messages), _) => (Policy::RateMessages, messages),
            (None, Some(bytes)) => (Policy::RateBytes, bytes),
            (None, None) => {
                return Err("it is 10MB/s, 1000msg/s, both such as 10MB/s,1000msg/s, or none");
            }
        };
        let value = Some(value);
        Ok(PolicyChange { policy, value })
    };
    Changes::checked(text.split(',').map(part).collect::<Result<_, _>>()?)
}

fn whole(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// A whole number and its unit.
fn with_unit(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(at);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    whole(digits)?.checked_mul(*scale)
}

const MS_UNITS: [(&str, i64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const BYTE_UNITS: [(&str, i64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

fn duration_ms(text: &str) -> Option<i64> {
    with_unit(text, &MS_UNITS)
}

fn bytes(text: &str) -> Option<i64> {
    with_unit(text, &BYTE_UNITS)
}

/// A value with the largest unit that it is a whole number of: what the flags take.
fn shown(value: i64, units: &[(&str, i64)]) -> String {
    if value == UNLIMITED {
        return "unlimited".to_owned();
    }
    let fits = |(_, scale): &&(&str, i64)| value != 0 && value % scale == 0;
    let (name, scale) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{name}", value / scale)
}

/// The four policies of `values` in the order of the flags, in the words that the flags take; `-` for
/// what is not there.
pub(crate) fn cells(values: &PolicyValues) -> [String; 4] {
    let get = |policy: Policy| values.get(policy.name()).copied();
    let ms = |policy| get(policy).map(|value| shown(value, &MS_UNITS));
    let amount = |policy| get(policy).map(|value| shown(value, &BYTE_UNITS));
    let join = |parts: [Option<String>; 2]| {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match &parts[..] {
            [] => "-".to_owned(),
            [one, other] if one == other => one.clone(),
            parts => parts.join(","),
        }
    };
    let per_s = amount(Policy::RateBytes).map(|bytes| format!("{bytes}/s"));
    let messages = get(Policy::RateMessages).map(|count| format!("{count}msg/s"));
    [
        join([ms(Policy::RetentionMs), amount(Policy::RetentionBytes)]),
        join([ms(Policy::TtlMs), None]),
        join([amount(Policy::BacklogBytes), None]),
        join([per_s, messages]),
    ]
}

/// The policies of one level, beside what holds there by all levels together.
pub(crate) fn describe(description: &PolicyDescription) -> String {
    let (level, scope) = (&description.level, &description.scope);
    let mut policies = table(["policy", "set here", "holds"]);
    let names = ["retention", "ttl", "backlog", "rate"];
    let own = cells(&description.policies);
    let holds = cells(&description.effective);
    for (at, name) in names.into_iter().enumerate() {
        let holds = match name {
            // Rates hold at each level by themselves.
            "rate" => own[at].clone(),
            _ => holds[at].clone(),
        };
        policies.add_row([name.to_owned(), own[at].clone(), holds]);
    }
    format!("{level} {scope}\n{}", text_of(&policies))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parse: fn(&str) -> Result<Changes, String>, text: &str) -> Vec<(&str, Option<i64>)> {
        let changes = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let named = changes.0.into_iter();
        named
            .map(|change| (change.policy.name(), change.value))
            .collect()
    }

    #[test]
    fn policies_are_read_as_they_are_written() {
        assert_eq!(
            read(retention, "3d,10GB"),
            [
                ("retention_ms", Some(259_200_000)),
                ("retention_bytes", Some(10_000_000_000))
            ]
        );
        assert_eq!(read(retention, "0s"), [("retention_ms", Some(0))]);
        assert_eq!(
            read(retention, "unlimited"),
            [("retention_ms", Some(-1)), ("retention_bytes", Some(-1))]
        );
        assert_eq!(read(ttl, "90s"), [("ttl_ms", Some(90_000))]);
        assert_eq!(read(ttl, "none"), [("ttl_ms", None)]);
        assert_eq!(
            read(backlog, "512MiB"),
            [("backlog_bytes", Some(512 << 20))]
        );
        assert_eq!(
            read(rate, "10MB/s,1000msg/s"),
            [
                ("rate_bytes_per_s", Some(10_000_000)),
                ("rate_messages_per_s", Some(1_000))
            ]
        );
        assert_eq!(read(rate, "1KiB/s"), [("rate_bytes_per_s", Some(1_024))]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "",
            "3",
            "d",
            "3 d",
            "-1d",
            "1.5d",
            "3d,4h",
            "3d,",
            "99999999999999d",
        ] {
            assert!(retention(text).is_err(), "{text}");
        }
        for text in ["", "1ms", "5GB", "0s"] {
            assert!(ttl(text).is_err(), "{text}");
        }
        for text in ["0B", "7d", "5"] {
            assert!(backlog(text).is_err(), "{text}");
        }
        for text in ["", "10MB", "0msg/s", "unlimited", "1MB/s,2MB/s", "10/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_said_again() {
        let values: PolicyValues = [
            ("retention_ms".to_owned(), 259_200_000),
            ("retention_bytes".to_owned(), 16 << 20),
            ("ttl_ms".to_owned(), -1),
            ("rate_messages_per_s".to_owned(), 5),
        ]
        .into();
        let shown = cells(&values);
        assert_eq!(shown, ["3d,16MiB", "unlimited", "-", "5msg/s"]);
        assert_eq!(read(retention, &shown[0]).len(), 2);
        assert_eq!(cells(&PolicyValues::default()), ["-"; 4]);
        let text = describe(&PolicyDescription {
            scope: "acme/eu".to_owned(),
            level: "namespace".to_owned(),
            policies: values.clone(),
            effective: values,
        });
        assert!(text.starts_with("namespace acme/eu\n"), "{text}");
        assert_eq!(text.matches("3d,16MiB").count(), 2, "{text}");
    }
}
