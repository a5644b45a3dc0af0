//! What counts: the catalogue with the operators' own entries above it.

use std::collections::BTreeMap;

use super::builtin::Catalogue;
use super::{Model, store};
use crate::db::Tx;
use crate::error::Error;
use crate::providers::Provider;
use crate::providers::presets::preset;

/// Every model of a configured provider, by name; an operator's entry stands above the built-in one.
pub async fn effective_for(tx: &mut Tx, provider: &Provider) -> Result<Vec<Model>, Error> {
    let catalogue = Catalogue::builtin().map_err(Error::internal)?;
    let mut models: BTreeMap<String, Model> = builtin_of(catalogue, provider)
        .map(|model| (model.model.clone(), model))
        .collect();
    for custom in store::of_provider(tx, &provider.name).await? {
        models.insert(custom.model.clone(), custom);
    }
    Ok(models.into_values().collect())
}

/// One model of a configured provider.
pub async fn effective(
    tx: &mut Tx,
    provider: &Provider,
    model: &str,
) -> Result<Option<Model>, Error> {
    if let Some(custom) = store::find(tx, &provider.name, model).await? {
        return Ok(Some(custom));
    }
    let catalogue = Catalogue::builtin().map_err(Error::internal)?;
    let entry = catalogue.get(catalogue_name(catalogue, provider), model);
    Ok(entry.map(|entry| Model::builtin(&provider.name, entry, catalogue.price_version())))
}

/// The catalogue's models of a configured provider, by name.
pub(super) fn builtin_of<'a>(
    catalogue: &'a Catalogue,
    provider: &'a Provider,
) -> impl Iterator<Item = Model> + 'a {
    catalogue
        .provider_models(catalogue_name(catalogue, provider))
        .map(|entry| Model::builtin(&provider.name, entry, catalogue.price_version()))
}

/// The catalogue's name for a configured provider. A name that means a vendor of its own never
/// stands for the one whose API it speaks: that one has other models, at other prices.
pub(super) fn catalogue_name<'a>(catalogue: &Catalogue, provider: &'a Provider) -> &'a str {
    if knows(catalogue, &provider.name) || preset(&provider.name).is_some() {
        &provider.name
    } else {
        provider.base_provider_type.as_str()
    }
}

pub(super) fn knows(catalogue: &Catalogue, provider: &str) -> bool {
    catalogue.provider_models(provider).next().is_some()
}
