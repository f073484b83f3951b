//! Rule 7: the identity names the store.

use super::{Subject, put};
use crate::store::Store;

pub(super) async fn stays_with_the_store_and_differs_between_stores(subject: &mut impl Subject) {
    let one = subject.fresh().await;
    let id = one.identity().await.expect("the store answers");
    put(&one, "key", None, b"value").await;
    assert_eq!(one.identity().await, Ok(id), "rule 7: changed by a change");
    let one = subject.reopen(one).await;
    assert_eq!(one.identity().await, Ok(id), "rule 7: changed by a restart");
    let other = subject.fresh().await;
    assert_ne!(
        other.identity().await,
        Ok(id),
        "rule 7: two stores of one identity"
    );
}
