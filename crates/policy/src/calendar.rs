//! Calendar-aligned windows: in a time zone, days start at 00:00, weeks on Monday, months on day 1,
//! quarters on day 1 of the fiscal year's quarters, years on January 1. Counts group them: `3M` is a
//! quarter. Periods below a day have no calendar and roll.
//!
//! A day starts with the first moment of its date. Where the clock is put back over midnight, the date
//! that comes a second time belongs to the day that has begun; where midnight is left out, the day starts
//! with the first moment after it. So windows touch, and every moment is in one.
//!
//! Rules of time zones are data that the filter does not carry. It is sent the [`Boundaries`] of windows
//! around now instead, unless the zone is UTC, which has no rules.

use core::mem;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::period::{Period, Unit, Window};

const DAY: i64 = 86_400_000;
/// Thursday 1970-01-01 is day 0; the Monday before it is day -3.
const EPOCH_TO_MONDAY: i64 = 3;
/// How far ahead boundaries are sent: as long as a filter can do without its control plane.
const KNOWN_AHEAD_MS: i64 = 14 * DAY;
/// However long a window is, so many of its successors are sent.
const KNOWN_AHEAD: usize = 3;

/// Where windows start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alignment {
    /// End to end from the limit's anchor.
    Rolling,
    /// Where the calendar does.
    Calendar(Calendar),
    /// Where somebody who knows the calendar has said.
    Known(Boundaries),
}

/// A calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Whose midnights.
    pub zone: TimeZone,
    /// Month in which a quarter starts, 1 to 12.
    pub quarter_start_month: u8,
}

/// Starts of windows that follow each other, and the end of the last; two or more, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundaries(Vec<i64>);

impl Calendar {
    /// The calendar of UTC, with quarters that start in January.
    pub const UTC: Self = Self {
        zone: TimeZone::UTC,
        quarter_start_month: 1,
    };

    /// `None`: this period has no calendar (below a day, or never-ending), or `now_ms` is outside of it.
    pub(crate) fn window(&self, period: Period, now_ms: i64) -> Option<Window> {
        let today = self
            .zone
            .to_datetime(Timestamp::from_millisecond(now_ms).ok()?);
        let mut cell = self.cell(period, today.date())?;
        let mut start_ms = self.start(period, cell)?;
        while start_ms > now_ms {
            cell = cell.checked_sub(1)?;
            start_ms = self.start(period, cell)?;
        }
        loop {
            cell = cell.checked_add(1)?;
            let end_ms = self.start(period, cell)?;
            if end_ms > now_ms {
                return Some(Window { start_ms, end_ms });
            }
            start_ms = end_ms;
        }
    }

    /// What the filter is sent. `None`: it can tell by itself.
    fn boundaries(&self, period: Period, now_ms: i64) -> Option<Boundaries> {
        if self.zone == TimeZone::UTC {
            return None;
        }
        let now = self.window(period, now_ms)?;
        // Clocks differ: for some filters the window before this one is not over.
        let before = self.window(period, now.start_ms.checked_sub(1)?)?;
        let mut starts = vec![before.start_ms, now.start_ms, now.end_ms];
        let horizon_ms = now_ms.saturating_add(KNOWN_AHEAD_MS);
        let mut last_ms = now.end_ms;
        for ahead in 1_usize.. {
            if ahead > KNOWN_AHEAD && last_ms > horizon_ms {
                break;
            }
            last_ms = self.window(period, last_ms)?.end_ms;
            starts.push(last_ms);
        }
        Boundaries::new(starts)
    }

    /// The number of the window that a date is in.
    fn cell(&self, period: Period, date: Date) -> Option<i64> {
        let count = i64::from(period.count());
        match self.unit(period)? {
            Step::Days { length, first } => day_number(date)?
                .checked_sub(first)?
                .checked_div_euclid(length.checked_mul(count)?),
            Step::Months { length, first } => i64::from(date.year())
                .checked_mul(12)?
                .checked_add(i64::from(date.month()).checked_sub(1)?)?
                .checked_sub(first)?
                .checked_div_euclid(length.checked_mul(count)?),
        }
    }

