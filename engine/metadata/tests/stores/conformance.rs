//! Both stores pass the suite.

use hulse_metadata::conformance::{Subject, conformance};
use hulse_metadata::{EmbeddedStore, MemoryStore, RandomIds, StoreId};
use tempfile::TempDir;

struct Memory {
    made: u128,
}

impl Subject for Memory {
    type Store = MemoryStore;

    async fn fresh(&mut self) -> MemoryStore {
        self.made += 1;
        MemoryStore::new(StoreId(self.made))
    }

    async fn reopen(&mut self, store: MemoryStore) -> MemoryStore {
        store
    }
}

#[tokio::test]
async fn the_store_in_memory_conforms() {
    conformance(&mut Memory { made: 0 }).await;
}

struct Embedded {
    /// The directory of the latest store, which is removed with it.
    dir: TempDir,
}

impl Subject for Embedded {
    type Store = EmbeddedStore;

    async fn fresh(&mut self) -> EmbeddedStore {
        self.dir = TempDir::new().expect("a directory");
        EmbeddedStore::open(self.dir.path(), &RandomIds).expect("a new store opens")
    }

    async fn reopen(&mut self, store: EmbeddedStore) -> EmbeddedStore {
        drop(store);
        EmbeddedStore::open(self.dir.path(), &RandomIds).expect("a store opens again")
    }
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    conformance(&mut Embedded {
        dir: TempDir::new().unwrap(),
    })
    .await;
}
