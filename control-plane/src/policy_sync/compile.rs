//! From what administrators configured to what the filter reads: one encoded message per thing that
//! a request looks up. Pure.

use std::rc::Rc;

use bytes::Bytes;
use prost::Message;
use reeve_policy::limit::Limit;
use reeve_policy::model_limits::{ModelLimits, ModelLimitsTable};
use reeve_policy::reservation::Reserving;
use reeve_policy::routing_rules::Rule;
use reeve_policy::shares::Shares;
use reeve_policy::view;
use reeve_policy::virtual_key::Owner;
use reeve_proto::v1;

use super::entries::{Entity, EntityEntries};
use crate::customers::Customer;
use crate::model_configs::ModelConfig;
use crate::models::Model;
use crate::policy_changes::Kind;
use crate::pricing_overrides::PricingOverride;
use crate::providers::Provider;
use crate::routing_rules::RoutingRule;
use crate::settings::Settings;
use crate::teams::Team;
use crate::virtual_keys::store::Stored;
use crate::virtual_keys::{ProviderConfig, in_flight};

/// The settings and the providers: one entry, because every request reads both.
pub fn settings(
    settings: &Settings,
    providers: &[(Provider, Vec<String>)],
    overrides: &[PricingOverride],
    model_configs: &[ModelConfig],
    rules: &[RoutingRule],
    now_ms: i64,
) -> EntityEntries {
    let settings = view::Settings {
        enable_governance: settings.enable_governance,
        providers: providers.iter().map(provider).collect(),
        required_headers: settings.required_headers.clone(),
        max_request_body_bytes: u64::try_from(settings.max_request_body_bytes).unwrap_or(0),
        reserving: Reserving {
            emergency_percent: settings.unreachable.allowed_percent(),
            ..settings.reserving
        },
        price_overrides: overrides.iter().map(PricingOverride::compiled).collect(),
        ceiling: settings.ceiling.map(|ceiling| Rc::new(ceiling.into())),
        model_limits: ModelLimitsTable::new(model_configs.iter().map(model_limits).collect()),
        routing_rules: routing_rules(rules),
        adaptive_routing: settings.adaptive_routing,
    };
    EntityEntries {
        entity: settings_entity(),
        entries: vec![(
            "settings".into(),
            encode(&v1::Settings::at(&settings, now_ms)),
        )],
    }
}

/// What [`settings`] is the entity of.
pub const fn settings_entity() -> Entity {
    (Kind::Settings, String::new())
}

/// The shares that are lowered: an entry of its own, because they change when nothing else does.
pub fn shares(shares: &Shares) -> EntityEntries {
    let entry = ("shares".into(), encode(&v1::ProviderShares::from(shares)));
    EntityEntries {
        entity: (Kind::Settings, "shares".into()),
        entries: if shares.is_empty() {
            Vec::new()
        } else {
            vec![entry]
        },
    }
}

fn provider((provider, active_keys): &(Provider, Vec<String>)) -> view::Provider {
    view::Provider {
        key_ids: active_keys.clone(),
        name: provider.name.clone(),
        wire_format: provider.base_provider_type.wire_format(),
        cluster: reeve_xds::cluster_name(&provider.name),
        retry_on: provider.retry_on,
        per_try_timeout_ms: provider.per_try_timeout_ms,
        aliases: provider.aliases.0.clone(),
    }
}

fn model_limits(config: &ModelConfig) -> ModelLimits {
    ModelLimits {
        id: config.id.clone(),
        model: config.subject.model.clone(),
        provider: config.subject.provider.clone(),
        limits: config.limits.clone(),
    }
}

/// A virtual key: one entry for the value that it has.
pub fn virtual_key(
    stored: &Stored,
    model_configs: &[ModelConfig],
    rules: &[RoutingRule],
    now_ms: i64,
) -> EntityEntries {
    let key = &stored.key;
    let configs = key.provider_configs.iter();
    let slots = key.max_in_flight.map(|max| in_flight::limit(&key.id, max));
    let own_limits = key.limits.iter().chain(&slots);
    let of_models = model_configs.iter();
    let message = v1::VirtualKey {
        id: key.id.clone(),
        name: key.name.clone(),
        is_active: key.is_active,
        expires_at_ms: key.expires_at_ms,
        allow_all_providers: key.allow_all_providers,
        provider_configs: configs
            .map(|config| provider_config(config, now_ms))
            .collect(),
        team_id: key.team_id.clone().unwrap_or_default(),
        customer_id: key.customer_id.clone().unwrap_or_default(),
        limits: own_limits
            .map(|limit| v1::Limit::at(limit, now_ms))
            .collect(),
        model_limits: of_models
            .map(|config| v1::ModelLimits::at(&model_limits(config), now_ms))
            .collect(),
        routing_rules: routing_rules(rules).iter().map(Into::into).collect(),
    };
    EntityEntries {
        entity: (Kind::VirtualKey, key.id.clone()),
        entries: vec![(
            format!("key/{}", stored.digest.to_hex()).into(),
            encode(&message),
        )],
    }
}

fn provider_config(config: &ProviderConfig, now_ms: i64) -> v1::ProviderConfig {
    v1::ProviderConfig {
        id: config.id.clone(),
        provider: config.provider.clone(),
        weight_ppm: config.weight_ppm,
        allowed_models: config.allowed_models.clone(),
        blacklisted_models: config.blacklisted_models.clone(),
        bound_to_keys: config.key_ids.is_some(),
        key_ids: config.key_ids.clone().unwrap_or_default(),
        limits: limits(&config.limits, now_ms),
    }
}

