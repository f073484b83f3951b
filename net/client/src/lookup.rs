//! Which partitions a topic has and where they live, remembered until it turns out to be wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hulse_model::TopicName;
use hulse_wire::{Lookup as LookupRequest, Reply, Request};
use tokio::sync::Mutex as TurnMutex;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::pool::Pool;

/// One partition and the address of the core that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The partition's number; -1 for a topic without partitions.
    pub(crate) partition: i32,
    /// `host:port`.
    pub(crate) address: String,
}

/// The places of one topic, and which answer they are from.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    answer: u64,
    /// When it came.
    at: Instant,
    topic: TopicName,
    places: Arc<[Place]>,
}

impl Places {
    /// The topic in its full form; the whole topic when one partition was asked for by name.
    pub(crate) const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// All partitions, in rising order.
    pub(crate) fn all(&self) -> &[Place] {
        &self.places
    }

    /// The same, with a partition that its last owner says is at `address` now.
    pub(crate) fn moved(&self, partition: i32, address: &str) -> Self {
        let mut places = self.places.to_vec();
        for place in &mut places {
            if place.partition == partition {
                address.clone_into(&mut place.address);
            }
        }
        Self {
            places: places.into(),
            ..self.clone()
        }
    }

    /// The address of a partition's owner.
    pub(crate) fn address(&self, partition: i32) -> Option<&str> {
        let place = self
            .places
            .iter()
            .find(|place| place.partition == partition)?;
        Some(&place.address)
    }
}

/// The look-ups of one client.
#[derive(Default)]
pub(crate) struct Lookup {
    topics: Mutex<HashMap<TopicName, Arc<TurnMutex<Option<Places>>>>>,
}

impl Lookup {
    /// Asks where `topic` lives; `create` says that it may be created by this.
    ///
    /// # Errors
    /// When no server can be reached, or the topic does not exist and may not be created by use.
    pub(crate) async fn ask(
        &self,
        pool: &Pool,
        topic: &TopicName,
        create: bool,
        deadline: Instant,
    ) -> Result<Places, ClientError> {
        let turn = self.turn(topic);
        let mut known = turn.lock().await;
        let next = known.as_ref().map_or(0, |places| places.answer + 1);
        let mut places = ask(pool, topic, create, deadline).await?;
        places.answer = next;
        Ok(known.insert(places).clone())
    }

    /// Newer places than the `stale` ones, which have just proved wrong. Many that find the same
    /// places stale cause one question.
    ///
    /// # Errors
    /// When no server can be reached, or the topic does not exist any more.
    pub(crate) async fn ask_again(
        &self,
        pool: &Pool,
        topic: &TopicName,
        stale: &Places,
        deadline: Instant,
    ) -> Result<Places, ClientError> {
        let turn = self.turn(topic);
        let mut known = turn.lock().await;
        if let Some(places) = known.as_ref().filter(|places| places.answer > stale.answer) {
            return Ok(places.clone());
        }
        let mut places = ask(pool, topic, false, deadline).await?;
        places.answer = stale.answer + 1;
        Ok(known.insert(places).clone())
    }

    /// Places that are no older than `age_max`. Many that ask at a time cause one question.
    ///
    /// # Errors
    /// When no server can be reached, or the topic does not exist any more.
    pub(crate) async fn recent(
        &self,
        pool: &Pool,
        topic: &TopicName,
        age_max: Duration,
        deadline: Instant,
    ) -> Result<Places, ClientError> {
        let turn = self.turn(topic);
        let mut known = turn.lock().await;
        if let Some(places) = known
            .as_ref()
            .filter(|places| places.at.elapsed() <= age_max)
        {
            return Ok(places.clone());
        }
        let next = known.as_ref().map_or(0, |places| places.answer + 1);
        let mut places = ask(pool, topic, false, deadline).await?;
        places.answer = next;
        Ok(known.insert(places).clone())
    }

    fn turn(&self, topic: &TopicName) -> Arc<TurnMutex<Option<Places>>> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        match topics.get(topic) {
            Some(turn) => Arc::clone(turn),
            None => Arc::clone(topics.entry(topic.clone()).or_default()),
        }
    }
}

async fn ask(
    pool: &Pool,
    topic: &TopicName,
    create: bool,
    deadline: Instant,
) -> Result<Places, ClientError> {
    let connection = pool.any().await?;
    let request = LookupRequest {
        topic: topic.clone(),
        create_missing: create,
    };
    let answer = connection
        .request(0, &Request::Lookup(request), deadline)
        .await?;
    let Reply::Located(located) = answer.reply()? else {
        return Err(answer.unexpected());
    };
    if located.places.is_empty() {
        return Err(ClientError::corrupt(
            connection.address(),
            &"LOCATED names no partition",
        ));
    }
    let place = |place: &hulse_wire::PartitionPlace<'_>| Place {
        partition: place.partition,
        address: place.address.to_owned(),
    };
    // A partition that was asked for by its own name belongs to the whole topic.
    let topic = match located.topic.split_partition() {
        Some((whole, _)) if located.places.iter().all(|place| place.partition >= 0) => whole,
        _ => located.topic.clone(),
    };
    Ok(Places {
        answer: 0,
        at: Instant::now(),
        topic,
        places: located.places.iter().map(place).collect(),
    })
}
