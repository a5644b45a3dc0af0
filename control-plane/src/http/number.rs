//! A JSON number as it was written, digit by digit: `0.1` is not a binary fraction here.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The text of a JSON number (RFC 8259 section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(String);

impl Number {
    /// The text of a number that is already known to be one: what an integer or a decimal type of
    /// ours displays.
    pub fn from_display(number: impl std::fmt::Display) -> Self {
        Self(number.to_string())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number, if it is written as a whole one and fits.
    pub fn whole(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        // The parser has made sure that this is one JSON value; only a number starts like this.
        if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(D::Error::custom("must be a number, without quotes"))
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        RawValue::from_string(self.0.clone())
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_survives() {
        for text in ["0.1", "100.00", "9223372036.854775807", "1e-9", "-3"] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(number.as_str(), text);
            assert_eq!(serde_json::to_string(&number).unwrap(), text);
        }
    }

    #[test]
    fn a_number_in_quotes_is_refused() {
        for text in ["\"1\"", "true", "null", "[1]", "{}"] {
            assert!(serde_json::from_str::<Number>(text).is_err(), "{text}");
        }
    }
}
