//! Provider configs: what one key may do with one provider.

use reeve_policy::access::ModelList;
use reeve_policy::limit::Limit;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;
use crate::limits::{
    BudgetChange, LimitsChange, OwnerCalendar, RateLimitChange, RateLimitWindowChange,
};
use crate::random::Ids;
use crate::weight;

/// What one key may do with one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// UUIDv7.
    pub id: String,
    /// Name of a configured provider.
    pub provider: String,
    /// Share of the requests that name no provider, parts per million before normalisation; `None`:
    /// can be addressed, is never drawn.
    pub weight_ppm: Option<u32>,
    /// Empty: what the catalogue lists for the provider. See [`reeve_policy::access`].
    pub allowed_models: Vec<String>,
    /// Wins over `allowed_models`.
    pub blacklisted_models: Vec<String>,
    /// The provider's keys that its requests may carry; `None`: any.
    pub key_ids: Option<Vec<String>>,
    /// Budgets and rate limits of this key with this provider.
    pub limits: Vec<Limit>,
}

/// A provider config as a request gives it. A field that is left out stays as it is, or is the default
/// in a new entry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct ProviderConfigChange {
    /// Which entry this is. Left out: the one with the same `provider`, or a new one.
    #[serde(default)]
    id: Option<String>,
    /// Name of a configured provider.
    #[schema(example = "openai")]
    provider: String,
    /// Share of the requests that name no provider, relative to the other entries; 0 to 1000, at most
    /// 6 decimal places, default 1. Null: can be addressed as `provider/model`, is never drawn.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1000)]
    weight: Field<Number>,
    /// Exact names, `regex:…` or `["*"]`; empty: what the catalogue lists for the provider.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["gpt-4o"]))]
    allowed_models: Field<Vec<String>>,
    /// Wins over `allowed_models`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    blacklisted_models: Field<Vec<String>>,
    /// Ids of the provider's keys that requests may carry: of those that are active the heaviest. None
    /// active, or an empty list: requests are refused. `["*"]` and null: any key. Default: any.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["*"]))]
    key_ids: Field<Vec<String>>,
    /// The one budget; the short form of `budgets`.
    #[serde(default)]
    #[schema(value_type = Option<BudgetChange>)]
    budget: Field<BudgetChange>,
    /// Budgets of this key with this provider.
    #[serde(default)]
    #[schema(value_type = Option<Vec<BudgetChange>>)]
    budgets: Field<Vec<BudgetChange>>,
    /// Rate limit of this key with this provider.
    #[serde(default)]
    #[schema(value_type = Option<RateLimitChange>)]
    rate_limit: Field<RateLimitChange>,
    /// Rate limits with several windows, one per `metric` and `reset_duration`; instead of `rate_limit`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<RateLimitWindowChange>>)]
    rate_limits: Field<Vec<RateLimitWindowChange>>,
}

/// What a provider config needs to know of the key around it.
pub(super) struct Surroundings<'a> {
    /// Names of the configured providers.
    pub(super) providers: &'a [String],
    /// The key's calendar after the change.
    pub(super) calendar: &'a OwnerCalendar,
    /// Whether every window is to be as that says.
    pub(super) realign: bool,
}

/// The key's provider configs after a change.
pub(super) fn apply(
    change: Field<Vec<ProviderConfigChange>>,
    old: Vec<ProviderConfig>,
    around: &Surroundings<'_>,
    ids: &mut Ids,
) -> Result<Vec<ProviderConfig>, Invalid> {
    let changes = match change {
        Field::Null => return Ok(Vec::new()),
        Field::Value(changes) => changes,
        Field::Absent => {
            return old
                .into_iter()
                .map(|config| realigned(config, around, ids))
                .collect();
        }
    };
    let named: Vec<String> = changes
        .iter()
        .filter_map(|change| change.id.clone())
        .collect();
    let mut configs: Vec<ProviderConfig> = Vec::with_capacity(changes.len());
    for (index, change) in changes.into_iter().enumerate() {
        let within = |fault: Invalid| fault.within(&format!("provider_configs[{index}]"));
        let config = change.apply(&old, &named, around, ids).map_err(within)?;
        if configs.iter().any(|other| other.id == config.id) {
            return Err(within(Invalid::field("id", "names the same entry twice")));
        }
        if configs
            .iter()
            .any(|other| other.provider == config.provider)
        {
            let message = "stands in another entry already; give each provider one entry";
            return Err(within(Invalid::field("provider", message)));
        }
        configs.push(config);
    }
    Ok(configs)
}

