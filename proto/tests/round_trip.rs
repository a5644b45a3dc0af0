//! What one side writes, the other reads as the same policy; what makes no sense is refused by name;
//! and no bytes whatever stop the reader.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::rc::Rc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use reeve_policy::calendar::{Alignment, Boundaries, Calendar};
use reeve_policy::limit::{Limit, Metric, Override};
use reeve_policy::model_limits::{ModelLimits, ModelLimitsTable};
use reeve_policy::period::{Period, Unit, Window};
use reeve_policy::price::Price;
use reeve_policy::price_list::{Card, PriceList, Service};
use reeve_policy::price_override::{Models, PriceOverride};
use reeve_policy::required_headers::RequiredHeader;
use reeve_policy::reservation::{Reserving, Sizing, WhenShort};
use reeve_policy::retry::RetryClass;
use reeve_policy::view::{Model, Provider, Settings, WireFormat};
use reeve_policy::virtual_key::{Owner, ProviderConfig, VirtualKey};
use reeve_proto::v1;

/// Through bytes, as between two processes.
fn over_the_wire<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn any_period() -> impl Strategy<Value = Period> {
    let unit = prop_oneof![
        Just(Unit::Second),
        Just(Unit::Minute),
        Just(Unit::Hour),
        Just(Unit::Day),
        Just(Unit::Week),
        Just(Unit::Month),
        Just(Unit::Quarter),
        Just(Unit::Year),
        Just(Unit::Never),
    ];
    (1u32..=100, unit).prop_map(|(count, unit)| {
        let count = if unit == Unit::Never { 1 } else { count };
        Period::new(count, unit).unwrap()
    })
}

fn any_alignment() -> impl Strategy<Value = Alignment> {
    let boundaries = prop::collection::btree_set(any::<i64>(), 2..9).prop_map(|starts| {
        Alignment::Known(Boundaries::new(starts.into_iter().collect()).unwrap())
    });
    let calendar = (1u8..=12).prop_map(|quarter_start_month| {
        Alignment::Calendar(Calendar {
            quarter_start_month,
            ..Calendar::UTC
        })
    });
    prop_oneof![Just(Alignment::Rolling), calendar, boundaries]
}

fn any_window() -> impl Strategy<Value = Window> {
    (any::<i64>(), 1..i64::MAX).prop_map(|(start_ms, length_ms)| Window {
        start_ms: start_ms.min(i64::MAX - length_ms),
        end_ms: start_ms.min(i64::MAX - length_ms) + length_ms,
    })
}

fn any_raise() -> impl Strategy<Value = Override> {
    (any_window(), 0i64.., option::of(1u32..)).prop_map(|(window, amount, cycles)| Override {
        amount,
        from_ms: window.start_ms,
        until_ms: window.end_ms,
        cycles,
    })
}

prop_compose! {
    fn any_limit()(
        id in "[a-z0-9-]{1,12}",
        metric in prop_oneof![Just(Metric::Cost), Just(Metric::Requests), Just(Metric::Tokens), Just(Metric::InFlight)],
        max in 0i64..,
        period in any_period(),
        anchor_ms in any::<i64>(),
        alignment in any_alignment(),
        open in option::of(any_window()),
        raised_by in option::of(any_raise()),
    ) -> Limit {
        Limit { id, metric, max, period, anchor_ms, alignment, open, raised_by }
    }
}

prop_compose! {
    fn any_provider()(
        name in "[a-z]{1,8}",
        wire_format in prop_oneof![
            Just(WireFormat::OpenAi), Just(WireFormat::Anthropic), Just(WireFormat::Gemini),
            Just(WireFormat::Bedrock), Just(WireFormat::Cohere),
        ],
        cluster in "[a-z_]{1,8}",
        retry_on in proptest::sample::subsequence(RetryClass::ALL.to_vec(), 0..=4),
        per_try_timeout_ms in proptest::option::of(1_u32..),
        key_ids in proptest::collection::vec("[a-z0-9-]{1,8}", 0..3),
        aliases in prop::collection::btree_map("[a-z]{1,3}", "[a-z]{1,3}", 0..3),
    ) -> Provider {
        let retry_on = retry_on.into_iter().collect();
        Provider { name, wire_format, cluster, retry_on, per_try_timeout_ms, key_ids, aliases }
    }
}

