//! Reading and changing single records.

use super::{Catalog, CatalogError};
use crate::records::Record;
use crate::store::{CasOutcome, ManyOutcome, Store, Swap, Version, Versioned};

/// A record and the version to compare when it is changed.
#[derive(Debug, Clone)]
pub(super) struct Found<R> {
    pub(super) version: Version,
    pub(super) record: R,
}

impl<R: Record> Found<R> {
    pub(super) fn decode(key: &str, versioned: &Versioned) -> Result<Self, CatalogError> {
        match R::decode(&versioned.value) {
            Ok(record) => Ok(Self {
                version: versioned.version,
                record,
            }),
            Err(source) => Err(CatalogError::Record {
                key: key.to_owned(),
                source,
            }),
        }
    }
}

/// What became of a change, apart from what stops the operation.
pub(super) enum Step {
    Applied,
    /// The key was not what was expected.
    Refused,
}

impl<S: Store> Catalog<S> {
    pub(super) async fn find<R: Record>(
        &self,
        key: &str,
    ) -> Result<Option<Found<R>>, CatalogError> {
        let versioned = self.store.get(key).await?;
        versioned
            .map(|versioned| Found::decode(key, &versioned))
            .transpose()
    }

    pub(super) async fn find_all<R: Record>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, Found<R>)>, CatalogError> {
        let listed = self.store.list(prefix).await?;
        let decode = |(key, versioned): (String, Versioned)| {
            Found::decode(&key, &versioned).map(|found| (key, found))
        };
        listed.into_iter().map(decode).collect()
    }

    /// Puts a record, if the key has the expected version.
    pub(super) async fn put<R: Record>(
        &self,
        key: &str,
        expected: Option<Version>,
        record: &R,
    ) -> Result<Step, CatalogError> {
        let value = record.encode();
        settle(
            self.store
                .compare_and_set(key, expected, Some(&value))
                .await?,
        )
    }

    /// Deletes a record, if it has the expected version.
    pub(super) async fn remove(&self, key: &str, expected: Version) -> Result<Step, CatalogError> {
        settle(
            self.store
                .compare_and_set(key, Some(expected), None)
                .await?,
        )
    }

    /// Makes several changes, all or none.
    pub(super) async fn swap_all(&self, swaps: Vec<Swap>) -> Result<Step, CatalogError> {
        match self.store.compare_and_set_many(swaps).await? {
            ManyOutcome::Applied { .. } => Ok(Step::Applied),
            ManyOutcome::Refused { .. } => Ok(Step::Refused),
            ManyOutcome::Indeterminate { reason } => Err(CatalogError::Indeterminate { reason }),
        }
    }
}

fn settle(outcome: CasOutcome) -> Result<Step, CatalogError> {
    match outcome {
        CasOutcome::Applied { .. } => Ok(Step::Applied),
        CasOutcome::Refused { .. } => Ok(Step::Refused),
        CasOutcome::Indeterminate { reason } => Err(CatalogError::Indeterminate { reason }),
    }
}
