//! From what administrators configured to what the filter reads: one encoded message per thing that
//! a request looks up. Pure.

use bytes::Bytes;
use prost::Message;
use reeve_policy::limit::Limit;
use reeve_policy::view;
use reeve_policy::virtual_key::Owner;
use reeve_proto::v1;

use super::entries::{Entity, EntityEntries};
use crate::customers::Customer;
use crate::envoy_files;
use crate::models::Model;
use crate::policy_changes::Kind;
use crate::providers::Provider;
use crate::settings::Settings;
use crate::teams::Team;
use crate::virtual_keys::ProviderConfig;
use crate::virtual_keys::store::Stored;

/// The settings and the providers: one entry, because every request reads both.
pub fn settings(settings: &Settings, providers: &[Provider]) -> EntityEntries {
    let settings = view::Settings {
        enable_governance: settings.enable_governance,
        providers: providers.iter().map(provider).collect(),
        required_headers: settings.required_headers.clone(),
        max_request_body_bytes: u64::try_from(settings.max_request_body_bytes).unwrap_or(0),
    };
    EntityEntries {
        entity: settings_entity(),
        entries: vec![("settings".into(), encode(&v1::Settings::from(&settings)))],
    }
}

/// What [`settings`] is the entity of.
pub const fn settings_entity() -> Entity {
    (Kind::Settings, String::new())
}

fn provider(provider: &Provider) -> view::Provider {
    view::Provider {
        name: provider.name.clone(),
        wire_format: provider.wire_format,
        cluster: envoy_files::cluster_name(&provider.name),
    }
}

/// A virtual key: one entry for the value that it has.
pub fn virtual_key(stored: &Stored) -> EntityEntries {
    let key = &stored.key;
    let message = v1::VirtualKey {
        id: key.id.clone(),
        name: key.name.clone(),
        is_active: key.is_active,
        expires_at_ms: key.expires_at_ms,
        allow_all_providers: key.allow_all_providers,
        provider_configs: key.provider_configs.iter().map(provider_config).collect(),
        team_id: key.team_id.clone().unwrap_or_default(),
        customer_id: key.customer_id.clone().unwrap_or_default(),
        limits: limits(&key.limits),
    };
    EntityEntries {
        entity: (Kind::VirtualKey, key.id.clone()),
        entries: vec![(
            format!("key/{}", stored.digest.to_hex()).into(),
            encode(&message),
        )],
    }
}

fn provider_config(config: &ProviderConfig) -> v1::ProviderConfig {
    v1::ProviderConfig {
        id: config.id.clone(),
        provider: config.provider.clone(),
        weight_ppm: config.weight_ppm,
        allowed_models: config.allowed_models.clone(),
        blacklisted_models: config.blacklisted_models.clone(),
        limits: limits(&config.limits),
    }
}

fn limits(limits: &[Limit]) -> Vec<v1::Limit> {
    limits.iter().map(Into::into).collect()
}

/// A team.
pub fn team(team: &Team) -> EntityEntries {
    let owner = Owner {
        id: team.id.clone(),
        name: team.name.clone(),
        customer_id: team.customer_id.clone(),
        limits: team.limits.clone(),
    };
    self::owner((Kind::Team, team.id.clone()), "team", &owner)
}

/// A customer.
pub fn customer(customer: &Customer) -> EntityEntries {
    let owner = Owner {
        id: customer.id.clone(),
        name: customer.name.clone(),
        customer_id: None,
        limits: customer.limits.clone(),
    };
    self::owner((Kind::Customer, customer.id.clone()), "customer", &owner)
}

fn owner(entity: Entity, kind: &str, owner: &Owner) -> EntityEntries {
    let key = format!("owner/{kind}/{}", owner.id);
    EntityEntries {
        entity,
        entries: vec![(key.into(), encode(&v1::Owner::from(owner)))],
    }
}

/// Every model that the catalogue lists for a provider.
pub fn models(provider: &str, models: &[Model]) -> EntityEntries {
    EntityEntries {
        entity: (Kind::Provider, provider.to_owned()),
        entries: models
            .iter()
            .map(|entry| {
                (
                    format!("model/{provider}/{}", entry.model).into(),
                    encode(&model(entry)),
                )
            })
            .collect(),
    }
}

fn model(model: &Model) -> v1::Model {
    v1::Model {
        name: model.model.clone(),
        input_price: model.prices.input,
        output_price: model.prices.output,
        cache_read_price: model.prices.cache_read,
        cache_write_price: model.prices.cache_write,
        max_output_tokens: model.max_output_tokens,
        price_version: model.price_version,
    }
}

/// A thing that is gone.
pub const fn nothing(entity: Entity) -> EntityEntries {
    EntityEntries {
        entity,
        entries: Vec::new(),
    }
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
