//! Times as the API writes them: RFC 3339, UTC, milliseconds.

use serde::{Serialize, Serializer};

/// Milliseconds since the Unix epoch, written as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `None`: so far away that the calendar does not have it.
    pub fn known(ms: i64) -> Option<Self> {
        jiff::Timestamp::from_millisecond(ms).ok().map(|_| Self(ms))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let moment = jiff::Timestamp::from_millisecond(self.0).map_err(S::Error::custom)?;
        serializer.collect_str(&format_args!("{moment:.3}"))
    }
}

/// What to write instead, for an error message.
pub const EXPECTED: &str = "must be a time in RFC 3339, such as `2027-01-31T00:00:00Z`";

/// Reads RFC 3339; the time zone must be given.
pub fn parse(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds() {
        let written = serde_json::to_string(&Timestamp(1_767_225_600_000)).unwrap();
        assert_eq!(written, "\"2026-01-01T00:00:00.000Z\"");
    }

    #[test]
    fn a_time_needs_its_zone() {
        assert_eq!(parse("2026-01-01T01:00:00+01:00"), Some(1_767_225_600_000));
        assert_eq!(parse("2026-01-01T00:00:00"), None);
        assert_eq!(parse("tomorrow"), None);
    }
}
