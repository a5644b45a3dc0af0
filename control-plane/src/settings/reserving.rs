//! How budgets are reserved, in the words of the API.

use reeve_policy::reservation::{Sizing, WhenShort};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much of a budget a request reserves for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Reservation {
    /// The most that it can cost: a budget is never overspent.
    Strict,
    /// What this key's answers from this model have needed lately (docs/limits.md).
    Balanced,
}

/// What becomes of a request when the rest of a budget is too small for its reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(try_from = "String", rename_all = "lowercase")]
#[schema(as = WhenShort)]
pub enum Short {
    /// It is refused.
    Reject,
    /// The bound that it sets for its answer is lowered to what the rest is enough for, but not
    /// below 256 tokens.
    Clamp,
}

impl From<Sizing> for Reservation {
    fn from(sizing: Sizing) -> Self {
        match sizing {
            Sizing::Strict => Self::Strict,
            Sizing::Balanced => Self::Balanced,
        }
    }
}

impl From<WhenShort> for Short {
    fn from(when_short: WhenShort) -> Self {
        match when_short {
            WhenShort::Reject => Self::Reject,
            WhenShort::Clamp => Self::Clamp,
        }
    }
}

impl TryFrom<String> for Reservation {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        match word.as_str() {
            "strict" => Ok(Self::Strict),
            "balanced" => Ok(Self::Balanced),
            _ => Err("must be `strict` or `balanced`"),
        }
    }
}

impl TryFrom<String> for Short {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        match word.as_str() {
            "reject" => Ok(Self::Reject),
            "clamp" => Ok(Self::Clamp),
            _ => Err("must be `reject` or `clamp`"),
        }
    }
}
