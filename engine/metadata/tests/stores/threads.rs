//! Rule 2 under real concurrency: threads that add to one number lose no addition.

use std::thread;

use hulse_metadata::{CasOutcome, EmbeddedStore, MemoryStore, RandomIds, Store, StoreId};

const THREADS: u32 = 4;
const ADDITIONS: u32 = 25;

async fn add<S: Store>(store: &S) {
    let mut left = ADDITIONS;
    while left > 0 {
        let found = store
            .get("sum")
            .await
            .expect("the store answers")
            .expect("it was put");
        let text = String::from_utf8(found.value).expect("a number");
        let next = (text.parse::<u32>().expect("a number") + 1).to_string();
        let outcome = store
            .compare_and_set("sum", Some(found.version), Some(next.as_bytes()))
            .await;
        match outcome.expect("the store answers") {
            CasOutcome::Applied { .. } => left -= 1,
            CasOutcome::Refused { .. } => {}
            CasOutcome::Indeterminate { reason } => panic!("{reason}"),
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn lose_no_addition<S: Store + Clone>(store: &S) {
    block_on(store.compare_and_set("sum", None, Some(b"0"))).expect("the store answers");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| block_on(add(store)));
        }
    });
    let sum = block_on(store.get("sum"))
        .expect("the store answers")
        .expect("it was put");
    assert_eq!(sum.value, (THREADS * ADDITIONS).to_string().into_bytes());
}

#[test]
fn threads_lose_no_addition_in_memory() {
    lose_no_addition(&MemoryStore::new(StoreId(1)));
}

#[test]
fn threads_lose_no_addition_in_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    lose_no_addition(&EmbeddedStore::open(dir.path(), &RandomIds).unwrap());
}
