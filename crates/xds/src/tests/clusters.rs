use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TypedExtensionConfig, async_data_source};
use envoy_types::pb::envoy::config::rbac::v3::Permission;
use envoy_types::pb::envoy::config::rbac::v3::permission::Rule;
use envoy_types::pb::envoy::config::rbac::v3::principal::Identifier;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use envoy_types::pb::envoy::extensions::rbac::matchers::upstream_ip_port::v3::UpstreamIpPortMatcher;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::wasm::v3::FailurePolicy;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Duration, StringValue};

use super::*;

pub(super) fn cluster(provider: Provider) -> Cluster {
    let snapshot = first(&[provider]);
    let clusters = &snapshot.set(ResourceType::Clusters).unwrap().resources;
    decoded(clusters.values().next().unwrap())
}

fn options(cluster: &Cluster) -> HttpProtocolOptions {
    let key = crate::cluster::HTTP_PROTOCOL_OPTIONS;
    decoded(&cluster.typed_extension_protocol_options[key])
}

/// Its upstream filters, by name.
pub(super) fn filters(cluster: &Cluster) -> Vec<(String, Any)> {
    let filters = options(cluster).http_filters.into_iter();
    filters
        .map(|filter| match filter.config_type {
            Some(ConfigType::TypedConfig(config)) => (filter.name, config),
            other => panic!("{}: {other:?}", filter.name),
        })
        .collect()
}

fn injected(cluster: &Cluster) -> (CredentialInjector, Generic) {
    let (_, config) = &filters(cluster)[2];
    let injector: CredentialInjector = decoded(config);
    let credential = injector.credential.clone().unwrap().typed_config.unwrap();
    (injector, decoded(&credential))
}

fn tls(cluster: &Cluster) -> (UpstreamTlsContext, CertificateValidationContext) {
    let socket = cluster.transport_socket.clone().unwrap();
    let Some(transport_socket::ConfigType::TypedConfig(config)) = socket.config_type else {
        panic!("no configuration");
    };
    let context: UpstreamTlsContext = decoded(&config);
    let common = context.common_tls_context.clone().unwrap();
    match common.validation_context_type {
        Some(ValidationContextType::ValidationContext(validation)) => (context, validation),
        other => panic!("{other:?}"),
    }
}

