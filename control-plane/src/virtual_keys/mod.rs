//! Virtual keys: what a program presents instead of a provider's key.
//!
//! A key belongs to a team or to a customer or to nobody, lists the providers and models it may use
//! ([`provider_config`]), and carries budgets and rate limits of its own. Its [`value`] is shown once,
//! when it is made or rotated; after that only a digest of it exists.
//!
//! Invariants, kept by [`Change::apply`] for every key that is stored:
//! * the name is unique, and fit to be shown ([`crate::name`]);
//! * it has at most one owner;
//! * every provider config names another configured provider;
//! * no provider configs and no `allow_all_providers`: the key may use nothing.

pub mod guesses;
pub mod in_flight;
pub mod provider_config;
pub mod quota;
pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;
pub mod value;

use jiff::tz::TimeZone;
use reeve_policy::limit::Limit;
use serde::Deserialize;
use utoipa::ToSchema;

pub use provider_config::{ProviderConfig, ProviderConfigChange};
pub use value::{KeyValue, Traits};

use crate::http::field::Field;
use crate::http::number::Number;
use crate::http::timestamp;
use crate::invalid::Invalid;
use crate::limits::{
    BudgetChange, LimitsChange, OwnerCalendar, RateLimitChange, RateLimitWindowChange,
};
use crate::name;
use crate::random::Ids;

/// Longest description, characters.
const MAX_DESCRIPTION: usize = 1_000;

/// A virtual key as configured. What has been used of its limits is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualKey {
    /// UUIDv7.
    pub id: String,
    /// Unique.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Off: every request with the key is refused.
    pub is_active: bool,
    /// Providers without a config of their own are open to the key.
    pub allow_all_providers: bool,
    /// What the key may use.
    pub provider_configs: Vec<ProviderConfig>,
    /// The team it belongs to; excludes a customer.
    pub team_id: Option<String>,
    /// The customer it belongs to directly.
    pub customer_id: Option<String>,
    /// How the windows of its limits lie.
    pub calendar: OwnerCalendar,
    /// Budgets and rate limits.
    pub limits: Vec<Limit>,
    /// How many of its requests may be under way at once; `None`: any number.
    pub max_in_flight: Option<i64>,
    /// When it stops working, milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// What may be told of its value.
    pub traits: Traits,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// A virtual key as a request gives it. Making a key is a change of an empty one: `name` must be
/// given then. Otherwise a field that is left out stays as it is, at every depth, and a list replaces
/// the list there was.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = VirtualKeyChange)]
pub struct Change {
    /// Unique; 1 to 128 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "prod-api")]
    pub name: Field<String>,
    /// Free text, at most 1000 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Field<String>,
    /// Default true.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub is_active: Field<bool>,
    /// Providers without an entry in `provider_configs` are open, without limits of their own.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub allow_all_providers: Field<bool>,
    /// What the key may use; empty: nothing. An entry is the one there was if it has its `id` or its
    /// `provider`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ProviderConfigChange>>)]
    pub provider_configs: Field<Vec<ProviderConfigChange>>,
    /// The team that the key belongs to; excludes `customer_id`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub team_id: Field<String>,
    /// The customer that the key belongs to directly; excludes `team_id`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub customer_id: Field<String>,
    /// The key's one budget; the short form of `budgets`.
    #[serde(default)]
    #[schema(value_type = Option<BudgetChange>)]
    pub budget: Field<BudgetChange>,
    /// The key's budgets, one per `reset_duration`. An entry is the one there was if it has its `id`
    /// or its `reset_duration`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<BudgetChange>>)]
    pub budgets: Field<Vec<BudgetChange>>,
    /// The key's rate limit.
    #[serde(default)]
    #[schema(value_type = Option<RateLimitChange>)]
    pub rate_limit: Field<RateLimitChange>,
    /// Rate limits with several windows, one per `metric` and `reset_duration`; instead of `rate_limit`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<RateLimitWindowChange>>)]
    pub rate_limits: Field<Vec<RateLimitWindowChange>>,
    /// How many requests of the key may be under way at once, over all Envoys: 1 or more; null: any number.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, example = 20)]
    pub max_in_flight: Field<Number>,
    /// Align the windows of every limit to the calendar.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub calendar_aligned: Field<bool>,
    /// IANA name of the zone whose calendar that is; null: UTC. A new one takes that of the settings.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    pub time_zone: Field<String>,
    /// RFC 3339, in the future; null or empty: never.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2030-01-01T00:00:00Z")]
    pub expires_at: Field<String>,
}

