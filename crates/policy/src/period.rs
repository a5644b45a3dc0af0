//! Periods and their windows: when a limit starts afresh.
//!
//! A window is computed from the time, so that no job has to reset anything and a counter that
//! missed a year of resets is right at once.
//!
//! * **Rolling** (the default): windows of equal length, laid end to end from the limit's anchor (the
//!   moment it was created). A month is 30 days, a quarter 90, a year 365, as in Bifrost.
//! * **Calendar-aligned**: days start at 00:00 UTC, weeks on Monday, months on day 1, quarters on the
//!   first of January, April, July and October, years on January 1. Counts group them: `3M` is a
//!   quarter. Periods below a day have no calendar and roll.
//!
//! Times are milliseconds since the Unix epoch.

use core::fmt;

use jiff::civil::Date;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 86_400_000;
/// Thursday 1970-01-01 is day 0; the Monday before it is day -3.
const EPOCH_TO_MONDAY: i64 = 3;

/// The unit of a [`Period`]. Case matters in text: `m` is a minute, `M` a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
    /// `w`
    Week,
    /// `M`
    Month,
    /// `Q`
    Quarter,
    /// `Y`
    Year,
}

/// How long a limit's window is: a count of units, `1M`, `30s`, `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    count: u32,
    unit: Unit,
}

/// A half-open interval of time `[start_ms, end_ms)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First millisecond.
    pub start_ms: i64,
    /// First millisecond of the next window.
    pub end_ms: i64,
}

/// Why a text is not a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Not a count and a unit.
    #[error(
        "not a duration: write a count and one of s, m, h, d, w, M, Q, Y, such as `1h` or `1M`"
    )]
    Malformed,
    /// Zero, or so long that it ends beyond the calendar.
    #[error("must be at least `1s` and at most 100 years")]
    OutOfRange,
}

impl Period {
    /// A period of `count` units; at least one second and at most a hundred years.
    pub fn new(count: u32, unit: Unit) -> Result<Self, PeriodError> {
        let period = Self { count, unit };
        let longest = Self {
            count: 100,
            unit: Unit::Year,
        }
        .length_ms();
        if count == 0 || period.length_ms() > longest {
            return Err(PeriodError::OutOfRange);
        }
        Ok(period)
    }

    /// Reads `1m`, `1h`, `1d`, `1w`, `1M`, `1Q`, `1Y` and their multiples.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        let mut chars = text.chars();
        let unit = match chars.next_back() {
            Some('s') => Unit::Second,
            Some('m') => Unit::Minute,
            Some('h') => Unit::Hour,
            Some('d') => Unit::Day,
            Some('w') => Unit::Week,
            Some('M') => Unit::Month,
            Some('Q') => Unit::Quarter,
            Some('Y') => Unit::Year,
            _ => return Err(PeriodError::Malformed),
        };
        let count = chars.as_str();
        if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PeriodError::Malformed);
        }
        Self::new(count.parse().map_err(|_| PeriodError::OutOfRange)?, unit)
    }

    /// How many units.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The unit.
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// The length of a rolling window, milliseconds.
    fn length_ms(self) -> i64 {
        let unit = match self.unit {
            Unit::Second => SECOND,
            Unit::Minute => MINUTE,
            Unit::Hour => HOUR,
            Unit::Day => DAY,
            Unit::Week => DAY.saturating_mul(7),
            Unit::Month => DAY.saturating_mul(30),
            Unit::Quarter => DAY.saturating_mul(90),
            Unit::Year => DAY.saturating_mul(365),
        };
        unit.saturating_mul(i64::from(self.count))
    }

    /// The window that `now_ms` falls into. `anchor_ms` is the start of the first rolling window.
    pub fn window(self, anchor_ms: i64, calendar_aligned: bool, now_ms: i64) -> Window {
        let aligned = if calendar_aligned {
            self.calendar_window(now_ms)
        } else {
            None
        };
        aligned.unwrap_or_else(|| lattice(anchor_ms, self.length_ms(), now_ms))
    }

    /// `None`: this period has no calendar (below a day), or `now_ms` is outside of it.
    fn calendar_window(self, now_ms: i64) -> Option<Window> {
        let months = match self.unit {
            Unit::Second | Unit::Minute | Unit::Hour => return None,
            Unit::Day => return Some(lattice(0, self.length_ms(), now_ms)),
            Unit::Week => {
                let monday = DAY.checked_mul(EPOCH_TO_MONDAY)?.checked_neg()?;
                return Some(lattice(monday, self.length_ms(), now_ms));
            }
            Unit::Month => i64::from(self.count),
            Unit::Quarter => i64::from(self.count).checked_mul(3)?,
            Unit::Year => i64::from(self.count).checked_mul(12)?,
        };
        let today = jiff::Timestamp::from_millisecond(now_ms).ok()?;
        let today = jiff::tz::TimeZone::UTC.to_datetime(today).date();
        let month = i64::from(today.year())
            .checked_mul(12)?
            .checked_add(i64::from(today.month()).checked_sub(1)?)?;
        let first = month.checked_sub(month.checked_rem_euclid(months)?)?;
        Some(Window {
            start_ms: month_start_ms(first)?,
            end_ms: month_start_ms(first.checked_add(months)?)?,
        })
    }
}

