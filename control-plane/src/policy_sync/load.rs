//! Reads from the database what policy is compiled from.

use std::collections::HashSet;

use super::compile;
use super::entries::{Entity, EntityEntries};
use crate::db::Tx;
use crate::error::Error;
use crate::policy_changes::{Change, Kind};
use crate::{customers, models, providers, settings, teams, virtual_keys};

/// Everything there is.
pub(super) async fn everything(tx: &mut Tx) -> Result<Vec<EntityEntries>, Error> {
    let mut entities = vec![settings_and_providers(tx).await?];
    for provider in providers::store::all(tx).await? {
        entities.push(models_of(tx, &provider.name).await?);
    }
    let customers = customers::store::all(tx).await?;
    entities.extend(customers.iter().map(compile::customer));
    let teams = teams::store::all(tx).await?;
    entities.extend(teams.iter().map(compile::team));
    let keys = virtual_keys::store::all(tx).await?;
    entities.extend(keys.iter().map(compile::virtual_key));
    Ok(entities)
}

/// What the changes touch, as it is now. A thing that changed twice is read once.
pub(super) async fn touched(tx: &mut Tx, changes: &[Change]) -> Result<Vec<EntityEntries>, Error> {
    let things: HashSet<Entity> = changes.iter().flat_map(things).collect();
    let mut entities = Vec::with_capacity(things.len());
    for (kind, id) in things {
        let found = match kind {
            Kind::Settings => Some(settings_and_providers(tx).await?),
            Kind::Provider | Kind::Model => Some(models_of(tx, &id).await?),
            Kind::Customer => customers::store::find(tx, &id)
                .await?
                .as_ref()
                .map(compile::customer),
            Kind::Team => teams::store::find(tx, &id)
                .await?
                .as_ref()
                .map(compile::team),
            Kind::VirtualKey => virtual_keys::store::find(tx, &id)
                .await?
                .as_ref()
                .map(compile::virtual_key),
        };
        entities.push(found.unwrap_or_else(|| compile::nothing((kind, id))));
    }
    Ok(entities)
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

async fn settings_and_providers(tx: &mut Tx) -> Result<EntityEntries, Error> {
    let settings = settings::store::get(tx).await?;
    Ok(compile::settings(
        &settings,
        &providers::store::all(tx).await?,
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
