//! What an Envoy does when it needs more of a limit than it holds and cannot ask for it, in the words of the
//! API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;

const DEFAULT_PERCENT: u32 = 10;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(try_from = "String", rename_all = "snake_case")]
pub enum WhenUnreachable {
    /// It refuses: no limit is ever overspent.
    FailClosed,
    /// It goes beyond what it holds, by `emergency_allowance_percent` of the limit at most.
    FailOpenCapped,
}

/// The two settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable {
    /// What it does.
    pub when: WhenUnreachable,
    /// How far it may go, percent of a limit for each window and Envoy.
    pub percent: u32,
}

impl Unreachable {
    /// The default.
    pub const INITIAL: Self = Self {
        when: WhenUnreachable::FailClosed,
        percent: DEFAULT_PERCENT,
    };

    /// How far an Envoy may go now.
    pub const fn allowed_percent(self) -> u32 {
        match self.when {
            WhenUnreachable::FailClosed => 0,
            WhenUnreachable::FailOpenCapped => self.percent,
        }
    }

    /// After a change.
    pub(super) fn changed(
        self,
        when: Field<WhenUnreachable>,
        percent: Field<Number>,
    ) -> Result<Self, Invalid> {
        let percent = match percent {
            Field::Absent => self.percent,
            Field::Null => DEFAULT_PERCENT,
            Field::Value(number) => number
                .whole()
                .and_then(|percent| u32::try_from(percent).ok())
                .filter(|percent| (1..=100).contains(percent))
                .ok_or_else(|| {
                    Invalid::field(
                        "emergency_allowance_percent",
                        "must be a whole number, 1 to 100; for none, set `when_unreachable` to \
                         `fail_closed`",
                    )
                })?,
        };
        Ok(Self {
            when: when.or_keep_value(self.when, Self::INITIAL.when),
            percent,
        })
    }
}

impl TryFrom<String> for WhenUnreachable {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        match word.as_str() {
            "fail_closed" => Ok(Self::FailClosed),
            "fail_open_capped" => Ok(Self::FailOpenCapped),
            _ => Err("must be `fail_closed` or `fail_open_capped`"),
        }
    }
}
