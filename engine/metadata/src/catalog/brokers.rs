//! Registering a broker.

use super::read::Step;
use super::{ATTEMPTS_MAX, Catalog, CatalogError, RegisterError, error::Registered};
use crate::records::{BrokerRecord, GroupRecord, Incarnation, key};
use crate::store::Store;

/// The longest name of a region, in bytes: several of them make part of a key.
const REGION_BYTES_MAX: usize = 63;
/// The longest name of a broker, in bytes.
const BROKER_BYTES_MAX: usize = 255;

/// What a broker says of itself at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The region that it stands in.
    pub region: String,
    /// How many cores serve.
    pub cores: u32,
    /// Where each core is dialled, as `host:port`.
    pub addresses: Vec<String>,
    /// The life that its disk says it had last; `None` when there is nothing on the disk.
    pub held: Option<Incarnation>,
    /// The life that it intends to have, synced to its disk before this is called.
    pub intent: Incarnation,
}

impl<S: Store> Catalog<S> {
    /// The life in which this broker is registered, or was before it stopped.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn registered(&self) -> Result<Option<Incarnation>, CatalogError> {
        let found = self
            .find::<BrokerRecord>(&key::broker(&self.broker))
            .await?;
        Ok(found.map(|found| found.record.incarnation))
    }

    /// Registers this broker's new life, by compare-and-set against the last one.
    ///
    /// The caller keeps two pairs on its own disk, the life it held and the one it intends:
    /// 1. Ask [`Catalog::registered`]. When that is the intent on the disk, an earlier start got
    ///    that far, and the intent becomes the life held.
    /// 2. Write and sync the new intent, [`Incarnation::after`] the life held with new random bits.
    /// 3. Call this. After it, the intent is the life held; write that before serving.
    ///
    /// Asking twice with the same intent is one registration.
    ///
    /// # Errors
    /// [`RegisterError::Incarnation`] when the store knows neither pair, which taints the replica;
    /// else when a name is not legal, the region changed under placed topics, the store belongs to
    /// another broker, or it does not answer.
    pub async fn register_broker(
        &self,
        registration: &Registration,
        now_ms: u64,
    ) -> Result<BrokerRecord, RegisterError> {
        check_name("broker", &self.broker, BROKER_BYTES_MAX)?;
        check_name("region", &registration.region, REGION_BYTES_MAX)?;
        let broker = self.broker.clone();
        let key = key::broker(&broker);
        for _ in 0..ATTEMPTS_MAX {
            self.check_peers().await?;
            let found = self.find::<BrokerRecord>(&key).await?;
            let last = found.as_ref().map(|found| &found.record);
            if let Some(last) = last {
                self.check_region(last, &registration.region).await?;
            }
            let last = last.map(|last| last.incarnation);
            if last != Some(registration.intent) {
                if last != registration.held {
                    return Err(RegisterError::Incarnation {
                        broker,
                        registered: Registered(last),
                    });
                }
                let expected = Incarnation::after(last, 0).number;
                if registration.intent.number != expected {
                    let intent = registration.intent;
                    return Err(RegisterError::Intent {
                        broker,
                        intent,
                        expected,
                    });
                }
            }
            let record = BrokerRecord {
                name: broker.clone(),
                region: registration.region.clone(),
                incarnation: registration.intent,
                registered_ms: now_ms,
                cores: registration.cores,
                addresses: registration.addresses.clone(),
            };
            let expected = found.map(|found| found.version);
            if let Step::Applied = self.put(&key, expected, &record).await? {
                return Ok(record);
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// Every broker that has registered, in the order of names.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn brokers(&self) -> Result<Vec<BrokerRecord>, CatalogError> {
        let found = self.find_all::<BrokerRecord>(key::BROKERS).await?;
        Ok(found.into_iter().map(|(_, found)| found.record).collect())
    }

    async fn check_peers(&self) -> Result<(), RegisterError> {
        if self.store.shared() {
            return Ok(());
        }
        let brokers = self.brokers().await?;
        match brokers
            .into_iter()
            .find(|broker| broker.name != self.broker)
        {
            Some(peer) => Err(RegisterError::Peer {
                registered: peer.name,
            }),
            None => Ok(()),
        }
    }

    async fn check_region(&self, last: &BrokerRecord, region: &str) -> Result<(), RegisterError> {
        if last.region == region {
            return Ok(());
        }
        let groups = self.find_all::<GroupRecord>(key::GROUPS).await?;
        if groups
            .iter()
            .any(|(_, group)| group.record.replicas.contains(&last.name))
        {
            let broker = last.name.clone();
            return Err(RegisterError::Region {
                broker,
                registered: last.region.clone(),
            });
        }
        Ok(())
    }
}

fn check_name(what: &'static str, name: &str, limit: usize) -> Result<(), RegisterError> {
    let refuse = |reason| {
        Err(RegisterError::Name {
            what,
            name: name.to_owned(),
            reason,
        })
    };
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > limit {
        return refuse("it is too long");
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        return refuse("it may hold letters, digits and -_. only");
    }
    Ok(())
}