proptest! {
    #[test]
    fn settings_arrive_as_they_were_sent(
        enable_governance in any::<bool>(),
        providers in vec(any_provider(), 0..4),
        required_headers in vec("[a-z-]{1,10}(: [a-z0-9|]{1,9}[a-z])?", 0..3),
        max_request_body_bytes in any::<u64>(),
        sizing in prop_oneof![Just(Sizing::Strict), Just(Sizing::Balanced)],
        price_overrides in vec(any_override(), 0..3),
        ceiling in option::of((0i64.., 0i64.., any::<u64>())),
        emergency_percent in 0u32..=100,
        when_short in prop_oneof![Just(WhenShort::Reject), Just(WhenShort::Clamp)],
        of_model in (option::of("[a-z]{1,8}"), option::of("[a-z]{1,8}"), vec(any_limit(), 0..3)),
    ) {
        let (model, provider, limits) = of_model;
        let model_limits = ModelLimits { id: "config".into(), model, provider, limits };
        let required_headers = required_headers
            .iter()
            .map(|text| RequiredHeader::parse(text).unwrap())
            .collect();
        let sent = Settings {
            enable_governance, providers, required_headers, max_request_body_bytes,
            reserving: Reserving { sizing, when_short, emergency_percent },
            price_overrides,
            ceiling: ceiling.map(|(input, output, version)| {
                Rc::new(PriceList { version, ..Price::uniform(input, output).into() })
            }),
            model_limits: ModelLimitsTable::new(vec![model_limits]),
            routing_rules: Vec::new(),
            adaptive_routing: enable_governance,
        };
        let received = over_the_wire(&v1::Settings::at(&sent, 0));
        prop_assert_eq!(Settings::try_from(received), Ok(sent));
    }

    #[test]
    fn owners_and_their_limits_arrive_as_they_were_sent(
        id in "[a-z]{1,8}",
        name in ".{0,12}",
        customer_id in option::of("[a-z]{1,8}"),
        limits in vec(any_limit(), 0..4),
    ) {
        let sent = Owner { id, name, customer_id, limits, routing_rules: Vec::new() };
        let received = over_the_wire(&v1::Owner::at(&sent, 0));
        prop_assert_eq!(Owner::try_from(received), Ok(sent));
    }

    #[test]
    fn no_bytes_stop_the_reader(bytes in vec(any::<u8>(), 0..512)) {
        read_everything(&bytes);
    }

    /// Bytes that start as a real message get further than noise does.
    #[test]
    fn no_damage_to_a_real_message_stops_the_reader(
        at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = key().encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        bytes.truncate(cut.index(bytes.len() + 1));
        read_everything(&bytes);
    }
}

fn read_everything(bytes: &[u8]) {
    let _ = v1::Settings::decode(bytes).map(Settings::try_from);
    let _ = v1::VirtualKey::decode(bytes).map(VirtualKey::try_from);
    let _ = v1::ProviderConfig::decode(bytes).map(ProviderConfig::try_from);
    let _ = v1::Owner::decode(bytes).map(Owner::try_from);
    let _ = v1::Limit::decode(bytes).map(Limit::try_from);
    let _ = v1::Model::decode(bytes).map(Model::try_from);
    let _ = v1::FilterMessage::decode(bytes);
    let _ = v1::ControlMessage::decode(bytes);
}

fn limit() -> v1::Limit {
    v1::Limit {
        id: "budget".into(),
        metric: v1::Metric::Cost.into(),
        max: 100_000_000_000,
        period: Some(v1::Period {
            count: 1,
            unit: v1::PeriodUnit::Month.into(),
        }),
        anchor_ms: 1_700_000_000_000,
        calendar_aligned: true,
        quarter_start_month: 0,
        boundaries_ms: Vec::new(),
        open: None,
        raised_by: None,
    }
}

fn key() -> v1::VirtualKey {
    v1::VirtualKey {
        id: "vk".into(),
        name: "prod".into(),
        is_active: true,
        expires_at_ms: Some(1_800_000_000_000),
        allow_all_providers: false,
        provider_configs: vec![v1::ProviderConfig {
            id: "pc".into(),
            provider: "openai".into(),
            weight_ppm: Some(500_000),
            allowed_models: vec!["openai/gpt-4o".into(), "regex:o[0-9]+".into()],
            blacklisted_models: vec!["o1".into()],
            limits: vec![limit()],
            bound_to_keys: true,
            key_ids: vec!["k1".into()],
        }],
        team_id: "team".into(),
        customer_id: String::new(),
        limits: vec![limit()],
        model_limits: Vec::new(),
        routing_rules: Vec::new(),
    }
}

