//! The connections of a client: one per address, opened when it is first needed.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as TurnMutex;

use crate::connection::{Connection, Greeting, connect};
use crate::error::ClientError;

/// The connection to one address. Whoever finds none opens it, the others wait for that.
type Place = Arc<TurnMutex<Option<Connection>>>;

/// All connections of one client.
pub(crate) struct Pool {
    servers: Vec<String>,
    /// The server that answered last, by its place among them.
    answered: AtomicUsize,
    greeting: Greeting,
    places: Mutex<HashMap<String, Place>>,
    closed: AtomicBool,
}

impl Pool {
    /// A pool without connections. `servers` are asked for what any broker knows.
    pub(crate) fn new(servers: Vec<String>, greeting: Greeting) -> Self {
        Self {
            servers,
            answered: AtomicUsize::new(0),
            greeting,
            places: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// The connection to `address`.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) async fn get(&self, address: &str) -> Result<Connection, ClientError> {
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            match places.get(address) {
                Some(place) => Arc::clone(place),
                None => Arc::clone(places.entry(address.to_owned()).or_default()),
            }
        };
        let mut place = place.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return Err(ClientError::Closed);
        }
        if let Some(connection) = place.as_ref().filter(|held| held.ended().is_none()) {
            return Ok(connection.clone());
        }
        *place = None;
        let connection = connect(address, &self.greeting).await?;
        if self.closed.load(Ordering::Acquire) {
            connection.close();
            return Err(ClientError::Closed);
        }
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// A connection to any of the servers: to the one that answered last, or else to the next in
    /// their order that does.
    ///
    /// # Errors
    /// When none can be reached: all addresses, with what the last one gave. A server that answers
    /// and refuses counts more than one that does not answer.
    pub(crate) async fn any(&self) -> Result<Connection, ClientError> {
        let mut refused = None;
        let mut last = Arc::new(io::Error::from(io::ErrorKind::NotConnected));
        let first = self.answered.load(Ordering::Relaxed);
        for step in 0..self.servers.len() {
            let at = (first + step) % self.servers.len();
            match self.get(&self.servers[at]).await {
                Ok(connection) => {
                    self.answered.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(ClientError::Closed) => return Err(ClientError::Closed),
                Err(ClientError::Unreachable { source, .. }) => last = source,
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| ClientError::Unreachable {
            addresses: self.servers.join(","),
            source: last,
        }))
    }

    /// Closes every connection, and opens none any more.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let places = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *places)
        };
        for place in places.into_values() {
            if let Some(connection) = place.lock().await.take() {
                connection.close();
            }
        }
    }
}
