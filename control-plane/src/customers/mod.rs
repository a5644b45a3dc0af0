//! Customers: the top of the hierarchy. A customer has teams and keys, and budgets that everything
//! below it is charged to.
//!
//! Invariant: the name is unique and fit to be shown ([`crate::name`]).

pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use reeve_policy::limit::Limit;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::invalid::Invalid;
use crate::limits::{
    BudgetChange, LimitsChange, OwnerCalendar, RateLimitChange, RateLimitWindowChange,
};
use crate::name;
use crate::random::Ids;

/// A customer as configured. What has been used of its limits is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// UUIDv7.
    pub id: String,
    /// Unique.
    pub name: String,
    /// How the windows of its limits lie.
    pub calendar: OwnerCalendar,
    /// Budgets and rate limits of everything below.
    pub limits: Vec<Limit>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// A customer as a request gives it. Making one is a change of an empty one: `name` must be given
/// then. Otherwise a field that is left out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = CustomerChange)]
pub struct Change {
    /// Unique; 1 to 128 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "acme")]
    pub name: Field<String>,
    /// The one budget; the short form of `budgets`.
    #[serde(default)]
    #[schema(value_type = Option<BudgetChange>)]
    pub budget: Field<BudgetChange>,
    /// Budgets, one per `reset_duration`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<BudgetChange>>)]
    pub budgets: Field<Vec<BudgetChange>>,
    /// Rate limit.
    #[serde(default)]
    #[schema(value_type = Option<RateLimitChange>)]
    pub rate_limit: Field<RateLimitChange>,
    /// Rate limits with several windows, one per `metric` and `reset_duration`; instead of `rate_limit`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<RateLimitWindowChange>>)]
    pub rate_limits: Field<Vec<RateLimitWindowChange>>,
    /// Align the windows of every limit to the calendar.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub calendar_aligned: Field<bool>,
    /// IANA name of the zone whose calendar that is; null: UTC. A new one takes that of the settings.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    pub time_zone: Field<String>,
}

impl Customer {
    /// A customer without a name, until a [`Change`] gives it one.
    pub fn new(ids: &mut Ids, zone: TimeZone) -> Self {
        Self {
            id: ids.make(),
            name: String::new(),
            calendar: OwnerCalendar::rolling(zone),
            limits: Vec::new(),
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        }
    }
}

impl Change {
    /// The customer after the change, or the first rule it would break.
    pub fn apply(self, customer: Customer, ids: &mut Ids) -> Result<Customer, Invalid> {
        let name = self.name.or_keep_value(customer.name, String::new());
        name::check(&name)?;
        let realign = self.calendar_aligned != Field::Absent;
        let calendar = customer
            .calendar
            .changed(&self.calendar_aligned, self.time_zone)?;
        let limits = LimitsChange {
            budget: self.budget,
            budgets: self.budgets,
            rate_limit: self.rate_limit,
            rate_limits: self.rate_limits,
            realign,
        }
        .apply(customer.limits, &calendar, ids)?;
        let updated_at_ms = ids.now_ms();
        Ok(Customer {
            name,
            calendar,
            limits,
            updated_at_ms,
            ..customer
        })
    }
}