fn metadata(cluster: &Cluster, field: &str) -> String {
    let metadata = cluster.metadata.clone().unwrap();
    match metadata.filter_metadata["reeve"].fields[field].kind.clone() {
        Some(Kind::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

pub(super) fn secret_name(provider: Provider) -> String {
    names(&first(&[provider]), ResourceType::Secrets)[0].to_owned()
}

#[test]
fn a_provider_by_name_is_verified_by_that_name() {
    let cluster = cluster(openai());
    assert_eq!(cluster.name, "provider_openai");
    let (context, validation) = tls(&cluster);
    assert_eq!(context.sni, "api.openai.com");
    let parameters = context.common_tls_context.unwrap().tls_params.unwrap();
    let minimum = parameters.tls_minimum_protocol_version;
    assert_eq!(minimum, i32::from(TlsProtocol::TlSv12));
    let bundle = Specifier::Filename("/etc/ssl/certs/ca-certificates.crt".to_owned());
    assert_eq!(validation.trusted_ca.unwrap().specifier, Some(bundle));
    let [san] = validation.match_typed_subject_alt_names.as_slice() else {
        panic!("one name");
    };
    assert_eq!(san.san_type, i32::from(SanType::Dns));
    let exact = MatchPattern::Exact("api.openai.com".to_owned());
    assert_eq!(san.matcher.clone().unwrap().match_pattern, Some(exact));
    for (field, value) in [
        ("provider", "openai"),
        ("host", "api.openai.com"),
        ("base_path", "/v1"),
        ("wire_format", "openai"),
    ] {
        assert_eq!(metadata(&cluster, field), value);
    }
}

#[test]
fn a_provider_by_address_is_verified_by_that_address() {
    let cluster = cluster(Provider {
        origin: Origin {
            tls: true,
            host: Host::Address(Ipv6Addr::LOCALHOST.into()),
            port: 8443,
        },
        ..openai()
    });
    let discovery = ClusterDiscoveryType::Type(DiscoveryType::Static.into());
    assert_eq!(cluster.cluster_discovery_type, Some(discovery));
    let (context, validation) = tls(&cluster);
    assert_eq!(context.sni, "");
    let san = &validation.match_typed_subject_alt_names[0];
    assert_eq!(san.san_type, i32::from(SanType::IpAddress));
    let exact = MatchPattern::Exact("::1".to_owned());
    assert_eq!(san.matcher.clone().unwrap().match_pattern, Some(exact));
    assert_eq!(metadata(&cluster, "host"), "[::1]:8443");
}

#[test]
fn a_provider_without_tls_is_spoken_to_in_the_clear() {
    let mut provider = openai();
    provider.origin.tls = false;
    assert_eq!(cluster(provider).transport_socket, None);
}

#[test]
fn a_silent_connection_is_either_a_thinking_model_or_found_dead() {
    let cluster = cluster(openai());
    let keepalive = cluster.upstream_connection_options.unwrap();
    assert!(keepalive.tcp_keepalive.unwrap().keepalive_time.is_some());
    let common = options(&cluster).common_http_protocol_options.unwrap();
    let minute = Duration {
        seconds: 60,
        nanos: 0,
    };
    assert_eq!(common.idle_timeout, Some(minute));
    let [thresholds] = cluster
        .circuit_breakers
        .unwrap()
        .thresholds
        .try_into()
        .unwrap();
    assert_eq!(thresholds.max_requests.unwrap().value, 10_000);
}

#[test]
fn when_a_provider_is_down_all_of_its_requests_can_go_on_to_another() {
    let thresholds = cluster(openai()).circuit_breakers.unwrap().thresholds;
    assert_eq!(thresholds[0].max_retries.unwrap().value, 10_000);
}

#[test]
fn a_key_that_virtual_keys_are_bound_to_has_a_cluster_and_a_secret_of_its_own() {
    let snapshot = first(&[openai(), with_key(bound("k1"), "sk-of-k1")]);
    assert_eq!(
        names(&snapshot, ResourceType::Clusters),
        ["provider_openai", "provider_openai__k1"]
    );
    let secrets = names(&snapshot, ResourceType::Secrets);
    assert_eq!(secrets.len(), 2);
    assert!(secrets[1].starts_with("openai__k1-"), "{secrets:?}");
    let cluster = cluster(bound("k1"));
    assert_eq!(metadata(&cluster, "provider"), "openai");
    let (_, generic) = injected(&cluster);
    assert_eq!(generic.credential.unwrap().name, secrets[1]);
}

#[test]
fn a_provider_that_fails_is_noticed_but_never_taken_out() {
    let noticed = cluster(openai()).outlier_detection.unwrap();
    for enforced in [
        noticed.enforcing_consecutive_5xx,
        noticed.enforcing_consecutive_gateway_failure,
        noticed.enforcing_consecutive_local_origin_failure,
        noticed.enforcing_success_rate,
        noticed.enforcing_local_origin_success_rate,
    ] {
        assert_eq!(enforced.unwrap().value, 0);
    }
    assert_eq!(noticed.enforcing_failure_percentage, None, "0 by default");
}

#[test]
fn the_key_is_in_its_secret_only() {
    let snapshot = first(&[openai()]);
    assert!(!format!("{snapshot:?} {:?}", snapshot.input()).contains("planted"));
    let holds_key = |packed: &Any| packed.value.windows(7).any(|bytes| bytes == b"planted");
    for of in ResourceType::ALL {
        let set = snapshot.set(of).unwrap();
        let found = set.resources.values().any(holds_key);
        assert_eq!(found, of == ResourceType::Secrets, "{of:?}");
    }
    let set = snapshot.set(ResourceType::Secrets).unwrap();
    let (name, secret) = set.resources.first_key_value().unwrap();
    let secret: Secret = decoded(secret);
    assert_eq!(secret.name, *name);
    let Some(Type::GenericSecret(generic)) = secret.r#type else {
        panic!("not generic");
    };
    let key = Specifier::InlineString("sk-planted-secret".to_owned());
    let key = DataSource {
        specifier: Some(key),
        ..DataSource::default()
    };
    assert_eq!(generic.secret, Some(key));
    // The cluster asks for it by that name, on the stream that it came by itself.
    let (_, generic) = injected(&cluster(openai()));
    let wanted = generic.credential.unwrap();
    assert_eq!(wanted.name, *name);
    let source = wanted.sds_config.unwrap().config_source_specifier;
    assert!(matches!(source, Some(ConfigSourceSpecifier::Ads(_))));
}

#[test]
fn the_key_is_added_behind_the_filter_that_turns_away_what_was_not_judged() {
    let cluster = cluster(openai());
    let filters = filters(&cluster);
    let names: Vec<&str> = filters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "envoy.filters.http.upstream_rbac",
            "reeve.attempt",
            "envoy.filters.http.credential_injector",
            "envoy.filters.http.upstream_codec",
        ]
    );
    let (injector, generic) = injected(&cluster);
    assert!(injector.overwrite);
    assert!(!injector.allow_request_without_credential);
    assert_eq!(generic.header, "authorization");
    assert_eq!(generic.header_value_prefix, "Bearer ");
}

