//! Reads from the database what policy is compiled from.

use std::collections::{HashMap, HashSet};

use super::compile;
use super::entries::{Entity, EntityEntries};
use crate::db::Tx;
use crate::error::Error;
use crate::policy_changes::{Change, Kind};
use crate::routing_rules::{RoutingRule, ScopeKind, store::ByOwner};
use crate::{
    customers, model_configs, models, pricing_overrides, providers, routing_rules, settings, teams,
    virtual_keys,
};

/// Everything there is.
pub(super) async fn everything(tx: &mut Tx, now_ms: i64) -> Result<Vec<EntityEntries>, Error> {
    let mut entities = vec![settings_and_providers(tx, now_ms).await?];
    for provider in providers::store::all(tx).await? {
        entities.push(models_of(tx, &provider.name).await?);
    }
    let customers = customers::store::all(tx).await?;
    let rules = routing_rules::store::of_scope(tx, ScopeKind::Customer, None).await?;
    let of_customers = customers
        .iter()
        .map(|it| compile::customer(it, rules_of(&rules, &it.id), now_ms));
    entities.extend(of_customers);
    let teams = teams::store::all(tx).await?;
    let rules = routing_rules::store::of_scope(tx, ScopeKind::Team, None).await?;
    let of_teams = teams
        .iter()
        .map(|it| compile::team(it, rules_of(&rules, &it.id), now_ms));
    entities.extend(of_teams);
    let keys = virtual_keys::store::all(tx).await?;
    let of_models = model_configs::store::of_keys(tx, None).await?;
    let rules = routing_rules::store::of_scope(tx, ScopeKind::VirtualKey, None).await?;
    entities.extend(keys.iter().map(|it| {
        let of_models = of_models.get(&it.key.id).map(Vec::as_slice);
        let rules = rules_of(&rules, &it.key.id);
        compile::virtual_key(it, of_models.unwrap_or_default(), rules, now_ms)
    }));
    Ok(entities)
}

/// What the changes touch, as it is now. A thing that changed twice is read once.
pub(super) async fn touched(
    tx: &mut Tx,
    changes: &[Change],
    now_ms: i64,
) -> Result<Vec<EntityEntries>, Error> {
    let things: HashSet<Entity> = changes.iter().flat_map(things).collect();
    let mut entities = Vec::with_capacity(things.len());
    for (kind, id) in things {
        let found = match kind {
            Kind::Settings => Some(settings_and_providers(tx, now_ms).await?),
            Kind::Provider | Kind::Model => Some(models_of(tx, &id).await?),
            Kind::Customer => {
                let rules =
                    routing_rules::store::of_scope(tx, ScopeKind::Customer, Some(&id)).await?;
                customers::store::find(tx, &id)
                    .await?
                    .as_ref()
                    .map(|it| compile::customer(it, rules_of(&rules, &id), now_ms))
            }
            Kind::Team => {
                let rules = routing_rules::store::of_scope(tx, ScopeKind::Team, Some(&id)).await?;
                teams::store::find(tx, &id)
                    .await?
                    .as_ref()
                    .map(|it| compile::team(it, rules_of(&rules, &id), now_ms))
            }
            Kind::VirtualKey => {
                let rules =
                    routing_rules::store::of_scope(tx, ScopeKind::VirtualKey, Some(&id)).await?;
                let of_models = model_configs::store::of_keys(tx, Some(&id)).await?;
                let of_models = of_models.get(&id).map(Vec::as_slice).unwrap_or_default();
                virtual_keys::store::find(tx, &id)
                    .await?
                    .as_ref()
                    .map(|it| compile::virtual_key(it, of_models, rules_of(&rules, &id), now_ms))
            }
        };
        entities.push(found.unwrap_or_else(|| compile::nothing((kind, id))));
    }
    Ok(entities)
}

fn rules_of<'a>(rules: &'a ByOwner, id: &str) -> &'a [RoutingRule] {
    rules.get(id).map(Vec::as_slice).unwrap_or_default()
}

/// What has to be compiled again after a change. A provider stands in the settings and brings its
/// models; a model (`provider/name`) is compiled with all models of its provider.
fn things(change: &Change) -> Vec<Entity> {
    let id = change.entity_id.as_str();
    match change.kind {
        Kind::Provider => vec![compile::settings_entity(), (Kind::Provider, id.to_owned())],
        Kind::Model => {
            let provider = id.split_once('/').map_or(id, |(provider, _)| provider);
            vec![(Kind::Provider, provider.to_owned())]
        }
        Kind::Settings => vec![compile::settings_entity()],
        kind => vec![(kind, id.to_owned())],
    }
}

async fn settings_and_providers(tx: &mut Tx, now_ms: i64) -> Result<EntityEntries, Error> {
    let settings = settings::store::get(tx).await?;
    let mut keys_of: HashMap<String, Vec<String>> = HashMap::new();
    for (provider, id) in providers::store::active_key_ids(tx).await? {
        keys_of.entry(provider).or_default().push(id);
    }
    let providers = providers::store::all(tx).await?.into_iter();
    let providers: Vec<_> = providers
        .map(|provider| {
            let keys = keys_of.remove(&provider.name).unwrap_or_default();
            (provider, keys)
        })
        .collect();
    Ok(compile::settings(
        &settings,
        &providers,
        &pricing_overrides::store::all(tx).await?,
        &model_configs::store::global(tx).await?,
        &routing_rules::store::global(tx).await?,
        now_ms,
    ))
}

/// The models of a provider; of one that is no longer configured, none.
async fn models_of(tx: &mut Tx, provider: &str) -> Result<EntityEntries, Error> {
    match providers::store::find(tx, provider).await? {
        Some(found) => {
            let models = models::effective_for(tx, &found).await?;
            Ok(compile::models(provider, &models))
        }
        None => Ok(compile::nothing((Kind::Provider, provider.to_owned()))),
    }
}
