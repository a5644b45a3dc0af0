//! Routing rules: where a condition on a request, written in CEL, sends it.
//!
//! What a rule does to a request is decided by [`reeve_policy::routing_rules`]; what it can ask of one is
//! in `docs/routing-rules.md`.
//!
//! Invariants: no two rules have one name; an expression that is stored can be evaluated by the filter;
//! weights of targets sum to 1.

mod expression;
pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;

use reeve_policy::expression::Condition;
use reeve_policy::routing_rules as policy;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;
use crate::name;
use crate::random::Ids;
use crate::weight::{self, WHOLE_PPM};

/// Most rules of one scope: every request of it may look through them.
pub const MOST: i64 = 64;
const MOST_TARGETS: usize = 16;
const MOST_FALLBACKS: usize = 8;
const LONGEST_DESCRIPTION: usize = 1_024;
const LONGEST_QUERY: usize = 16_384;
/// By how much weights may miss 1, parts per million: three thirds are written as 0.333.
const SLACK_PPM: u32 = 1_000;

/// A rule as configured.
#[derive(Debug, Clone)]
pub struct RoutingRule {
    /// UUIDv7.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Switched on.
    pub enabled: bool,
    /// When it matches, as it was written.
    pub cel_expression: String,
    /// The same, as it is evaluated.
    pub condition: Condition,
    /// Where it sends requests.
    pub targets: Vec<Target>,
    /// Who is tried when that fails.
    pub fallbacks: Vec<Destination>,
    /// Whose requests it looks at.
    pub scope: Scope,
    /// Of one scope, rules with lower numbers look first.
    pub priority: i32,
    /// All rules look again at what it made of a request.
    pub chain_rule: bool,
    /// What a user interface keeps with it: a JSON object, as it was given.
    pub query: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// Whose requests a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everyone's.
    Global,
    /// Those of the customer with this id.
    Customer(String),
    /// Those of the team with this id.
    Team(String),
    /// Those of the virtual key with this id.
    VirtualKey(String),
}

/// The word for a [`Scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RoutingRuleScope)]
pub enum ScopeKind {
    /// Everyone's requests.
    Global,
    /// Those of one customer.
    Customer,
    /// Those of one team.
    Team,
    /// Those of one virtual key.
    VirtualKey,
}

/// A provider and a model; what is left out stays as the request has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The provider's name.
    pub provider: Option<String>,
    /// The model, without a provider's name.
    pub model: Option<String>,
}

/// One of the places where a rule sends requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where.
    #[serde(flatten)]
    pub to: Destination,
    /// Its share.
    pub weight_ppm: u32,
}

/// A rule as a request gives it. Making one is a change of an empty one: `name` and `targets` must be given
/// then. Otherwise a field that is left out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RoutingRuleChange)]
pub struct Change {
    /// 1 to 128 characters; no two rules have the same.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "premium")]
    pub name: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Field<String>,
    /// Default true.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Field<bool>,
    /// When it matches; empty: always.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "headers['x-tier'] == 'premium' && budget_used < 80.0")]
    pub cel_expression: Field<String>,
    /// One to sixteen. Their weights sum to 1.
    #[serde(default)]
    #[schema(value_type = Option<Vec<TargetChange>>)]
    pub targets: Field<Vec<TargetChange>>,
    /// Eight at most.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Fallback>>)]
    pub fallbacks: Field<Vec<Fallback>>,
    /// Default `global`.
    #[serde(default)]
    #[schema(value_type = Option<ScopeKind>)]
    pub scope: Field<ScopeKind>,
    /// The id of the customer, team or virtual key.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub scope_id: Field<String>,
    /// Of one scope, rules with lower numbers look first, and of those with one number the older ones.
    /// Default 0.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    pub priority: Field<i32>,
    /// All rules look again at what this one made of the request. Default false.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub chain_rule: Field<bool>,
    /// An object that is kept with the rule and has no meaning here.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub query: Field<Box<RawValue>>,
}

/// Where a rule sends requests.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RoutingTargetChange)]
pub struct TargetChange {
    /// Left out: as the request has it.
    #[serde(default)]
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// Without a provider's name. Left out: as the request has it.
    #[serde(default)]
    #[schema(example = "gpt-4o-mini")]
    pub model: Option<String>,
    /// Refused: a rule cannot choose among a provider's keys yet.
    #[serde(default)]
    pub key_id: Option<String>,
    /// Its share, above 0. May be left out of the only target.
    #[serde(default)]
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1)]
    pub weight: Option<Number>,
}

/// Who is tried when the target fails: `provider/model`, `provider/` for the model that the request has,
/// or an object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "must be `provider/model`, or an object with `provider` and `model`"
)]
#[schema(as = RoutingFallback)]
pub enum Fallback {
    /// `provider/model` or `provider/`.
    Text(String),
    /// The same in parts.
    Parts(FallbackParts),
}

