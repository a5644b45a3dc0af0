//! How many requests of a key may be under way at once.
//!
//! Inside it is a limit like the others, in a window that never ends, of which nothing is ever used up
//! ([`reeve_policy::lease`]). Its id is made of the key's: whatever is changed, what is under way counts.

use reeve_policy::calendar::Alignment;
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::period::Period;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;
use crate::limits::Use;

const PREFIX: &str = "in-flight-";
/// Far more than any key has at once.
const MOST: i64 = 1_000_000;

/// The limit of a key.
pub fn limit(key_id: &str, max: i64) -> Limit {
    Limit {
        id: format!("{PREFIX}{key_id}"),
        metric: Metric::InFlight,
        max,
        period: Period::NEVER,
        anchor_ms: 0,
        alignment: Alignment::Rolling,
        open: None,
        raised_by: None,
    }
}

/// The key whose limit this is. `None`: it is another kind of limit.
pub fn key_of(limit_id: &str) -> Option<&str> {
    limit_id.strip_prefix(PREFIX)
}

/// The number after a change.
pub(super) fn changed(given: Field<Number>, old: Option<i64>) -> Result<Option<i64>, Invalid> {
    let number = match given {
        Field::Absent => return Ok(old),
        Field::Null => return Ok(None),
        Field::Value(number) => number,
    };
    let max = number.whole().filter(|max| (1..=MOST).contains(max));
    max.map(Some).ok_or_else(|| {
        Invalid::field(
            "max_in_flight",
            "must be a whole number, 1 to 1,000,000; null means any number",
        )
    })
}

/// How many slots Envoys hold.
pub(super) const fn held(usage: Use) -> i64 {
    usage.committed()
}
