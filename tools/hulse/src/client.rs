//! Connecting to a server, and what its refusals mean on the command line.

use std::future::Future;
use std::time::Duration;

use hulse_client::{Client, ClientError, Status};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::config::{ClientSettings, Patience};
use crate::exit::{Exit, Failure, Outcome};

/// Threads that serve connections beside the main one, which may block on stdin and stdout while
/// they go on sending beacons.
const WORKERS: usize = 2;
/// The pause between two tries to reach a server.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// After how long of trying somebody is told.
const NOTICE_AFTER: Duration = Duration::from_secs(1);

/// Runs a command on a runtime of its own, on the calling thread.
///
/// # Errors
/// Those of `work`, and when the system gives no threads.
pub(crate) fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format_args!("no threads can be started: {error}")))?;
    let outcome = runtime.block_on(work);
    // What is still running belongs to a connection that nobody needs any more.
    runtime.shutdown_background();
    outcome
}

/// Runs `work` until it ends or somebody interrupts it.
///
/// # Errors
/// Those of `work`.
pub(crate) async fn unless_interrupted(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::select! {
        outcome = work => outcome,
        () = interrupted() => Ok(Exit::Interrupted),
    }
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            // Without a handler the signal ends the process, as it does everywhere.
            Err(_) => std::future::pending().await,
        }
    };
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = terminated => {}
        () = interrupt => {}
    }
}

/// Connects to a server, trying as long as `patience` says.
///
/// # Errors
/// When none can be reached in time, or one refuses.
pub(crate) async fn connect(
    settings: &ClientSettings,
    patience: Patience,
) -> Result<Client, Failure> {
    let started = Instant::now();
    let mut told = false;
    loop {
        let attempt = Client::builder(&settings.server)
            .name(concat!("hulse ", env!("CARGO_PKG_VERSION")))
            .operation_timeout(patience.operation)
            .connect();
        let error = match attempt.await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let tried = started.elapsed();
        if !error.is_retryable() || tried + RETRY_PAUSE > patience.contact {
            return Err(error.into());
        }
        if !told && tried >= NOTICE_AFTER {
            told = true;
            eprintln!(
                "hulse: {error}; trying for {} s",
                patience.contact.as_secs_f64()
            );
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Connects for a single request and carries it out.
///
/// # Errors
/// When no server can be reached, or `request` fails.
pub(crate) fn request<F>(settings: &ClientSettings, request: impl FnOnce(Client) -> F) -> Outcome
where
    F: Future<Output = Outcome>,
{
    block_on(unless_interrupted(async {
        let client = connect(settings, settings.request_patience()).await?;
        request(client).await
    }))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = exit_of(&error);
        let sentence = match (exit, remedy(&error)) {
            (_, Some(remedy)) => format!("{error}; {remedy}"),
            (Exit::Unreachable, None) => format!(
                "{error}; start a broker with `hulse serve`, or name another with --server or \
                 HULSE_SERVER"
            ),
            (_, None) => error.to_string(),
        };
        if error.status() == Some(Status::NotAvailableYet) {
            return Self::not_available_yet(sentence);
        }
        Self { exit, sentence }
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        error if error.is_unreachable() => Exit::Unreachable,
        ClientError::InvalidAddress { .. }
        | ClientError::InvalidName { .. }
        | ClientError::InvalidArgument { .. } => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// What somebody can do about a refusal, where it is not said already.
fn remedy(error: &ClientError) -> Option<&'static str> {
    Some(match error.status()? {
        // What is said of an absent namespace says already how to make it.
        Status::TopicNotFound if error.to_string().contains("`hulse ") => return None,
        Status::TopicNotFound => "`hulse topic list` names the topics that there are",
        Status::BacklogQuota => {
            "`hulse explain TOPIC` names the subscription: acknowledge what it holds, delete it, or \
             raise the quota with `hulse namespace set NS --backlog N`"
        }
        Status::SubscriptionNotFound => {
            "`hulse subscription list TOPIC` names the subscriptions that there are"
        }
        Status::ConsumerBusy => {
            "stop the other consumer, or consume under another subscription's name"
        }
        Status::ProducerFenced => "give each producer a --producer name of its own",
        Status::DiskFull => "make room on the broker's disk, or delete topics",
        Status::DataCorrupted => {
            "`hulse subscription seek` moves the subscription past the damaged entries"
        }
        Status::StorageFailed | Status::Internal => "the broker's log says more",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    fn refused(status: Status) -> ClientError {
        ClientError::Broker {
            status: Some(status),
            code: status.code(),
            message: "no".to_owned(),
            retry_after: Duration::ZERO,
        }
    }

    #[test]
    fn an_unreachable_server_is_exit_three_with_a_remedy() {
        let failure = Failure::from(ClientError::Unreachable {
            addresses: "a:1".to_owned(),
            source: Arc::new(io::ErrorKind::ConnectionRefused.into()),
        });
        assert_eq!(failure.exit, Exit::Unreachable);
        let said = failure.to_string();
        assert!(said.starts_with("cannot reach a server at a:1: "), "{said}");
        assert!(
            said.contains("hulse serve") && said.contains("--server"),
            "{said}"
        );
    }

    #[test]
    fn refusals_are_told_apart() {
        let cases = [
            (refused(Status::TopicNotFound), Exit::Failed),
            (refused(Status::NotAvailableYet), Exit::Usage),
            (
                ClientError::InvalidAddress {
                    text: "x".to_owned(),
                },
                Exit::Usage,
            ),
            (ClientError::Closed, Exit::Failed),
        ];
        for (error, exit) in cases {
            assert_eq!(Failure::from(error).exit, exit);
        }
        let planned = Failure::from(refused(Status::NotAvailableYet)).to_string();
        assert!(planned.starts_with("not available yet: "), "{planned}");
    }
}