#[test]
fn a_virtual_key_is_read_with_all_that_it_may_do() {
    let key = VirtualKey::try_from(over_the_wire(&key())).unwrap();
    assert_eq!(
        (key.id.as_str(), key.name.as_str(), key.is_active),
        ("vk", "prod", true)
    );
    assert_eq!(key.expires_at_ms, Some(1_800_000_000_000));
    assert!(!key.allow_all_providers);
    assert_eq!(key.team_id.as_deref(), Some("team"));
    assert_eq!(key.customer_id, None);
    let expected = Limit {
        id: "budget".into(),
        metric: Metric::Cost,
        max: 100_000_000_000,
        period: Period::parse("1M").unwrap(),
        anchor_ms: 1_700_000_000_000,
        alignment: Alignment::utc(),
        open: None,
        raised_by: None,
    };
    assert_eq!(key.limits, std::slice::from_ref(&expected));
    let config = key.provider_config("openai").unwrap();
    assert_eq!(
        (config.id.as_str(), config.weight_ppm),
        ("pc", Some(500_000))
    );
    assert_eq!(config.limits, [expected]);
    assert!(config.allowed_models.names("gpt-4o"));
    assert!(config.allowed_models.names("o3"));
    assert!(!config.allowed_models.names("gpt-4o-mini"));
    assert!(config.blacklisted_models.names("o1"));
    assert_eq!(config.key_ids, Some(vec!["k1".into()]));
}

#[test]
fn no_binding_is_not_a_binding_to_nothing() {
    let mut message = key();
    message.provider_configs[0].key_ids.clear();
    let key = VirtualKey::try_from(over_the_wire(&message)).unwrap();
    assert_eq!(key.provider_configs[0].key_ids, Some(Vec::new()));
    message.provider_configs[0].bound_to_keys = false;
    let key = VirtualKey::try_from(over_the_wire(&message)).unwrap();
    assert_eq!(key.provider_configs[0].key_ids, None);
}

#[test]
fn an_absent_weight_or_expiry_is_not_zero() {
    let mut message = key();
    message.expires_at_ms = None;
    message.provider_configs[0].weight_ppm = None;
    let key = VirtualKey::try_from(over_the_wire(&message)).unwrap();
    assert_eq!(key.expires_at_ms, None);
    assert_eq!(key.provider_configs[0].weight_ppm, None);
}

#[test]
fn an_error_names_the_field_by_its_path() {
    let refused = |change: fn(&mut v1::VirtualKey)| {
        let mut message = key();
        change(&mut message);
        VirtualKey::try_from(message).unwrap_err().to_string()
    };
    assert_eq!(refused(|key| key.id.clear()), "id: is missing");
    assert_eq!(
        refused(|key| key.limits[0].max = -1),
        "limits[0].max: is negative (-1)"
    );
    assert_eq!(
        refused(|key| key.limits[0].metric = 9),
        "limits[0].metric: has the unknown value 9"
    );
    assert_eq!(
        refused(|key| key.limits[0].metric = 0),
        "limits[0].metric: is missing"
    );
    assert_eq!(
        refused(|key| key.limits[0].period = None),
        "limits[0].period: is missing"
    );
    assert_eq!(
        refused(|key| key.provider_configs[0].limits[0].period =
            Some(v1::Period { count: 1, unit: 77 })),
        "provider_configs[0].limits[0].period.unit: has the unknown value 77"
    );
    assert_eq!(
        refused(
            |key| key.provider_configs[0].limits[0].period = Some(v1::Period { count: 0, unit: 1 })
        ),
        "provider_configs[0].limits[0].period: must be at least `1s` and at most 100 years"
    );
    let over_at_once = |key: &mut v1::VirtualKey| {
        key.limits[0].raised_by = Some(v1::LimitOverride::default());
    };
    assert!(refused(over_at_once).starts_with("limits[0].raised_by.until_ms: "));
    assert_eq!(
        refused(|key| key.provider_configs[0].provider.clear()),
        "provider_configs[0].provider: is missing"
    );
    assert_eq!(
        refused(|key| key.provider_configs[0].blacklisted_models = vec!["*".into(), "x".into()]),
        "provider_configs[0].blacklisted_models: `*` admits every model: it must stand alone"
    );
}

