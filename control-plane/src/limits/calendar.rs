//! Where windows start: time zones by name, and what an owner says about its windows.
//!
//! The rules of time zones are those that this program was built with, so that replicas agree about
//! every window.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use reeve_policy::calendar::{Alignment, Calendar};

use crate::db::Error;
use crate::http::field::Field;
use crate::invalid::Invalid;

/// The name of the zone that is taken when none is given.
pub const UTC: &str = "UTC";

/// How the windows of an owner's limits lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerCalendar {
    /// What new limits do by default.
    pub aligned: bool,
    /// Whose midnights aligned windows start at.
    pub zone: TimeZone,
}

impl OwnerCalendar {
    /// Windows roll, until something else is said.
    pub const fn rolling(zone: TimeZone) -> Self {
        Self {
            aligned: false,
            zone,
        }
    }

    /// As it is stored; `column` is where the zone is.
    pub fn stored(aligned: bool, zone: &str, column: &'static str) -> Result<Self, Error> {
        let zone = find(zone).ok_or_else(|| Error::corrupt(column, zone))?;
        Ok(Self { aligned, zone })
    }

    /// The calendar after a change.
    pub fn changed(self, aligned: &Field<bool>, time_zone: Field<String>) -> Result<Self, Invalid> {
        Ok(Self {
            aligned: aligned.clone().or_keep_value(self.aligned, false),
            zone: changed(time_zone, self.zone)?,
        })
    }

    pub(super) fn alignment(&self, aligned: bool, quarter_start_month: u8) -> Alignment {
        if !aligned {
            return Alignment::Rolling;
        }
        Alignment::Calendar(Calendar {
            zone: self.zone.clone(),
            quarter_start_month,
        })
    }
}

/// A time zone after a change; `null` means UTC.
pub fn changed(time_zone: Field<String>, old: TimeZone) -> Result<TimeZone, Invalid> {
    match time_zone {
        Field::Absent => Ok(old),
        Field::Null => Ok(TimeZone::UTC),
        Field::Value(name) => find(&name).ok_or_else(|| {
            Invalid::field(
                "time_zone",
                "no such time zone; write an IANA name, such as `Europe/Berlin` or `UTC`",
            )
        }),
    }
}

/// The zone with this IANA name.
pub fn find(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case(UTC) {
        return Some(TimeZone::UTC);
    }
    TimeZoneDatabase::bundled().get(name).ok()
}

/// The IANA name of a zone.
pub fn name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or(UTC)
}