fn limits(limits: &[Limit], now_ms: i64) -> Vec<v1::Limit> {
    let limits = limits.iter();
    limits.map(|limit| v1::Limit::at(limit, now_ms)).collect()
}

/// Those that are switched on. They come in order.
fn routing_rules(rules: &[RoutingRule]) -> Vec<Rule> {
    let rules = rules.iter().filter(|rule| rule.enabled);
    rules.map(RoutingRule::compiled).collect()
}

/// A team.
pub fn team(team: &Team, rules: &[RoutingRule], now_ms: i64) -> EntityEntries {
    let owner = Owner {
        id: team.id.clone(),
        name: team.name.clone(),
        customer_id: team.customer_id.clone(),
        limits: team.limits.clone(),
        routing_rules: routing_rules(rules),
    };
    self::owner((Kind::Team, team.id.clone()), "team", &owner, now_ms)
}

/// A customer.
pub fn customer(customer: &Customer, rules: &[RoutingRule], now_ms: i64) -> EntityEntries {
    let owner = Owner {
        id: customer.id.clone(),
        name: customer.name.clone(),
        customer_id: None,
        limits: customer.limits.clone(),
        routing_rules: routing_rules(rules),
    };
    self::owner(
        (Kind::Customer, customer.id.clone()),
        "customer",
        &owner,
        now_ms,
    )
}

fn owner(entity: Entity, kind: &str, owner: &Owner, now_ms: i64) -> EntityEntries {
    let key = format!("owner/{kind}/{}", owner.id);
    EntityEntries {
        entity,
        entries: vec![(key.into(), encode(&v1::Owner::at(owner, now_ms)))],
    }
}

/// Every model of a provider, and the list of their names. They come in order.
pub fn models(provider: &str, models: &[Model]) -> EntityEntries {
    let names = v1::ModelNames {
        names: models.iter().map(|model| model.model.clone()).collect(),
    };
    let list = (format!("models/{provider}").into(), encode(&names));
    let each = models.iter().map(|entry| {
        let key = format!("model/{provider}/{}", entry.model);
        (key.into(), encode(&model(entry)))
    });
    EntityEntries {
        entity: (Kind::Provider, provider.to_owned()),
        entries: each.chain([list]).collect(),
    }
}

fn model(model: &Model) -> v1::Model {
    let mut prices = model.prices;
    if model.units.any() {
        // It charges nothing for tokens, and that is not the same as to have no price.
        prices.input = Some(0);
        prices.output = Some(0);
    }
    v1::Model {
        name: model.model.clone(),
        input_price: prices.input,
        output_price: prices.output,
        cache_read_price: prices.cache_read,
        cache_write_5m_price: prices.cache_write_5m,
        cache_write_1h_price: prices.cache_write_1h,
        reasoning_price: prices.reasoning,
        audio_input_price: prices.audio_input,
        audio_output_price: prices.audio_output,
        image_input_price: prices.image_input,
        image_output_price: prices.image_output,
        max_input_tokens: model.max_input_tokens,
        max_output_tokens: model.max_output_tokens,
        price_version: model.price_version,
        cards: model.cards.iter().map(Into::into).collect(),
        search_price: model.units.search,
        character_price: model.units.character,
        second_price: model.units.second,
        image_price: model.units.image,
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

#[cfg(test)]
mod tests {
    use reeve_policy::price::Price;
    use reeve_policy::price_list::{Card, Service};

    use super::*;
    use crate::models::Prices;

    #[test]
    fn every_kind_of_token_is_published_with_its_price() {
        let model = Model {
            prices: Prices {
                input: Some(1),
                output: Some(2),
                cache_read: Some(3),
                cache_write_5m: Some(4),
                cache_write_1h: Some(5),
                reasoning: Some(6),
                audio_input: Some(7),
                audio_output: Some(8),
                image_input: Some(9),
                image_output: None,
            },
            cards: vec![Card {
                service: Service::Flex,
                above_tokens: 13,
                price: Price::uniform(1, 2),
            }],
            max_input_tokens: Some(10),
            max_output_tokens: Some(11),
            price_version: 12,
            ..Model::blank("p".into(), "m/1".into())
        };
        let expected = v1::Model {
            name: "m/1".into(),
            input_price: Some(1),
            output_price: Some(2),
            cache_read_price: Some(3),
            cache_write_5m_price: Some(4),
            cache_write_1h_price: Some(5),
            reasoning_price: Some(6),
            audio_input_price: Some(7),
            audio_output_price: Some(8),
            image_input_price: Some(9),
            image_output_price: None,
            max_input_tokens: Some(10),
            max_output_tokens: Some(11),
            price_version: 12,
            cards: vec![v1::PriceCard {
                service_tier: v1::ServiceTier::Flex.into(),
                above_tokens: 13,
                input_price: 1,
                output_price: 2,
                cache_read_price: 1,
                cache_write_5m_price: 1,
                cache_write_1h_price: 1,
                reasoning_price: 2,
                audio_input_price: 1,
                audio_output_price: 2,
                image_input_price: 1,
                image_output_price: 2,
            }],
            ..v1::Model::default()
        };
        let names = v1::ModelNames {
            names: vec!["m/1".into()],
        };
        let published = models("p", &[model]);
        assert_eq!(published.entity, (Kind::Provider, "p".into()));
        assert_eq!(
            published.entries,
            [
                ("model/p/m/1".into(), encode(&expected)),
                ("models/p".into(), encode(&names)),
            ]
        );
    }
}