    /// The first moment of the window of this number.
    fn start(&self, period: Period, cell: i64) -> Option<i64> {
        let count = i64::from(period.count());
        let into = |length: i64, first: i64| {
            cell.checked_mul(length.checked_mul(count)?)?
                .checked_add(first)
        };
        let date = match self.unit(period)? {
            Step::Days { length, first } => date_of(into(length, first)?)?,
            Step::Months { length, first } => {
                let month = into(length, first)?;
                let year = i16::try_from(month.checked_div_euclid(12)?).ok()?;
                let month = i8::try_from(month.checked_rem_euclid(12)?.checked_add(1)?).ok()?;
                Date::new(year, month, 1).ok()?
            }
        };
        let midnight = self.zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
        Some(midnight.compatible().ok()?.as_millisecond())
    }

    fn unit(&self, period: Period) -> Option<Step> {
        let months = |length, first| Step::Months { length, first };
        Some(match period.unit() {
            Unit::Second | Unit::Minute | Unit::Hour | Unit::Never => return None,
            Unit::Day => Step::Days {
                length: 1,
                first: 0,
            },
            Unit::Week => Step::Days {
                length: 7,
                first: EPOCH_TO_MONDAY.checked_neg()?,
            },
            Unit::Month => months(1, 0),
            Unit::Quarter => months(3, i64::from(self.quarter_start_month).checked_sub(1)?),
            Unit::Year => months(12, 0),
        })
    }
}

/// How a calendar's unit is counted: its length, and where one starts, in days since 1970 or in months
/// since year 0.
enum Step {
    Days { length: i64, first: i64 },
    Months { length: i64, first: i64 },
}

impl Boundaries {
    /// `None`: there are fewer than two, or they are not in order.
    pub fn new(starts: Vec<i64>) -> Option<Self> {
        let is_rising = starts.is_sorted_by(|earlier, later| earlier < later);
        (starts.len() >= 2 && is_rising).then_some(Self(starts))
    }

    /// The starts, and the end of the last.
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }

    /// Before the first boundary the first window is taken to go on, and after the last one the last:
    /// nothing starts afresh until somebody says when, so nobody can spend what is not there.
    pub(crate) fn window(&self, now_ms: i64) -> Option<Window> {
        let after = self.0.partition_point(|start| *start <= now_ms);
        let last = self.0.len().checked_sub(1)?;
        let end = after.clamp(1, last);
        let start_ms = *self.0.get(end.checked_sub(1)?)?;
        let end_ms = if after > last {
            i64::MAX
        } else {
            *self.0.get(end)?
        };
        Some(Window { start_ms, end_ms })
    }
}

impl Alignment {
    /// The calendar of UTC.
    pub const fn utc() -> Self {
        Self::Calendar(Calendar::UTC)
    }

    /// The same, as far as the filter needs it at this time: without the rules of a time zone.
    #[must_use]
    pub fn known_at(&self, period: Period, now_ms: i64) -> Self {
        let Self::Calendar(calendar) = self else {
            return self.clone();
        };
        match calendar.boundaries(period, now_ms) {
            Some(boundaries) => Self::Known(boundaries),
            // Below a day windows roll, whatever the zone.
            None if calendar.zone != TimeZone::UTC => Self::Rolling,
            None => self.clone(),
        }
    }

    /// Do the windows start where the calendar does?
    pub fn is_calendar(&self) -> bool {
        mem::discriminant(self) != mem::discriminant(&Self::Rolling)
    }
}

/// Days since 1970-01-01.
fn day_number(of: Date) -> Option<i64> {
    let midnight = TimeZone::UTC.to_timestamp(of.at(0, 0, 0, 0)).ok()?;
    midnight.as_millisecond().checked_div_euclid(DAY)
}

fn date_of(day: i64) -> Option<Date> {
    let midnight = Timestamp::from_millisecond(day.checked_mul(DAY)?).ok()?;
    Some(TimeZone::UTC.to_datetime(midnight).date())
}

#[cfg(test)]
mod tests;
