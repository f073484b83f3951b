//! `hulse produce`: sends lines as messages.

mod lines;
mod pace;
mod source;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hulse_client::{Access, ClientError, Message, Producer};
use indicatif::ProgressBar;
use tokio::time::timeout;

use crate::cli::CommonFlags;
use crate::client::{block_on, connect, interrupted};
use crate::config::ClientSettings;
use crate::exit::{Exit, Failure, Outcome};
use crate::moment;
use crate::{output, progress};
use lines::Block;
pub(crate) use pace::Pace;
use source::Source;
use tally::Tally;

/// How long receipts are waited for once somebody has interrupted.
const LAST_RECEIPTS: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
A line is a message. LF alone ends a line (a CR stays), an empty line is an empty message, a last
line without LF counts, and a line over 5 MiB fails the command with its number. A topic that does
not exist is created.

Exit status 0 only when every message is acknowledged: at `disk` (the topic's default) that means
synced to disk. A broker that is killed and restarted in the middle costs nothing: what has no
receipt is sent again under the same sequence numbers, and is stored once. With nothing
acknowledged for --timeout seconds (default 60) the command gives up.

The last line on stderr is: acked=N failed=N first=ID last=ID
Ids are term:offset:partition:index, - when there is none. --json prints the same on stdout.

Examples:
  hulse produce orders --file orders.jsonl
  tail -f app.log | hulse produce logs --producer app-1
  hulse produce readings --key-separator , --rate 1000 < readings.csv
  echo 'remind me' | hulse produce reminders --deliver-after 15m";

/// Flags of `hulse produce`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProduceArgs {
    /// Topic: `orders`, `persistent://tenant/namespace/orders`, or one partition, `orders-partition-0`
    topic: String,
    /// File to read; stdin when left out or -
    #[arg(long, value_name = "F")]
    file: Option<PathBuf>,
    /// Send so many messages per second, on a schedule that does not wait for answers
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Name of the producer, by which retries are recognised; one command at a time has it
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// What stands before the first C of a line is the message's key; a line without C has none.
    /// Lines of different keys go in batches of their own
    #[arg(long, value_name = "C")]
    key_separator: Option<char>,
    /// Whether other producers may publish at the same time
    #[arg(long, value_name = "HOW", default_value = "shared")]
    access: AccessMode,
    /// Deliver each message so long after it was sent, and not before: 250ms, 90s, 15m, 2h, 7d. Shared
    /// and key-shared subscriptions wait for it; the others get everything at once, in order
    #[arg(long, value_name = "D", value_parser = delay, conflicts_with = "deliver_at")]
    deliver_after: Option<Duration>,
    /// Deliver the messages at this time, and not before: 2026-11-22T14:30:00Z, or milliseconds since
    /// 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    deliver_at: Option<u64>,
}

impl ProduceArgs {
    /// When a message that is sent now is delivered, if it has to wait.
    fn deliver_at_ms(&self) -> Option<u64> {
        let after = |delay| moment::milliseconds(moment::now().saturating_add(delay));
        self.deliver_at.or_else(|| self.deliver_after.map(after))
    }
}

/// How long after its sending a message is delivered.
fn delay(text: &str) -> Result<Duration, String> {
    moment::duration(text).ok_or_else(|| "a delay is, for instance, 250ms, 90s or 2h".to_owned())
}

/// When a message is delivered.
fn time(text: &str) -> Result<u64, String> {
    let expected = "a time is, for instance, 2026-11-22T14:30:00Z, or milliseconds since 1970";
    moment::moment(text).ok_or_else(|| expected.to_owned())
}

/// Whether other producers may publish at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AccessMode {
    /// They may
    Shared,
    /// They may not; fails while there is one
    Exclusive,
    /// They may not; waits until they are gone
    Wait,
    /// They may not; those that are there fail
    Fencing,
}

impl AccessMode {
    const fn access(self) -> Access {
        match self {
            Self::Shared => Access::Shared,
            Self::Exclusive => Access::Exclusive,
            Self::Wait => Access::Wait,
            Self::Fencing => Access::Fencing,
        }
    }
}

/// A rate in messages per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| "a rate is messages per second, from 0.001 to 1000000000".to_owned())
}

/// How the sending ended.
enum Ended {
    /// At the end of the input, with everything acknowledged.
    Whole,
    /// Something failed.
    Failed(Failure),
    /// By a signal.
    Interrupted,
}