/// The period as it is written: `1M`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
            Unit::Day => 'd',
            Unit::Week => 'w',
            Unit::Month => 'M',
            Unit::Quarter => 'Q',
            Unit::Year => 'Y',
        };
        write!(f, "{}{unit}", self.count)
    }
}

/// A time as RFC 3339 writes it, UTC. Outside of the years -9999 to 9999: the milliseconds.
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

/// The cell of an endless row of equal cells that `now` falls into. A time before the anchor has a
/// window too: clocks step back.
fn lattice(anchor_ms: i64, length_ms: i64, now_ms: i64) -> Window {
    let since = now_ms.saturating_sub(anchor_ms);
    let into = since.checked_rem_euclid(length_ms).unwrap_or_default();
    let start_ms = now_ms.saturating_sub(into);
    Window {
        start_ms,
        end_ms: start_ms.saturating_add(length_ms),
    }
}

/// Start of a month counted from January of year 0, UTC.
fn month_start_ms(month: i64) -> Option<i64> {
    let year = i16::try_from(month.checked_div_euclid(12)?).ok()?;
    let month = i8::try_from(month.checked_rem_euclid(12)?.checked_add(1)?).ok()?;
    let midnight = Date::new(year, month, 1).ok()?.at(0, 0, 0, 0);
    Some(
        jiff::tz::TimeZone::UTC
            .to_timestamp(midnight)
            .ok()?
            .as_millisecond(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn calendar(period: &str, now: &str) -> (String, String) {
        let window = Period::parse(period)
            .unwrap()
            .window(at(now), true, at(now));
        let text = |ms| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
        (text(window.start_ms), text(window.end_ms))
    }

    #[test]
    fn every_period_is_written_as_it_is_read() {
        for text in [
            "30s", "1m", "1h", "1d", "1w", "1M", "3M", "1Q", "1Y", "100Y",
        ] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in ["", "m", "1", "1x", "-1d", "+1d", "1.5h", "1 h", "١d", "1mo"] {
            assert_eq!(Period::parse(text), Err(PeriodError::Malformed), "{text}");
        }
        for text in ["0s", "101Y", "99999999999d", "4294967295Y"] {
            assert_eq!(Period::parse(text), Err(PeriodError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn calendar_windows_start_where_the_calendar_does() {
        for (period, now, start, end) in [
            (
                "1d",
                "2026-02-28T23:59:59Z",
                "2026-02-28T00:00:00Z",
                "2026-03-01T00:00:00Z",
            ),
            (
                "1w",
                "2026-11-22T12:00:00Z",
                "2026-11-16T00:00:00Z",
                "2026-11-23T00:00:00Z",
            ),
            (
                "1w",
                "2026-11-23T00:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-30T00:00:00Z",
            ),
            (
                "1M",
                "2024-02-29T10:00:00Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                "1M",
                "2026-12-31T23:59:59Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "1Q",
                "2026-05-05T05:05:05Z",
                "2026-04-01T00:00:00Z",
                "2026-07-01T00:00:00Z",
            ),
            (
                "3M",
                "2026-05-05T05:05:05Z",
                "2026-04-01T00:00:00Z",
                "2026-07-01T00:00:00Z",
            ),
            (
                "1Y",
                "2026-05-05T05:05:05Z",
                "2026-01-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "1M",
                "1969-12-31T23:00:00Z",
                "1969-12-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            assert_eq!(
                calendar(period, now),
                (start.into(), end.into()),
                "{period} at {now}"
            );
        }
    }

    #[test]
    fn rolling_windows_are_laid_end_to_end_from_the_anchor() {
        let period = Period::parse("1M").unwrap();
        let anchor = at("2026-01-31T12:00:00Z");
        let first = period.window(anchor, false, anchor);
        assert_eq!(
            first,
            Window {
                start_ms: anchor,
                end_ms: anchor + 30 * DAY
            }
        );
        assert_eq!(period.window(anchor, false, first.end_ms - 1), first);
        assert_eq!(
            period.window(anchor, false, first.end_ms).start_ms,
            first.end_ms
        );
    }

    #[test]
    fn a_period_below_a_day_rolls_even_when_aligned() {
        let period = Period::parse("1m").unwrap();
        let anchor = at("2026-01-01T00:00:30Z");
        let window = period.window(anchor, true, anchor + 59_999);
        assert_eq!(window.start_ms, anchor);
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn every_moment_is_in_its_own_window(
            now in -10_000_000_000_000i64..100_000_000_000_000,
            anchor in 0i64..4_000_000_000_000,
            count in 1u32..12,
            unit in 0usize..8,
            aligned: bool,
        ) {
            let units = [
                Unit::Second, Unit::Minute, Unit::Hour, Unit::Day,
                Unit::Week, Unit::Month, Unit::Quarter, Unit::Year,
            ];
            let period = Period::new(count, units[unit]).unwrap();
            let window = period.window(anchor, aligned, now);
            proptest::prop_assert!(window.start_ms <= now && now < window.end_ms);
            // Neighbours touch, and every moment of a window has the same one.
            proptest::prop_assert_eq!(period.window(anchor, aligned, window.start_ms), window);
            proptest::prop_assert_eq!(period.window(anchor, aligned, window.end_ms - 1), window);
            let next = period.window(anchor, aligned, window.end_ms);
            proptest::prop_assert_eq!(next.start_ms, window.end_ms);
        }
    }
}
