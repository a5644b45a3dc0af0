//! The value of a virtual key: `sk-bf-` + 10 characters that identify it + 34 secret ones + 6 of
//! checksum ([`reeve_policy::key_format`]).

use reeve_policy::key_format::{self, ID_LEN, SECRET_LEN, VIRTUAL_KEY_PREFIX};
use reeve_policy::virtual_key::KeyDigest;

use crate::random::{Random, RandomError};
use crate::secrets::Secret;

/// A new value. It leaves the process once, in the answer to the request that made it.
#[derive(Debug, Clone)]
pub struct KeyValue {
    value: Secret,
    traits: Traits,
}

/// What may be told of a value that nobody knows any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    /// The ten characters after the prefix; not secret.
    pub kid: String,
    /// The last four characters, part of the checksum.
    pub last4: String,
}

impl KeyValue {
    /// A value nobody has seen: 202 random bits.
    pub fn generate(random: &Random) -> Result<Self, RandomError> {
        Ok(Self::assemble(
            random.base62(ID_LEN)?,
            &random.base62(SECRET_LEN)?,
        ))
    }

    fn assemble(kid: String, secret: &str) -> Self {
        let value = key_format::assemble(VIRTUAL_KEY_PREFIX, &kid, secret);
        let last4 = value.chars().skip(value.len().saturating_sub(4)).collect();
        Self {
            value: Secret::new(value),
            traits: Traits { kid, last4 },
        }
    }

    /// The value itself, to show to whoever asked for the key.
    pub fn expose(&self) -> &str {
        self.value.expose()
    }

    /// What is stored in its place.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.value.expose().as_bytes())
    }

    /// What may be told of it.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_is_one_the_filter_accepts() {
        let value = KeyValue::generate(&Random::default()).unwrap();
        let bytes = value.expose().as_bytes();
        assert_eq!(bytes.len(), 56);
        assert!(key_format::looks_like_virtual_key(bytes));
        assert!(key_format::checksum_is_plausible(bytes));
        assert!(value.expose().ends_with(&value.traits().last4));
        assert_eq!(value.expose().get(6..16).unwrap(), value.traits().kid);
    }

    #[test]
    fn no_log_shows_a_value() {
        let value = KeyValue::assemble("0123456789".into(), &"s".repeat(34));
        assert!(!format!("{value:?}").contains("ssss"));
    }
}
