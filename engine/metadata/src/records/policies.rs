//! How policies stand in JSON: a map from their names to their values.

use std::collections::BTreeMap;

use hulse_model::Policies;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes the policies that are set.
///
/// # Errors
/// When the serializer fails.
pub fn serialize<S: Serializer>(policies: &Policies, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(
        policies
            .iter()
            .map(|(policy, value)| (policy.name(), value)),
    )
}

/// Reads them. One that this release does not know is passed over.
///
/// # Errors
/// When it is no map of numbers.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Policies, D::Error> {
    let named = BTreeMap::<String, i64>::deserialize(from)?;
    let named = named.iter().map(|(name, value)| (name.as_str(), *value));
    Ok(Policies::from_named(named))
}
