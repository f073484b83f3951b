//! The threads that a load comes from.

use std::future::Future;
use std::pin::Pin;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, yield_now};
use tokio::time::Instant;

use crate::exit::Failure;

/// What a worker does, on the thread that it was given to. It waits at the gate once it is set up.
pub(crate) type Role<T> = Box<dyn FnOnce(Gate) -> Running<T> + Send>;
/// A role that runs.
pub(crate) type Running<T> = Pin<Box<dyn Future<Output = Result<T, Failure>>>>;

/// Where a role waits until all are set up.
#[derive(Debug)]
pub(crate) struct Gate {
    arrived: mpsc::UnboundedSender<()>,
    start: watch::Receiver<Option<Instant>>,
}

impl Gate {
    /// Says that the role is set up, and waits for the moment from which is measured.
    ///
    /// # Errors
    /// When there will be none, since another role has failed.
    pub(crate) async fn pass(mut self) -> Result<Instant, Failure> {
        let ended = || Failure::failed("another part of the load has failed");
        self.arrived.send(()).map_err(|_| ended())?;
        drop(self.arrived);
        let start = self.start.wait_for(Option::is_some).await;
        start.ok().and_then(|start| *start).ok_or_else(ended)
    }
}

/// Roles that run on threads of their own, each thread with its own runtime: a message does not
/// change threads between the one that makes it and the socket.
pub(crate) struct Workers<T> {
    roles: usize,
    threads: usize,
    arrivals: mpsc::UnboundedReceiver<()>,
    start: watch::Sender<Option<Instant>>,
    results: mpsc::UnboundedReceiver<Result<T, Failure>>,
}

impl<T: Send + 'static> Workers<T> {
    /// Starts the roles, on as many threads as there are processors for them. With `spin` the
    /// threads look for work all the time instead of sleeping.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start(roles: Vec<Role<T>>, spin: bool) -> Result<Self, Failure> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(roles.len()).max(1);
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let (start, started) = watch::channel(None);
        let (result, results) = mpsc::unbounded_channel();
        let count = roles.len();
        let mut hands: Vec<Vec<Role<T>>> = (0..threads).map(|_| Vec::new()).collect();
        for (at, role) in roles.into_iter().enumerate() {
            hands[at % threads].push(role);
        }
        let refused = |error| Failure::failed(format_args!("no threads can be started: {error}"));
        for (at, roles) in hands.into_iter().enumerate() {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(refused)?;
            let (arrived, started, result) = (arrived.clone(), started.clone(), result.clone());
            let body = move || {
                let local = LocalSet::new();
                if spin {
                    // While this is ready to run, the runtime asks the kernel but never waits.
                    local.spawn_local(async {
                        loop {
                            yield_now().await;
                        }
                    });
                }
                let roles: Vec<_> = roles
                    .into_iter()
                    .map(|role| {
                        let gate = Gate {
                            arrived: arrived.clone(),
                            start: started.clone(),
                        };
                        let result = result.clone();
                        let running = role(gate);
                        local.spawn_local(async move {
                            // Nobody listens any more once a role has failed.
                            let _ = result.send(running.await);
                        })
                    })
                    .collect();
                drop((arrived, result));
                local.block_on(&runtime, async {
                    for role in roles {
                        // A panic has ended the process.
                        let _ = role.await;
                    }
                });
                runtime.shutdown_background();
            };
            thread::Builder::new()
                .name(format!("load-{at}"))
                .spawn(body)
                .map_err(refused)?;
        }
        Ok(Self {
            roles: count,
            threads,
            arrivals,
            start,
            results,
        })
    }

    /// Number of threads.
    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }

    /// Waits until every role is set up.
    ///
    /// # Errors
    /// The first failure among them.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        for _ in 0..self.roles {
            tokio::select! {
                biased;
                Some(()) = self.arrivals.recv() => {}
                Some(Err(failure)) = self.results.recv() => return Err(failure),
                else => return Err(Failure::failed("a part of the load has ended early")),
            }
        }
        Ok(())
    }

    /// Opens the gate: from `from` on is measured.
    pub(crate) fn begin(&self, from: Instant) {
        self.start.send_replace(Some(from));
    }

    /// Waits for every role's result.
    ///
    /// # Errors
    /// The first failure among them.
    pub(crate) async fn results(mut self) -> Result<Vec<T>, Failure> {
        let mut all = Vec::with_capacity(self.roles);
        while all.len() < self.roles {
            match self.results.recv().await {
                Some(result) => all.push(result?),
                None => return Err(Failure::failed("a part of the load has ended early")),
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn role(number: u32, fails: bool) -> Role<(u32, Instant)> {
        Box::new(move |gate| {
            Box::pin(async move {
                if fails {
                    return Err(Failure::failed("no"));
                }
                Ok((number, gate.pass().await?))
            })
        })
    }

    #[tokio::test]
    async fn all_roles_begin_together_and_give_their_results() {
        for spin in [false, true] {
            let roles = (0..5).map(|number| role(number, false)).collect();
            let mut workers = Workers::start(roles, spin).unwrap();
            assert!((1..=5).contains(&workers.threads()));
            workers.ready().await.unwrap();
            let from = Instant::now() + Duration::from_secs(1);
            workers.begin(from);
            let mut results = workers.results().await.unwrap();
            results.sort_unstable_by_key(|(number, _)| *number);
            assert_eq!(results, [0, 1, 2, 3, 4].map(|number| (number, from)));
        }
    }

    #[tokio::test]
    async fn a_role_that_fails_before_the_start_is_heard() {
        let roles = (0..3).map(|number| role(number, number == 1)).collect();
        let mut workers = Workers::start(roles, false).unwrap();
        assert_eq!(workers.ready().await, Err(Failure::failed("no")));
    }
}
