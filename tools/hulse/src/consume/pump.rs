//! From the broker to stdout, and the acknowledgements back.

use std::fs::File;
use std::future::Future;
use std::io::IsTerminal;
use std::pin::Pin;
use std::time::Duration;

use hulse_client::{Client, ClientError, Consumer, Received};
use indicatif::ProgressBar;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::ConsumeArgs;
use super::asking::Asking;
use super::batch::Batch;
use super::ends::Ends;
use super::form::Form;
use super::outlet::{Outlet, Written};
use super::receipts::Receipts;
use crate::client::interrupted;
use crate::exit::{Exit, Failure, Outcome};
use crate::progress;

/// The most messages that are written at a time.
const BATCH_MESSAGES: usize = 4096;
/// How long a write that blocks is waited for once somebody has interrupted.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// How long receipts are waited for once somebody has interrupted.
const LAST_RECEIPTS: Duration = Duration::from_secs(5);

/// Which messages are wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// How many more.
    left: Option<u64>,
    ends: Option<Ends>,
}

impl Wanted {
    /// `count` messages, or those up to the `ends`, or all.
    pub(crate) const fn new(count: Option<u64>, ends: Option<Ends>) -> Self {
        Self { left: count, ends }
    }

    fn is_over(&self) -> bool {
        self.left == Some(0) || self.ends.as_ref().is_some_and(Ends::reached)
    }

    /// How many messages to take at a time.
    fn at_most(&self) -> usize {
        let left = self.left.and_then(|left| usize::try_from(left).ok());
        left.unwrap_or(BATCH_MESSAGES).min(BATCH_MESSAGES)
    }

    /// Whether this message is to be written.
    fn take(&mut self, message: &Received) -> bool {
        let ends = self.ends.as_mut();
        if !ends.is_none_or(|ends| ends.received(&message.message_id(), message.batch_messages())) {
            return false;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        true
    }
}

/// Why it ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Everything wanted has been written.
    Over,
    /// Whoever read stdout has gone away.
    ReaderGone,
    /// A signal.
    Interrupted,
}

/// Moves messages from the broker to stdout.
pub(crate) struct Pump<'a> {
    client: &'a Client,
    consumer: &'a Consumer,
    args: &'a ConsumeArgs,
    form: Form,
    wanted: Wanted,
    receipts: Receipts<'a>,
    /// Stdout, and room for what is written; both are lent to the thread that writes.
    lent: Option<(Outlet<File>, Batch)>,
    bar: ProgressBar,
    messages: u64,
    /// When the broker is asked whether the end has been reached.
    asking: Asking,
}

/// A signal that may have come.
type Signal = Pin<Box<dyn Future<Output = ()>>>;