/// Sends the lines.
///
/// # Errors
/// When the input or a message fails, or no server can be reached.
pub(crate) fn run(args: &ProduceArgs, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let source = Source::open(args.file.as_deref())?;
    block_on(async {
        let opened = tokio::select! {
            opened = open(args, &settings) => opened,
            () = interrupted() => return Ok(Exit::Interrupted),
        };
        let producer = opened?;
        let mut tally = Tally::default();
        let bar = progress::bytes(source.bytes);
        let mut sending = Sending {
            producer: &producer,
            tally: &mut tally,
            bar: &bar,
            args,
        };
        let ended = tokio::select! {
            sent = sending.run(source) => match sent {
                Ok(()) => Ended::Whole,
                Err(failure) => Ended::Failed(failure),
            },
            () = interrupted() => Ended::Interrupted,
        };
        match ended {
            // Everything has its receipt; a broker that is gone by now changes nothing.
            Ended::Whole => drop(producer.close().await),
            // What is on its way may still arrive, and is then counted as what it is.
            Ended::Interrupted => drop(timeout(LAST_RECEIPTS, tally.finish()).await),
            Ended::Failed(_) => {}
        }
        bar.finish_and_clear();
        let summary = tally.end();
        if common.json {
            output::print_json(&summary.json())?;
        }
        let exit = match ended {
            Ended::Whole => Exit::Done,
            Ended::Interrupted => Exit::Interrupted,
            Ended::Failed(failure) => {
                eprintln!("hulse: {failure}");
                failure.exit
            }
        };
        // This line is the last one, whatever happened.
        eprintln!("{summary}");
        Ok(exit)
    })
}

async fn open(args: &ProduceArgs, settings: &ClientSettings) -> Result<Producer, Failure> {
    let client = connect(settings, settings.stream_patience()).await?;
    let mut builder = client.producer(&args.topic).access(args.access.access());
    if let Some(name) = &args.producer {
        builder = builder.name(name);
    }
    // Whoever sets keys may have consumers that are given them by key.
    let builder = builder.batch_by_key(args.key_separator.is_some());
    Ok(builder.build().await?)
}

/// The sending of one input.
struct Sending<'a> {
    producer: &'a Producer,
    tally: &'a mut Tally,
    bar: &'a ProgressBar,
    args: &'a ProduceArgs,
}

impl Sending<'_> {
    async fn run(&mut self, mut source: Source) -> Result<(), Failure> {
        let mut pace = self.args.rate.map(Pace::new);
        loop {
            let block = match source.next().await {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(error) => {
                    // What was read before it is sent and waited for; the first trouble counts.
                    self.tally.finish().await?;
                    if matches!(error, lines::LineError::TooLong { .. }) {
                        self.tally.refused();
                    }
                    return Err(Failure::failed(error));
                }
            };
            self.send(&block, pace.as_mut()).await?;
            self.bar.inc(block.bytes() as u64);
            self.bar
                .set_message(format!("{} acknowledged", self.tally.acked()));
        }
        Ok(self.tally.finish().await?)
    }

    async fn send(&mut self, block: &Block, mut pace: Option<&mut Pace>) -> Result<(), Failure> {
        for (line, number) in block.lines().zip(block.first_line()..) {
            if let Some(pace) = &mut pace {
                pace.due().await;
            }
            let message = Message {
                deliver_at_ms: self.args.deliver_at_ms(),
                ..message(line, self.args.key_separator)
            };
            match self.producer.send(message).await {
                Ok(handle) => self.tally.sent(handle),
                Err(error @ ClientError::MessageTooLarge { .. }) => {
                    self.tally.finish().await?;
                    self.tally.refused();
                    return Err(Failure::failed(format_args!("line {number}: {error}")));
                }
                Err(error) => {
                    self.tally.refused();
                    return Err(error.into());
                }
            }
            self.tally.collect()?;
        }
        Ok(())
    }
}

/// The message of a line.
fn message(line: &[u8], key_separator: Option<char>) -> Message<'_> {
    let mut buffer = [0; 4];
    let Some(separator) = key_separator.map(|c| c.encode_utf8(&mut buffer).as_bytes()) else {
        return Message::new(line);
    };
    match line
        .windows(separator.len())
        .position(|window| window == separator)
    {
        Some(at) => Message::keyed(&line[..at], &line[at + separator.len()..]),
        None => Message::new(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stands_before_the_first_separator() {
        let cases = [
            ("a,b,c", None, None, "a,b,c"),
            ("a,b,c", Some(','), Some("a"), "b,c"),
            (",b", Some(','), Some(""), "b"),
            ("a,", Some(','), Some("a"), ""),
            ("abc", Some(','), None, "abc"),
            ("a→b", Some('→'), Some("a"), "b"),
        ];
        for (line, separator, key, value) in cases {
            let expected = Message {
                key: key.map(str::as_bytes),
                ..Message::new(value)
            };
            assert_eq!(message(line.as_bytes(), separator), expected);
        }
    }

    #[test]
    fn a_time_is_read_and_nonsense_is_not() {
        assert_eq!(time("2026-11-22T14:30:00Z"), Ok(1_795_357_800_000));
        assert_eq!(time("1795357800000"), Ok(1_795_357_800_000));
        assert_eq!(delay("90s"), Ok(Duration::from_secs(90)));
        assert!(time("soon").is_err() && delay("90").is_err());
    }

    #[test]
    fn rates_are_positive_and_finite() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "nan", "inf", "1e10", "many"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
