//! What the tasks of one test share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hulse_client::Client;
use hulse_tests::LIMIT;
use tokio::time::{Duration, Instant, sleep};

/// What the tasks of one test share.
pub(crate) struct Scene {
    server: String,
    /// Messages that have been acknowledged to producers.
    pub(crate) acked: AtomicU64,
    /// There are no more kills: producers and consumers come to their ends.
    pub(crate) stopping: AtomicBool,
}

impl Scene {
    pub(crate) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            acked: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// A client, as soon as the broker can be reached: it may just have been killed.
    pub(crate) async fn client(&self) -> Client {
        let began = Instant::now();
        loop {
            match Client::builder(&self.server).connect().await {
                Ok(client) => return client,
                Err(error) => {
                    assert!(error.is_retryable() && began.elapsed() < LIMIT, "{error}");
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}
