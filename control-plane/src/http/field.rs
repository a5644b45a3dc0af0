//! A field of a partial update: not mentioned, `null`, or a value.

use serde::{Deserialize, Deserializer};

/// Use with `#[serde(default)]`: a field that is not mentioned is [`Field::Absent`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// Not mentioned: keep what there is.
    #[default]
    Absent,
    /// `null`: clear it.
    Null,
    /// Set it.
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(value) => Self::Value(value),
            None => Self::Null,
        })
    }
}

impl<T> Field<T> {
    /// The new value of a field that can be empty, given the old one.
    pub fn or_keep(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Absent => old,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// The new value of a field that always has one; `null` means the default.
    pub fn or_keep_value(self, old: T, default: T) -> T {
        match self {
            Self::Absent => old,
            Self::Null => default,
            Self::Value(value) => value,
        }
    }
}