impl VirtualKey {
    /// A key that may use nothing yet; it has no name until a [`Change`] gives it one.
    pub fn new(ids: &mut Ids, traits: Traits, zone: TimeZone) -> Self {
        Self {
            id: ids.make(),
            name: String::new(),
            description: String::new(),
            is_active: true,
            allow_all_providers: false,
            provider_configs: Vec::new(),
            team_id: None,
            customer_id: None,
            calendar: OwnerCalendar::rolling(zone),
            limits: Vec::new(),
            max_in_flight: None,
            expires_at_ms: None,
            traits,
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        }
    }
}

impl Change {
    /// The key after the change, or the first rule it would break. `providers` are the names of the
    /// configured providers.
    pub fn apply(
        self,
        key: VirtualKey,
        providers: &[String],
        ids: &mut Ids,
    ) -> Result<VirtualKey, Invalid> {
        let name = self.name.or_keep_value(key.name, String::new());
        name::check(&name)?;
        let description = self
            .description
            .or_keep_value(key.description, String::new());
        if description.chars().count() > MAX_DESCRIPTION {
            return Err(Invalid::field(
                "description",
                "must have at most 1000 characters",
            ));
        }

        // An empty id detaches, as in Bifrost.
        let owner = |given: Field<String>, old| given.or_keep(old).filter(|id| !id.is_empty());
        let team_id = owner(self.team_id, key.team_id);
        let customer_id = owner(self.customer_id, key.customer_id);
        if team_id.is_some() && customer_id.is_some() {
            return Err(Invalid::field(
                "customer_id",
                "a key belongs to a team or to a customer; set the other one to null",
            ));
        }

        let expires_at_ms = match self.expires_at {
            Field::Absent => key.expires_at_ms,
            Field::Null => None,
            Field::Value(text) if text.is_empty() => None,
            Field::Value(text) => Some(future(&text, ids.now_ms())?),
        };

        let max_in_flight = in_flight::changed(self.max_in_flight, key.max_in_flight)?;
        let realign = self.calendar_aligned != Field::Absent;
        let calendar = key
            .calendar
            .changed(&self.calendar_aligned, self.time_zone)?;
        let limits = LimitsChange {
            budget: self.budget,
            budgets: self.budgets,
            rate_limit: self.rate_limit,
            rate_limits: self.rate_limits,
            realign,
        }
        .apply(key.limits, &calendar, ids)?;
        let provider_configs = provider_config::apply(
            self.provider_configs,
            key.provider_configs,
            &provider_config::Surroundings {
                providers,
                calendar: &calendar,
                realign,
            },
            ids,
        )?;

        Ok(VirtualKey {
            name,
            description,
            is_active: self.is_active.or_keep_value(key.is_active, true),
            allow_all_providers: self
                .allow_all_providers
                .or_keep_value(key.allow_all_providers, false),
            provider_configs,
            team_id,
            customer_id,
            calendar,
            limits,
            max_in_flight,
            expires_at_ms,
            updated_at_ms: ids.now_ms(),
            ..key
        })
    }
}

fn future(text: &str, now_ms: i64) -> Result<i64, Invalid> {
    let at =
        timestamp::parse(text).ok_or_else(|| Invalid::field("expires_at", timestamp::EXPECTED))?;
    if at <= now_ms {
        return Err(Invalid::field(
            "expires_at",
            "must be in the future; null means never",
        ));
    }
    Ok(at)
}