#[test]
fn a_provider_that_moves_gets_a_secret_of_its_own() {
    let origins = [
        openai().origin,
        Origin {
            host: host("proxy.example"),
            ..openai().origin
        },
        Origin {
            port: 8443,
            ..openai().origin
        },
        Origin {
            tls: false,
            ..openai().origin
        },
    ];
    let names: BTreeSet<String> = origins
        .iter()
        .map(|origin| Provider {
            origin: origin.clone(),
            ..openai()
        })
        .map(secret_name)
        .collect();
    assert_eq!(names.len(), origins.len(), "{names:?}");
}

#[test]
fn a_provider_without_a_key_has_no_injector_and_no_secret() {
    let keyless = Provider {
        credential: None,
        ..openai()
    };
    assert!(
        names(
            &first(std::slice::from_ref(&keyless)),
            ResourceType::Secrets
        )
        .is_empty()
    );
    let filters = filters(&cluster(keyless));
    let names: Vec<&str> = filters.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!names.contains(&"envoy.filters.http.credential_injector"));
    assert_eq!(names.len(), 3);
}

#[test]
fn a_name_that_leads_into_a_private_network_is_denied_but_for_what_is_exempt() {
    let (_, rbac) = &filters(&cluster(openai()))[0];
    let rules = decoded::<Rbac>(rbac).rules.unwrap();
    assert_eq!(rules.action, i32::from(Action::Deny));
    let [policy] = rules.policies.values().collect::<Vec<_>>()[..] else {
        panic!("one policy");
    };
    assert_eq!(policy.principals[0].identifier, Some(Identifier::Any(true)));
    let rule = |permission: &Permission| permission.rule.clone().unwrap();
    let [forbidden, private] = &policy.permissions[..] else {
        panic!("what is forbidden, and what is private");
    };
    assert_eq!(network(&rule(forbidden)), ("169.254.0.0".to_owned(), 16));
    let Rule::AndRules(both) = rule(private) else {
        panic!("private, and not exempt");
    };
    assert_eq!(network(&rule(&both.rules[0])), ("10.0.0.0".to_owned(), 8));
    let Rule::NotRule(exempt) = rule(&both.rules[1]) else {
        panic!("not exempt");
    };
    assert_eq!(network(&rule(&exempt)), ("10.20.0.0".to_owned(), 16));
}

/// The only network of a list.
fn network(rule: &Rule) -> (String, u32) {
    let Rule::OrRules(list) = rule else {
        panic!("a list");
    };
    let Some(Rule::Matcher(matcher)) = &list.rules[0].rule else {
        panic!("a matcher");
    };
    let matcher: UpstreamIpPortMatcher = decoded(matcher.typed_config.as_ref().unwrap());
    let range = matcher.upstream_ip.unwrap();
    (range.address_prefix, range.prefix_len.unwrap().value)
}

#[test]
fn every_filter_is_reloaded_after_a_trap_and_sees_bodies() {
    let snapshot = first(&[openai()]);
    let set = snapshot.set(ResourceType::Filters).unwrap();
    let (name, governance) = set.resources.first_key_value().unwrap();
    assert_eq!(name, GOVERNANCE_FILTER);
    let governance: TypedExtensionConfig = decoded(governance);
    let (_, attempt) = &filters(&cluster(openai()))[1];
    for (packed, root_id) in [
        (&governance.typed_config.unwrap(), GOVERNANCE),
        (attempt, ATTEMPT),
    ] {
        let plugin = decoded::<Wasm>(packed).config.unwrap();
        assert_eq!(plugin.root_id, root_id);
        assert_eq!(plugin.failure_policy, i32::from(FailurePolicy::FailReload));
        let backoff = plugin.reload_config.unwrap().backoff.unwrap();
        assert_eq!(backoff.base_interval.unwrap().nanos, 100_000_000);
        assert!(plugin.allow_on_headers_stop_iteration.unwrap().value);
        let given: StringValue = decoded(&plugin.configuration.unwrap());
        assert_eq!(given.value, r#"{"policy_cluster":"control_plane_grpc"}"#);
        let Some(Vm::VmConfig(vm)) = plugin.vm else {
            panic!("no VM");
        };
        assert_eq!(vm.vm_id, VM_ID);
        let code = vm.code.unwrap().specifier;
        let Some(async_data_source::Specifier::Local(code)) = code else {
            panic!("{code:?}");
        };
        let file = Specifier::Filename("/usr/lib/reeve/reeve_filter.wasm".to_owned());
        assert_eq!(code.specifier, Some(file));
    }
}