/// A fallback in parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RoutingFallbackParts)]
pub struct FallbackParts {
    /// The provider's name.
    pub provider: String,
    /// Left out: as the request has it.
    #[serde(default)]
    pub model: Option<String>,
}

impl Scope {
    /// The word for it.
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Self::Global => ScopeKind::Global,
            Self::Customer(_) => ScopeKind::Customer,
            Self::Team(_) => ScopeKind::Team,
            Self::VirtualKey(_) => ScopeKind::VirtualKey,
        }
    }

    /// Whose it is.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Global => None,
            Self::Customer(id) | Self::Team(id) | Self::VirtualKey(id) => Some(id),
        }
    }

    fn of(kind: ScopeKind, id: Option<String>) -> Result<Self, Invalid> {
        let id = id.filter(|id| !id.is_empty());
        match (kind, id) {
            (ScopeKind::Global, None) => Ok(Self::Global),
            (ScopeKind::Global, Some(_)) => Err(Invalid::field(
                "scope_id",
                "is for the scopes `customer`, `team` and `virtual_key`; leave it out",
            )),
            (ScopeKind::Customer, Some(id)) => Ok(Self::Customer(id)),
            (ScopeKind::Team, Some(id)) => Ok(Self::Team(id)),
            (ScopeKind::VirtualKey, Some(id)) => Ok(Self::VirtualKey(id)),
            (kind, None) => Err(Invalid::field(
                "scope_id",
                format_args!("is required: the id of the {}", kind.what()),
            )),
        }
    }
}

impl ScopeKind {
    const ALL: [Self; 4] = [Self::Global, Self::Customer, Self::Team, Self::VirtualKey];

    /// The word in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Customer => "customer",
            Self::Team => "team",
            Self::VirtualKey => "virtual_key",
        }
    }

    /// What its id is the id of.
    const fn what(self) -> &'static str {
        match self {
            Self::VirtualKey => "virtual key",
            other => other.as_str(),
        }
    }
}

impl Change {
    /// The rule after the change, or the first rule that it would break.
    pub fn apply(self, before: Option<RoutingRule>, ids: &mut Ids) -> Result<RoutingRule, Invalid> {
        let is_new = before.is_none();
        let old = before.unwrap_or_else(|| RoutingRule::blank(ids));
        let name = self.name.or_keep_value(old.name, String::new());
        name::check(&name)?;
        let description = self
            .description
            .or_keep_value(old.description, String::new());
        if description.chars().count() > LONGEST_DESCRIPTION {
            let message = format_args!("must have at most {LONGEST_DESCRIPTION} characters");
            return Err(Invalid::field("description", message));
        }
        let (cel_expression, condition) = match self.cel_expression {
            Field::Absent => (old.cel_expression, old.condition),
            Field::Null => (String::new(), Condition::Constant(true)),
            Field::Value(text) => {
                let condition = expression::read(&text)?;
                (text, condition)
            }
        };
        let targets = match self.targets {
            Field::Absent if !is_new => old.targets,
            Field::Value(targets) => targets_of(targets)?,
            Field::Absent | Field::Null => targets_of(Vec::new())?,
        };
        let fallbacks = match self.fallbacks {
            Field::Absent => old.fallbacks,
            Field::Null => Vec::new(),
            Field::Value(fallbacks) => fallbacks_of(fallbacks)?,
        };
        let kind = self
            .scope
            .or_keep_value(old.scope.kind(), ScopeKind::Global);
        // Another scope has another id.
        let old_id = old.scope.id().filter(|_| kind == old.scope.kind());
        let scope = Scope::of(kind, self.scope_id.or_keep(old_id.map(Into::into)))?;
        Ok(RoutingRule {
            id: old.id,
            name,
            description,
            enabled: self.enabled.or_keep_value(old.enabled, true),
            cel_expression,
            condition,
            targets,
            fallbacks,
            scope,
            priority: self.priority.or_keep_value(old.priority, 0),
            chain_rule: self.chain_rule.or_keep_value(old.chain_rule, false),
            query: match self.query {
                Field::Absent => old.query,
                Field::Null => None,
                Field::Value(query) => Some(query_of(&query)?),
            },
            created_at_ms: old.created_at_ms,
            updated_at_ms: ids.now_ms(),
        })
    }
}