/// A config that the request does not mention, under the key's new alignment.
fn realigned(
    config: ProviderConfig,
    around: &Surroundings<'_>,
    ids: &mut Ids,
) -> Result<ProviderConfig, Invalid> {
    let change = LimitsChange {
        realign: around.realign,
        ..LimitsChange::default()
    };
    let limits = change.apply(config.limits, around.calendar, ids)?;
    Ok(ProviderConfig { limits, ..config })
}

impl ProviderConfigChange {
    fn apply(
        self,
        old: &[ProviderConfig],
        named: &[String],
        around: &Surroundings<'_>,
        ids: &mut Ids,
    ) -> Result<ProviderConfig, Invalid> {
        if !around.providers.contains(&self.provider) {
            let message = if around.providers.is_empty() {
                "no provider is configured; add one with POST /api/providers".to_owned()
            } else {
                format!(
                    "no such provider; configured are: {}",
                    around.providers.join(", ")
                )
            };
            return Err(Invalid::field("provider", message));
        }
        let before = match &self.id {
            Some(id) => Some(old.iter().find(|config| config.id == *id).ok_or_else(|| {
                Invalid::field(
                    "id",
                    "no such entry in this key; leave `id` out to make a new one",
                )
            })?),
            None => old
                .iter()
                .find(|config| config.provider == self.provider && !named.contains(&config.id)),
        };
        let before = before.cloned().unwrap_or_else(|| ProviderConfig {
            id: ids.make(),
            provider: self.provider.clone(),
            weight_ppm: Some(weight::WHOLE_PPM),
            allowed_models: Vec::new(),
            blacklisted_models: Vec::new(),
            key_ids: None,
            limits: Vec::new(),
        });

        let weight_ppm = match self.weight {
            Field::Absent => before.weight_ppm,
            Field::Null => None,
            Field::Value(weight) => Some(weight::parse(&weight)?),
        };
        let models = |field, given: Field<Vec<String>>, old| {
            let list = given.or_keep_value(old, Vec::new());
            ModelList::compile(&list, &self.provider)
                .map(|_| list)
                .map_err(|error| Invalid::field(field, error))
        };
        let allowed_models = models("allowed_models", self.allowed_models, before.allowed_models)?;
        let blacklisted_models = models(
            "blacklisted_models",
            self.blacklisted_models,
            before.blacklisted_models,
        )?;
        let key_ids = match self.key_ids {
            Field::Absent => before.key_ids,
            Field::Null => None,
            Field::Value(ids) => bound(ids)?,
        };
        let limits = LimitsChange {
            budget: self.budget,
            budgets: self.budgets,
            rate_limit: self.rate_limit,
            rate_limits: self.rate_limits,
            realign: around.realign,
        }
        .apply(before.limits, around.calendar, ids)?;
        let (id, provider) = (before.id, self.provider);
        Ok(ProviderConfig {
            id,
            provider,
            weight_ppm,
            allowed_models,
            blacklisted_models,
            key_ids,
            limits,
        })
    }
}

/// `["*"]` is no binding. That the keys are there is checked where they are stored.
fn bound(ids: Vec<String>) -> Result<Option<Vec<String>>, Invalid> {
    if ids == ["*"] {
        return Ok(None);
    }
    for (index, id) in ids.iter().enumerate() {
        let problem = if id == "*" {
            "must stand alone: it means any key"
        } else if ids.iter().take(index).any(|earlier| earlier == id) {
            "stands in the list twice"
        } else {
            continue;
        };
        return Err(Invalid::field(format!("key_ids[{index}]"), problem));
    }
    Ok(Some(ids))
}
