//! Provider clusters and their secrets.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::json;

use super::*;

#[test]
fn a_provider_by_name_is_verified_by_that_name() {
    assert_fields(
        "the cluster",
        &cluster(openai()),
        &[
            ("/name", json!("provider_openai")),
            ("/cluster_type/name", json!("envoy.cluster.dns")),
            (
                "/transport_socket/typed_config/sni",
                json!("api.openai.com"),
            ),
            (
                "/transport_socket/typed_config/common_tls_context/validation_context",
                json!({
                    "trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"},
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": "api.openai.com"}},
                    ],
                }),
            ),
            (
                "/transport_socket/typed_config/common_tls_context/tls_params",
                json!({"tls_minimum_protocol_version": "TLSv1_2"}),
            ),
            (
                "/metadata/filter_metadata/reeve",
                json!({
                    "provider": "openai",
                    "host": "api.openai.com",
                    "base_path": "/v1",
                    "wire_format": "openai",
                }),
            ),
        ],
    );
}

#[test]
fn a_provider_by_address_is_verified_by_that_address() {
    let host = Host::Address(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let cluster = cluster(Provider {
        origin: Origin {
            tls: true,
            host,
            port: 8443,
        },
        ..openai()
    });
    assert_fields(
        "the cluster",
        &cluster,
        &[
            ("/type", json!("STATIC")),
            ("/transport_socket/typed_config/sni", json!("")),
            (
                "/transport_socket/typed_config/common_tls_context/validation_context/match_typed_subject_alt_names/0",
                json!({"san_type": "IP_ADDRESS", "matcher": {"exact": "::1"}}),
            ),
            ("/metadata/filter_metadata/reeve/host", json!("[::1]:8443")),
        ],
    );
}

#[test]
fn the_key_is_in_the_secret_file_only() {
    let files = render(&Input {
        gateway: gateway(),
        providers: vec![openai()],
    });
    assert!(!files.bootstrap.contains("planted"));
    assert!(!files.clusters.contains("planted"));
    assert!(!format!("{files:?}").contains("planted"));
    let (name, content) = files.secrets.first_key_value().unwrap();
    assert!(content.expose().contains("sk-planted-secret"));
    assert!(
        files
            .clusters
            .contains(&format!("/var/lib/reeve/envoy/secrets/{name}"))
    );
}

#[test]
fn the_key_is_added_behind_the_filter_that_turns_away_what_was_not_judged() {
    let cluster = cluster(openai());
    let filters = cluster
        .pointer("/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters")
        .unwrap();
    let names: Vec<_> = filters
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["name"])
        .collect();
    assert_eq!(
        names,
        [
            "envoy.filters.http.upstream_rbac",
            "reeve.attempt",
            "envoy.filters.http.credential_injector",
            "envoy.filters.http.upstream_codec",
        ]
    );
    assert_eq!(filters[2]["typed_config"]["overwrite"], true);
}

#[test]
fn a_name_that_leads_into_a_private_network_is_denied_but_for_what_is_exempt() {
    let cluster = cluster(openai());
    let rules = cluster
        .pointer("/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters/0/typed_config/rules")
        .unwrap();
    let network = |address: &str, prefix: u8| {
        json!({"or_rules": {"rules": [{"matcher": {
            "name": "envoy.rbac.matchers.upstream_ip_port",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher",
                "upstream_ip": {"address_prefix": address, "prefix_len": prefix},
            },
        }}]}})
    };
    assert_fields(
        "the rules",
        rules,
        &[
            ("/action", json!("DENY")),
            (
                "/policies/forbidden/permissions/0",
                network("169.254.0.0", 16),
            ),
            (
                "/policies/private/permissions/0/and_rules/rules",
                json!([network("10.0.0.0", 8), {"not_rule": network("10.20.0.0", 16)}]),
            ),
            ("/policies/private/principals", json!([{"any": true}])),
        ],
    );
}

#[test]
fn another_key_changes_the_secret_file_alone() {
    let before = render(&Input {
        gateway: gateway(),
        providers: vec![openai()],
    });
    let mut rotated = openai();
    rotated.credential.as_mut().unwrap().key = Secret::new("sk-another");
    let after = render(&Input {
        gateway: gateway(),
        providers: vec![rotated],
    });
    assert_eq!(before.clusters, after.clusters);
    assert!(before.secrets.keys().eq(after.secrets.keys()));
    assert_ne!(before.secrets, after.secrets);
}

#[test]
fn a_provider_that_moves_gets_a_secret_file_of_its_own() {
    let origins = [
        openai().origin,
        Origin {
            host: name("proxy.example"),
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
    let names: std::collections::BTreeSet<String> = origins
        .iter()
        .map(|origin| secret::name("openai", origin))
        .collect();
    assert_eq!(names.len(), origins.len(), "{names:?}");
}

#[test]
fn a_provider_without_a_key_has_no_injector_and_no_secret() {
    let keyless = Provider {
        credential: None,
        ..openai()
    };
    let files = render(&Input {
        gateway: gateway(),
        providers: vec![keyless],
    });
    assert!(files.secrets.is_empty());
    assert!(!files.clusters.contains("credential_injector"));
}
