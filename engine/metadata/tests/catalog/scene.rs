//! A broker at a store, as most tests need it.

use std::sync::Arc;

use hulse_metadata::catalog::{Registration, TopicDefaults, TopicSpec};
use hulse_metadata::records::Incarnation;
use hulse_metadata::{Catalog, CountingIds, MemoryStore, Store, StoreId};
use hulse_model::TopicName;

pub(crate) const NOW: u64 = 1_700_000_000_000;

pub(crate) fn name(text: &str) -> TopicName {
    text.parse().expect("a topic's name")
}

pub(crate) fn plain(text: &str) -> TopicSpec {
    TopicSpec::plain(name(text))
}

pub(crate) fn partitioned(text: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        partitions: Some(partitions),
        ..plain(text)
    }
}

/// A catalog for this broker, whose ids begin at `ids`. Two catalogs that share a store need ids
/// that lie apart.
pub(crate) fn catalog<S: Store>(store: S, broker: &str, ids: u64) -> Catalog<S> {
    let ids = Arc::new(CountingIds::from(ids));
    Catalog::with_ids(store, broker, TopicDefaults::default(), ids)
}

pub(crate) fn registration(held: Option<Incarnation>, nonce: u64) -> Registration {
    Registration {
        region: "eu".to_owned(),
        cores: 2,
        addresses: vec!["127.0.0.1:6650".to_owned()],
        held,
        intent: Incarnation::after(held, nonce),
    }
}

/// A store with what it begins with and one registered broker, `one` in region `eu`.
pub(crate) async fn started() -> Catalog<MemoryStore> {
    let catalog = catalog(MemoryStore::new(StoreId(1)), "one", 1000);
    catalog.seed(NOW).await.expect("the store answers");
    let registered = catalog.register_broker(&registration(None, 1), NOW).await;
    registered.expect("a first registration is applied");
    catalog
}
