//! Periods and their windows: when a limit starts afresh.
//!
//! A window is computed from the time, so that no job has to reset anything and a counter that
//! missed a year of resets is right at once.
//!
//! * **Rolling** (the default): windows of equal length, laid end to end from the limit's anchor (the
//!   moment it was created). A month is 30 days, a quarter 90, a year 365, as in Bifrost.
//! * **Calendar-aligned**: see [`crate::calendar`].
//! * **Never**: one window, from the anchor for ever, as prepaid credits have it.
//!
//! Times are milliseconds since the Unix epoch.

use core::fmt;

use crate::calendar::Alignment;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 86_400_000;
/// How the period that does not end is written.
const NEVER: &str = "never";

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
    /// `never`: the window does not end. Its count is 1.
    Never,
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
        "not a duration: write a count and one of s, m, h, d, w, M, Q, Y, such as `1h` or `1M`, or \
         `never`"
    )]
    Malformed,
    /// Zero, or so long that it ends beyond the calendar.
    #[error("must be at least `1s` and at most 100 years")]
    OutOfRange,
}

impl Period {
    /// Once and for all.
    pub const NEVER: Self = Self {
        count: 1,
        unit: Unit::Never,
    };

    /// A period of `count` units; at least one second and at most a hundred years, or never-ending.
    pub fn new(count: u32, unit: Unit) -> Result<Self, PeriodError> {
        if unit == Unit::Never {
            return if count == 1 {
                Ok(Self { count, unit })
            } else {
                Err(PeriodError::OutOfRange)
            };
        }
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

    /// Reads `1m`, `1h`, `1d`, `1w`, `1M`, `1Q`, `1Y` and their multiples, and `never`.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        if text == NEVER {
            return Self::new(1, Unit::Never);
        }
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
            Unit::Never => i64::MAX,
        };
        unit.saturating_mul(i64::from(self.count))
    }

    /// The window that `now_ms` falls into. `anchor_ms` is the start of the first rolling window.
    pub fn window(self, anchor_ms: i64, alignment: &Alignment, now_ms: i64) -> Window {
        if self.unit == Unit::Never {
            return Window {
                start_ms: anchor_ms,
                end_ms: i64::MAX,
            };
        }
        let aligned = match alignment {
            Alignment::Rolling => None,
            Alignment::Calendar(calendar) => calendar.window(self, now_ms),
            Alignment::Known(boundaries) => boundaries.window(now_ms),
        };
        aligned.unwrap_or_else(|| lattice(anchor_ms, self.length_ms(), now_ms))
    }
}

/// The period as it is written: `1M`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Never => return f.write_str(NEVER),
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn every_period_is_written_as_it_is_read() {
        for text in [
            "30s", "1m", "1h", "1d", "1w", "1M", "3M", "1Q", "1Y", "100Y", "never",
        ] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in [
            "", "m", "1", "1x", "-1d", "+1d", "1.5h", "1 h", "١d", "1mo", "1never", "Never",
        ] {
            assert_eq!(Period::parse(text), Err(PeriodError::Malformed), "{text}");
        }
        for text in ["0s", "101Y", "99999999999d", "4294967295Y"] {
            assert_eq!(Period::parse(text), Err(PeriodError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn rolling_windows_are_laid_end_to_end_from_the_anchor() {
        let period = Period::parse("1M").unwrap();
        let anchor = at("2026-01-31T12:00:00Z");
        let first = period.window(anchor, &Alignment::Rolling, anchor);
        assert_eq!(
            first,
            Window {
                start_ms: anchor,
                end_ms: anchor + 30 * DAY
            }
        );
        assert_eq!(
            period.window(anchor, &Alignment::Rolling, first.end_ms - 1),
            first
        );
        assert_eq!(
            period
                .window(anchor, &Alignment::Rolling, first.end_ms)
                .start_ms,
            first.end_ms
        );
    }

    #[test]
    fn what_never_resets_has_one_window() {
        let period = Period::parse("never").unwrap();
        let window = period.window(5, &Alignment::Rolling, 9_000_000_000_000_000);
        assert_eq!((window.start_ms, window.end_ms), (5, i64::MAX));
        assert_eq!(period.window(5, &Alignment::Rolling, 0), window);
    }
}