fn targets_of(targets: Vec<TargetChange>) -> Result<Vec<Target>, Invalid> {
    if targets.is_empty() || targets.len() > MOST_TARGETS {
        let message = format_args!(
            "one to {MOST_TARGETS} are required, such as [{{\"provider\": \"openai\"}}]"
        );
        return Err(Invalid::field("targets", message));
    }
    let is_only = targets.len() == 1;
    let read = targets.into_iter().enumerate().map(|(index, target)| {
        target_of(target, is_only).map_err(|fault| fault.within(&format!("targets[{index}]")))
    });
    let targets: Vec<Target> = read.collect::<Result<_, _>>()?;
    let sum = targets
        .iter()
        .fold(0_u32, |sum, target| sum.saturating_add(target.weight_ppm));
    if sum.abs_diff(WHOLE_PPM) > SLACK_PPM {
        let message = format!(
            "the weights sum to {}; they must sum to 1",
            weight::number(sum).as_str()
        );
        return Err(Invalid::field("targets", message));
    }
    Ok(targets)
}

fn target_of(target: TargetChange, is_only: bool) -> Result<Target, Invalid> {
    if target.key_id.is_some() {
        let message = "a rule cannot choose among a provider's keys yet; leave it out";
        return Err(Invalid::field("key_id", message));
    }
    let weight_ppm = match &target.weight {
        Some(weight) => weight::parse(weight)?,
        None if is_only => WHOLE_PPM,
        None => {
            return Err(Invalid::field(
                "weight",
                "is required; weights must sum to 1",
            ));
        }
    };
    if weight_ppm == 0 {
        let message = "must be above 0; leave a target out that is to get nothing";
        return Err(Invalid::field("weight", message));
    }
    let to = Destination {
        provider: target.provider.filter(|name| !name.is_empty()),
        model: target.model.filter(|name| !name.is_empty()),
    };
    check_model(&to)?;
    Ok(Target { to, weight_ppm })
}

fn fallbacks_of(fallbacks: Vec<Fallback>) -> Result<Vec<Destination>, Invalid> {
    if fallbacks.len() > MOST_FALLBACKS {
        let message = format_args!("must be at most {MOST_FALLBACKS}");
        return Err(Invalid::field("fallbacks", message));
    }
    let read = fallbacks.into_iter().enumerate().map(|(index, fallback)| {
        let (provider, model) = match fallback {
            Fallback::Text(text) => match text.split_once('/') {
                Some((provider, model)) => (provider.to_owned(), Some(model.to_owned())),
                None => (String::new(), None),
            },
            Fallback::Parts(parts) => (parts.provider, parts.model),
        };
        let at = format!("fallbacks[{index}]");
        if provider.is_empty() {
            let message = "names no provider; write `provider/model`, or `provider/` for the \
                           model that the request has";
            return Err(Invalid::field(at, message));
        }
        let to = Destination {
            provider: Some(provider),
            model: model.filter(|name| !name.is_empty()),
        };
        check_model(&to).map_err(|fault| fault.within(&at))?;
        Ok(to)
    });
    read.collect()
}

fn check_model(to: &Destination) -> Result<(), Invalid> {
    let is_good = |name: &String| reeve_llm::is_model_name(name);
    if to.model.as_ref().is_none_or(is_good) {
        return Ok(());
    }
    let message = "must be 1 to 160 letters, digits and `. _ : @ / + -`";
    Err(Invalid::field("model", message))
}

fn query_of(query: &RawValue) -> Result<String, Invalid> {
    let text = query.get();
    if !text.starts_with('{') || text.len() > LONGEST_QUERY {
        let message = format_args!("must be an object of at most {LONGEST_QUERY} bytes");
        return Err(Invalid::field("query", message));
    }
    Ok(text.to_owned())
}

impl RoutingRule {
    fn blank(ids: &mut Ids) -> Self {
        Self {
            id: ids.make(),
            name: String::new(),
            description: String::new(),
            enabled: true,
            cel_expression: String::new(),
            condition: Condition::Constant(true),
            targets: Vec::new(),
            fallbacks: Vec::new(),
            scope: Scope::Global,
            priority: 0,
            chain_rule: false,
            query: None,
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        }
    }

    /// Every place that it names, and where in the rule it does.
    pub fn destinations(&self) -> impl Iterator<Item = (String, &Destination)> {
        let targets = self.targets.iter().map(|target| &target.to).enumerate();
        let targets = targets.map(|(index, to)| (format!("targets[{index}]"), to));
        let fallbacks = self.fallbacks.iter().enumerate();
        targets.chain(fallbacks.map(|(index, to)| (format!("fallbacks[{index}]"), to)))
    }

    /// As the filter has it.
    pub fn compiled(&self) -> policy::Rule {
        let destination = |to: &Destination| policy::Destination {
            provider: to.provider.clone(),
            model: to.model.clone(),
        };
        let targets = self.targets.iter().map(|target| policy::Target {
            to: destination(&target.to),
            weight_ppm: target.weight_ppm,
        });
        policy::Rule {
            id: self.id.clone(),
            name: self.name.clone(),
            condition: self.condition.clone(),
            targets: targets.collect(),
            fallbacks: self.fallbacks.iter().map(destination).collect(),
            chains: self.chain_rule,
        }
    }
}