impl<'a> Pump<'a> {
    /// A pump through which nothing has gone.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn new(
        client: &'a Client,
        consumer: &'a Consumer,
        args: &'a ConsumeArgs,
        form: Form,
        wanted: Wanted,
    ) -> Result<Self, Failure> {
        let outlet = Outlet::stdout().map_err(|error| cannot_write(&error))?;
        let bar = progress::bytes(None);
        if std::io::stdout().is_terminal() {
            // Messages and a bar would write over each other.
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let in_order = !args.kind.is_shared();
        Ok(Self {
            client,
            consumer,
            args,
            form,
            wanted,
            receipts: Receipts::new(consumer, args.acknowledging(), in_order),
            lent: Some((outlet, Batch::default())),
            bar,
            messages: 0,
            asking: Asking::new(in_order, Instant::now()),
        })
    }

    /// Runs until what is wanted has been written and acknowledged.
    pub(crate) async fn run(mut self) -> Outcome {
        let mut signal: Signal = Box::pin(interrupted());
        let ended = self.pump(&mut signal).await;
        self.bar.finish_and_clear();
        let settled = async {
            self.receipts.finish().await?;
            self.consumer.close().await
        };
        // Where something is wrong already, more patience than this helps nobody.
        let whole = matches!(ended, Ok(End::Over | End::ReaderGone));
        let settled = async {
            if whole {
                return settled.await;
            }
            let late = ClientError::Timeout {
                after: LAST_RECEIPTS,
            };
            timeout(LAST_RECEIPTS, settled).await.unwrap_or(Err(late))
        };
        let settled = tokio::select! {
            settled = settled => settled,
            // The second signal, when the first one has ended the pump.
            () = interrupted() => return Ok(Exit::Interrupted),
        };
        let end = ended?;
        let exit = if end == End::Interrupted {
            Exit::Interrupted
        } else {
            Exit::Done
        };
        settled.map(|()| exit).map_err(|error| {
            let failure = Failure::from(error);
            Failure {
                exit: if exit == Exit::Interrupted {
                    exit
                } else {
                    failure.exit
                },
                sentence: format!("not everything that was written is acknowledged: {failure}"),
            }
        })
    }

    async fn pump(&mut self, signal: &mut Signal) -> Result<End, Failure> {
        while !self.wanted.is_over() {
            let ends = self.wanted.ends.as_ref();
            let asking = ends.is_some_and(|it| self.receipts.settled() || !it.are_in_order());
            let ask_at = self.asking.at();
            tokio::select! {
                biased;
                () = &mut *signal => return Ok(End::Interrupted),
                receipt = self.receipts.next() => receipt?,
                () = sleep_until(ask_at), if asking => self.ask().await?,
                received = self.consumer.receive_many(self.wanted.at_most()) => {
                    match received {
                        Ok(messages) => {
                            if let Some(end) = self.write(&messages, signal).await? {
                                return Ok(end);
                            }
                        }
                        // The connection is opened anew, and nothing is lost.
                        Err(error @ ClientError::Corrupt { .. }) => eprintln!("hulse: {error}"),
                        Err(error) => return Err(error.into()),
                    }
                    self.asking.received(Instant::now());
                }
            }
        }
        Ok(End::Over)
    }

    /// Asks the broker whether the end has been reached without anything more to come here. What is
    /// written and not acknowledged yet cannot be at its end: it is acknowledged first.
    async fn ask(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let settled = self.receipts.settled();
        self.receipts.acknowledge();
        if !settled {
            self.asking.asked(began, Duration::ZERO);
            return Ok(());
        }
        let list = self
            .client
            .admin()
            .list_subscriptions(&self.args.topic)
            .await?;
        if let Some(ends) = &mut self.wanted.ends {
            for one in list
                .subscriptions
                .iter()
                .filter(|one| one.durable && Some(&one.name) == self.args.subscription.as_ref())
            {
                ends.stands(one);
            }
        }
        self.asking.asked(Instant::now(), began.elapsed());
        Ok(())
    }

    /// Writes the messages that are wanted. Gives why it is the end, if it is.
    async fn write(
        &mut self,
        messages: &[Received],
        signal: &mut Signal,
    ) -> Result<Option<End>, Failure> {
        let (mut outlet, mut batch) = self.lent.take().expect("one write at a time");
        for message in messages {
            if self.wanted.take(message) {
                let id = message.message_id();
                let text = || id.to_string();
                self.form
                    .write(&mut batch.text, text, message.key(), message.value());
                batch.ended(id);
            } else {
                self.consumer.not_done(&message.message_id());
            }
        }
        let mut writing = spawn_blocking(move || {
            let written = outlet.write(&batch.text);
            (outlet, batch, written)
        });
        let mut interrupted = false;
        let done = tokio::select! {
            done = &mut writing => done,
            () = &mut *signal => {
                interrupted = true;
                match timeout(LAST_WRITE, writing).await {
                    Ok(done) => done,
                    // Nobody reads: how much of this is out cannot be known.
                    Err(_) => {
                        let ids = messages.iter().map(Received::message_id);
                        ids.for_each(|id| self.consumer.not_done(&id));
                        return Ok(Some(End::Interrupted));
                    }
                }
            }
        };
        let (outlet, mut batch, written) = done.map_err(Failure::failed)?;
        let count = match written {
            Written::All => batch.messages(),
            Written::ReaderGone { bytes } | Written::Failed { bytes, .. } => batch.within(bytes),
        };
        self.receipts.written(&batch, count);
        self.messages += count as u64;
        self.bar.inc(batch.text.len() as u64);
        self.bar.set_message(format!("{} messages", self.messages));
        batch.clear();
        self.lent = Some((outlet, batch));
        match written {
            Written::All => Ok(interrupted.then_some(End::Interrupted)),
            Written::ReaderGone { .. } => Ok(Some(End::ReaderGone)),
            Written::Failed { error, .. } => Err(cannot_write(&error)),
        }
    }
}

fn cannot_write(error: &std::io::Error) -> Failure {
    Failure::failed(format_args!("stdout cannot be written: {error}"))
}
