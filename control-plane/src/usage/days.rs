//! Which day a moment is on, in a time zone: as a sum that a database can work out.
//!
//! A database is told how far local time is from UTC when the span begins, and each change of that in
//! the span (summer time, mostly). So no moment is told apart from its neighbours by our own rules.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Changes of local time that a span can have: four years of summer time.
pub const MOST_CHANGES: usize = 8;

/// Local time in a span. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// What is added to UTC at first.
    pub offset_ms: i64,
    /// From when on, and how much more. What is not needed never comes.
    pub changes: [(i64, i64); MOST_CHANGES],
}

impl LocalTime {
    /// UTC.
    pub const UTC: Self = Self {
        offset_ms: 0,
        changes: [(i64::MAX, 0); MOST_CHANGES],
    };

    /// In a zone, for moments from `first_ms` to `last_ms`. `None`: more changes than can be told.
    pub fn of(zone: &TimeZone, first_ms: i64, last_ms: i64) -> Option<Self> {
        let (Ok(first), Ok(last)) = (
            Timestamp::from_millisecond(first_ms),
            Timestamp::from_millisecond(last_ms),
        ) else {
            return None;
        };
        let ms = |seconds: i32| i64::from(seconds).saturating_mul(1_000);
        let mut offset_ms = ms(zone.to_offset(first).seconds());
        let mut local = Self {
            offset_ms,
            ..Self::UTC
        };
        let mut places = local.changes.iter_mut();
        for change in zone.following(first) {
            if change.timestamp() > last {
                break;
            }
            let then_ms = ms(change.offset().seconds());
            let more_ms = then_ms.saturating_sub(offset_ms);
            if more_ms != 0 {
                *places.next()? = (change.timestamp().as_millisecond(), more_ms);
            }
            offset_ms = then_ms;
        }
        Some(local)
    }
}

/// A day, counted from 1970-01-01.
pub fn date(day: i64) -> Option<Date> {
    let epoch = Date::constant(1970, 1, 1);
    epoch
        .checked_add(jiff::Span::new().try_days(day).ok()?)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the database does it.
    fn day_of(local: LocalTime, at_ms: i64) -> String {
        let mut sum = at_ms + local.offset_ms;
        for (from_ms, more_ms) in local.changes {
            if at_ms >= from_ms {
                sum += more_ms;
            }
        }
        date(sum / 86_400_000).unwrap().to_string()
    }

    #[test]
    fn every_hour_of_three_years_is_on_the_day_that_the_calendar_says() {
        let zones = [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "America/Sao_Paulo",
            "Africa/Casablanca",
        ];
        let start: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        for name in zones {
            let zone = TimeZone::get(name).unwrap();
            let first_ms = start.as_millisecond();
            let last_ms = first_ms + 3 * 365 * 86_400_000;
            let local = LocalTime::of(&zone, first_ms, last_ms).unwrap();
            for at_ms in (first_ms..last_ms).step_by(3_599_999) {
                let at = Timestamp::from_millisecond(at_ms).unwrap();
                let expected = at.to_zoned(zone.clone()).date().to_string();
                assert_eq!(day_of(local, at_ms), expected, "{name} {at}");
            }
        }
    }

    #[test]
    fn a_span_with_more_changes_than_can_be_told_is_none() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(LocalTime::of(&zone, 0, 1_767_225_600_000), None);
        assert!(LocalTime::of(&TimeZone::UTC, 0, 1_767_225_600_000).is_some());
    }
}
