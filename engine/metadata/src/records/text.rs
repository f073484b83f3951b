//! How identities stand in JSON: as the text that people see elsewhere.

/// Any type that is written by `Display` and read by `FromStr`.
pub mod shown {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Display;
    use std::str::FromStr;

    /// Writes the value as text.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Reads the value from text.
    ///
    /// # Errors
    /// When the text is no such value.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A list of such values.
pub mod shown_list {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Display;
    use std::str::FromStr;

    /// Writes the values as a list of texts.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<T: Display, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    /// Reads the values from a list of texts.
    ///
    /// # Errors
    /// When a text is no such value.
    pub fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(from)?;
        texts
            .iter()
            .map(|text| text.parse().map_err(serde::de::Error::custom))
            .collect()
    }
}

/// A number of 64 random bits: 16 hexadecimal digits, as JSON's numbers lose bits beyond 2^53.
pub mod hex64 {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the number as 16 digits.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{value:016x}"))
    }

    /// Reads 16 digits.
    ///
    /// # Errors
    /// When there are others.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(serde::de::Error::custom(
                "16 hexadecimal digits are expected",
            ));
        }
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

/// What each role may do: the names of permissions by the name of the role. A permission that this
/// release does not know is passed over.
pub mod grants {
    use std::collections::{BTreeMap, BTreeSet};

    use hulse_model::{Permission, RoleName};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes them.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(
        grants: &BTreeMap<RoleName, BTreeSet<Permission>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let names = |held: &BTreeSet<Permission>| -> Vec<&'static str> {
            held.iter().map(|one| one.name()).collect()
        };
        to.collect_map(
            grants
                .iter()
                .map(|(role, held)| (role.as_str(), names(held))),
        )
    }

    /// Reads them.
    ///
    /// # Errors
    /// When it is no map of lists of texts, or a key is no role's name.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<RoleName, BTreeSet<Permission>>, D::Error> {
        let named = BTreeMap::<String, Vec<String>>::deserialize(from)?;
        let mut grants = BTreeMap::new();
        for (role, names) in named {
            let role: RoleName = role.parse().map_err(serde::de::Error::custom)?;
            let held: BTreeSet<_> = names
                .iter()
                .filter_map(|name| Permission::from_name(name))
                .collect();
            if !held.is_empty() {
                grants.insert(role, held);
            }
        }
        Ok(grants)
    }
}