#[test]
fn a_provider_whose_wire_format_is_unknown_is_refused() {
    let provider = |wire_format| {
        Provider::try_from(v1::Provider {
            name: "x".into(),
            wire_format,
            cluster: "provider_x".into(),
            retry_on: Vec::new(),
            per_try_timeout_ms: None,
            key_ids: Vec::new(),
            aliases: Vec::new(),
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(provider(0), Err("wire_format: is missing".into()));
    assert_eq!(
        provider(99),
        Err("wire_format: has the unknown value 99".into())
    );
}

#[test]
fn a_model_that_lacks_a_price_has_none_rather_than_a_free_half() {
    for (input_price, output_price) in [(None, None), (Some(5), None), (None, Some(5))] {
        let message = v1::Model {
            name: "mystery".into(),
            input_price,
            output_price,
            cache_read_price: Some(5),
            max_output_tokens: Some(4096),
            ..v1::Model::default()
        };
        let unpriced = Model {
            price: None,
            max_input_tokens: None,
            max_output_tokens: Some(4096),
        };
        assert_eq!(Model::try_from(message), Ok(unpriced));
    }
}

#[test]
fn a_price_of_zero_is_a_price() {
    let message = v1::Model {
        name: "local".into(),
        input_price: Some(0),
        output_price: Some(0),
        ..v1::Model::default()
    };
    let model = Model::try_from(over_the_wire(&message)).unwrap();
    assert_eq!(model.price, Some(standard(Price::uniform(0, 0))));
}

#[test]
fn a_kind_without_a_price_costs_what_its_wider_kind_costs() {
    let embedding = v1::Model {
        name: "text-embedding-3-small".into(),
        input_price: Some(20_000_000),
        output_price: Some(0),
        ..v1::Model::default()
    };
    let model = Model::try_from(embedding).unwrap();
    assert_eq!(model.price, Some(standard(Price::uniform(20_000_000, 0))));

    let cached = v1::Model {
        name: "claude".into(),
        input_price: Some(3),
        output_price: Some(15),
        cache_write_5m_price: Some(4),
        audio_output_price: Some(60),
        max_input_tokens: Some(200_000),
        ..v1::Model::default()
    };
    let model = Model::try_from(over_the_wire(&cached)).unwrap();
    let price = Price {
        cache_write_5m: 4,
        cache_write_1h: 4,
        audio_output: 60,
        ..Price::uniform(3, 15)
    };
    assert_eq!(model.price, Some(standard(price)));
    assert_eq!(model.max_input_tokens, Some(200_000));
}

#[test]
fn a_negative_price_is_refused() {
    let message = v1::Model {
        name: "gift".into(),
        input_price: Some(1),
        cache_write_5m_price: Some(-1),
        ..v1::Model::default()
    };
    let error = Model::try_from(message).unwrap_err();
    assert_eq!(error.to_string(), "cache_write_5m_price: is negative (-1)");
}

fn any_override() -> impl Strategy<Value = PriceOverride> {
    let scope = option::of("[a-z]{1,9}");
    (
        scope.clone(),
        scope,
        "[a-z]{1,9}[*]?",
        proptest::array::uniform4(0i64..),
        any::<u64>(),
    )
        .prop_map(|(virtual_key_id, provider, pattern, prices, version)| {
            let [input, output, cache_read, cache_write] = prices;
            let price = Price {
                cache_read,
                cache_write_5m: cache_write,
                cache_write_1h: cache_write,
                ..Price::uniform(input, output)
            };
            PriceOverride {
                virtual_key_id,
                provider,
                models: Models::parse(&pattern).unwrap(),
                price: Rc::new(PriceList {
                    version,
                    ..price.into()
                }),
            }
        })
}

fn standard(price: Price) -> Rc<PriceList> {
    Rc::new(price.into())
}

#[test]
fn prices_under_conditions_arrive_as_they_were_sent() {
    let cards = [
        (Service::Standard, 200_000),
        (Service::Flex, 0),
        (Service::Balanced, 0),
        (Service::Priority, 272_000),
        (Service::Ultrafast, 0),
    ]
    .map(|(service, above_tokens)| Card {
        service,
        above_tokens,
        price: Price {
            cache_read: 3,
            image_output: 4,
            ..Price::uniform(1, 2)
        },
    });
    let message = v1::Model {
        input_price: Some(5),
        output_price: Some(6),
        price_version: 7,
        cards: cards.iter().map(Into::into).collect(),
        ..v1::Model::default()
    };
    let list = Model::try_from(over_the_wire(&message))
        .unwrap()
        .price
        .unwrap();
    assert_eq!((list.cards.as_slice(), list.version), (cards.as_slice(), 7));
    let mut broken = message;
    broken.cards[1].service_tier = 0;
    let error = Model::try_from(broken).unwrap_err();
    assert_eq!(error.field, "cards[1].service_tier");
}
