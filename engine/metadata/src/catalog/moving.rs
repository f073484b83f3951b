//! Installing this broker as a group's primary anew while it runs, for a move between its cores.

use hulse_model::{GroupId, Term};

use super::read::{Found, Step};
use super::{Catalog, CatalogError};
use crate::records::{GroupRecord, Incarnation, key};
use crate::store::Store;

/// What came of a request to begin another term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextTerm {
    /// The group is this broker's, in this term, which nobody has acted in.
    Installed(Term),
    /// The group's record is not what the caller took it for, and was left alone.
    Refused {
        /// What it is instead; absent when there is none.
        found: Option<Box<GroupRecord>>,
    },
    /// The change may have been made, or may yet be made. Nothing may be served for the group before
    /// that is known.
    Unsettled {
        /// Why it is not known.
        reason: String,
    },
}

impl<S: Store> Catalog<S> {
    /// Installs this broker in a group that it is the primary of, in the term `serving`, once more:
    /// `term` and `ver` + 1, everything else as it was. A core hands a group to another one by this,
    /// after it has stopped to serve it.
    ///
    /// # Errors
    /// When the store does not answer, or has no room. Nothing has been changed then.
    pub async fn begin_next_term(
        &self,
        group: GroupId,
        incarnation: Incarnation,
        serving: Term,
    ) -> Result<NextTerm, CatalogError> {
        let key = key::group(group);
        let Some(Found { version, record }) = self.find::<GroupRecord>(&key).await? else {
            return Ok(NextTerm::Refused { found: None });
        };
        let ours = record.primary == self.broker
            && record.primary_incarnation == incarnation
            && record.term == serving;
        if !ours {
            let found = Some(Box::new(record));
            return Ok(NextTerm::Refused { found });
        }
        let next = self.next_reign(record, incarnation);
        match self.put(&key, Some(version), &next).await {
            Ok(Step::Applied) => Ok(NextTerm::Installed(next.term)),
            Ok(Step::Refused) => {
                let found = self.find::<GroupRecord>(&key).await?;
                let found = found.map(|found| Box::new(found.record));
                Ok(NextTerm::Refused { found })
            }
            Err(CatalogError::Indeterminate { reason }) => self.settle(&key, &next, reason).await,
            Err(error) => Err(error),
        }
    }

    /// Finds out what became of a change whose answer was lost: a version above the compared one says
    /// so, by who made it. The same version proves nothing.
    async fn settle(
        &self,
        key: &str,
        intended: &GroupRecord,
        reason: String,
    ) -> Result<NextTerm, CatalogError> {
        match self.find::<GroupRecord>(key).await {
            Ok(Some(Found { record, .. })) if record.attempt == intended.attempt => {
                Ok(NextTerm::Installed(record.term))
            }
            Ok(Some(Found { record, .. })) if record.ver >= intended.ver => {
                let found = Some(Box::new(record));
                Ok(NextTerm::Refused { found })
            }
            _ => Ok(NextTerm::Unsettled { reason }),
        }
    }
}
