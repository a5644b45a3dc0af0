//! Limits of models and providers: what everyone together, or one virtual key, may do with a model, with
//! a provider, or with a model at a provider.
//!
//! The governance of a provider is the config of every model at that provider, for everyone; it has routes
//! of its own, as in Bifrost.
//!
//! Invariant: there is one config for each combination of model, provider and scope, and it stays what it
//! is about.

pub mod provider_routes;
pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use reeve_policy::limit::Limit;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::invalid::Invalid;
use crate::limits::{
    BudgetChange, LimitsChange, OwnerCalendar, RateLimitChange, RateLimitWindowChange,
};
use crate::name;
use crate::random::Ids;

/// The name that stands for every model.
pub const EVERY_MODEL: &str = "*";

/// Whose requests a config is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everyone's.
    Global,
    /// Those of the virtual key with this id.
    VirtualKey(String),
}

/// The word for a [`Scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// Everyone's requests.
    Global,
    /// Those of one virtual key.
    VirtualKey,
}

/// What a config is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `None`: every model.
    pub model: Option<String>,
    /// `None`: every provider.
    pub provider: Option<String>,
    /// Whose requests.
    pub scope: Scope,
}

/// A config. What has been used of its limits is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// UUIDv7.
    pub id: String,
    /// Never changes.
    pub subject: Subject,
    /// How the windows of its limits lie.
    pub calendar: OwnerCalendar,
    /// Budgets and rate limits.
    pub limits: Vec<Limit>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// What a new config is about, as a request gives it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = NewModelConfig)]
pub struct New {
    /// The model without a provider's name, as the catalogue has it; `*`: every model.
    #[schema(example = "gpt-4o")]
    pub model_name: String,
    /// Left out or null: every provider.
    #[serde(default)]
    pub provider: Option<String>,
    /// Left out: global.
    #[serde(default)]
    pub scope: Option<ScopeKind>,
    /// The virtual key's id, for that scope.
    #[serde(default)]
    pub scope_id: Option<String>,
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
    /// IANA name of the zone whose calendar that is; left out: that of the settings.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    pub time_zone: Field<String>,
}

/// What a request changes of a config. A field that is left out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ModelConfigChange)]
pub struct Change {
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
    /// IANA name of the zone whose calendar that is; null: UTC.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    pub time_zone: Field<String>,
}

impl New {
    /// What it is about, and the rest of it.
    pub fn split(self) -> Result<(Subject, Change), Invalid> {
        let scope = match (self.scope, self.scope_id.filter(|id| !id.is_empty())) {
            (None | Some(ScopeKind::Global), None) => Scope::Global,
            (Some(ScopeKind::VirtualKey), Some(id)) => Scope::VirtualKey(id),
            (None | Some(ScopeKind::Global), Some(_)) => {
                let message = "is only for the scope `virtual_key`; leave it out";
                return Err(Invalid::field("scope_id", message));
            }
            (Some(ScopeKind::VirtualKey), None) => {
                let message = "is required: the id of the virtual key";
                return Err(Invalid::field("scope_id", message));
            }
        };
        name::check(&self.model_name).map_err(|fault| Invalid {
            field: Some("model_name".into()),
            ..fault
        })?;
        let subject = Subject {
            model: Some(self.model_name).filter(|name| name != EVERY_MODEL),
            provider: self.provider.filter(|name| !name.is_empty()),
            scope,
        };
        let change = Change {
            budget: self.budget,
            budgets: self.budgets,
            rate_limit: self.rate_limit,
            rate_limits: self.rate_limits,
            calendar_aligned: self.calendar_aligned,
            time_zone: self.time_zone,
        };
        Ok((subject, change))
    }
}

impl ModelConfig {
    /// A config without limits.
    pub fn new(subject: Subject, ids: &mut Ids, zone: TimeZone) -> Self {
        Self {
            id: ids.make(),
            subject,
            calendar: OwnerCalendar::rolling(zone),
            limits: Vec::new(),
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        }
    }
}

impl Change {
    /// The config after the change, or the first rule it would break.
    pub fn apply(self, config: ModelConfig, ids: &mut Ids) -> Result<ModelConfig, Invalid> {
        let realign = self.calendar_aligned != Field::Absent;
        let calendar = config
            .calendar
            .changed(&self.calendar_aligned, self.time_zone)?;
        let limits = LimitsChange {
            budget: self.budget,
            budgets: self.budgets,
            rate_limit: self.rate_limit,
            rate_limits: self.rate_limits,
            realign,
        }
        .apply(config.limits, &calendar, ids)?;
        Ok(ModelConfig {
            calendar,
            limits,
            updated_at_ms: ids.now_ms(),
            ..config
        })
    }
}
