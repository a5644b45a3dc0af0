use serde_json::{Map, Value, json};

use super::{
    CONTROL_PLANE_GRPC, CONTROL_PLANE_HTTP, Gateway, Host, NOBODY, Origin, Provider, SECRETS_DIR,
};
use super::{Credential, egress, plugin, secret};

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// LLM answers take minutes, so a provider holds many requests at once; Envoy's default of 1,024
/// would refuse them long before the provider does.
const MAX_AT_ONCE: u32 = 10_000;

/// The CDS file: one cluster per provider.
pub(super) fn clusters(gateway: &Gateway, providers: &[Provider]) -> Value {
    let resources: Vec<Value> = providers
        .iter()
        .map(|provider| {
            let mut resource = provider_cluster(gateway, provider);
            resource.insert(
                "@type".to_owned(),
                json!("type.googleapis.com/envoy.config.cluster.v3.Cluster"),
            );
            Value::Object(resource)
        })
        .collect();
    json!({"resources": resources})
}

/// The control plane's two clusters, and the one that is nobody's, for the bootstrap.
pub(super) fn control_plane(gateway: &Gateway) -> Vec<Value> {
    let local = |name: &str, port: u16, protocol: Value| {
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": load_assignment(name, "127.0.0.1", port),
            "typed_extension_protocol_options": {
                HTTP_PROTOCOL_OPTIONS: {
                    "@type": format!("type.googleapis.com/{HTTP_PROTOCOL_OPTIONS}"),
                    "explicit_http_config": protocol,
                },
            },
        })
    };
    vec![
        local(
            CONTROL_PLANE_HTTP,
            gateway.http_port,
            json!({"http_protocol_options": {}}),
        ),
        local(
            CONTROL_PLANE_GRPC,
            gateway.grpc_port,
            json!({"http2_protocol_options": {
                // Notices a control plane that hangs without closing its connection.
                "connection_keepalive": {"interval": "5s", "timeout": "2s"},
            }}),
        ),
        json!({"name": NOBODY, "type": "STATIC", "connect_timeout": "1s"}),
    ]
}

fn provider_cluster(gateway: &Gateway, provider: &Provider) -> Map<String, Value> {
    let name = provider.cluster();
    let origin = &provider.origin;
    let mut cluster = Map::new();
    let mut set = |key: &str, value: Value| {
        cluster.insert(key.to_owned(), value);
    };
    set("name", json!(name));
    set("connect_timeout", json!("5s"));
    set("per_connection_buffer_limit_bytes", json!(1_048_576));
    set(
        "metadata",
        json!({"filter_metadata": {"reeve": {
            "provider": provider.name,
            "host": origin.authority(),
            "base_path": provider.base_path,
            "wire_format": provider.wire_format,
        }}}),
    );
    match &origin.host {
        Host::Address(address) => {
            set("type", json!("STATIC"));
            set(
                "load_assignment",
                load_assignment(&name, &address.to_string(), origin.port),
            );
        }
        Host::Name(host) => {
            set("cluster_type", dns());
            set("load_assignment", load_assignment(&name, host, origin.port));
        }
    }
    set(
        "circuit_breakers",
        json!({"thresholds": [{
            "max_connections": MAX_AT_ONCE,
            "max_pending_requests": MAX_AT_ONCE,
            "max_requests": MAX_AT_ONCE,
            // Envoy's default is 3: when a provider is down, all of its requests go on to another.
            "max_retries": MAX_AT_ONCE,
        }]}),
    );
    set(
        "upstream_connection_options",
        // A provider may think for minutes without a byte; a dead connection looks the same.
        json!({"tcp_keepalive": {
            "keepalive_time": 30,
            "keepalive_interval": 10,
            "keepalive_probes": 3,
        }}),
    );
    set(
        "typed_extension_protocol_options",
        json!({HTTP_PROTOCOL_OPTIONS: protocol_options(gateway, provider)}),
    );
    if origin.tls {
        set("transport_socket", tls(gateway, origin));
    }
    cluster
}

fn load_assignment(cluster: &str, address: &str, port: u16) -> Value {
    json!({
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
            "socket_address": {"address": address, "port_value": port},
        }}}]}],
    })
}

/// One logical endpoint, re-resolved; connections try both address families (RFC 8305).
fn dns() -> Value {
    json!({
        "name": "envoy.cluster.dns",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
            "dns_lookup_family": "ALL",
            "respect_dns_ttl": true,
            "all_addresses_in_single_endpoint": true,
        },
    })
}

fn protocol_options(gateway: &Gateway, provider: &Provider) -> Value {
    let mut filters = vec![
        egress::filter(&provider.egress),
        plugin::http_filter(gateway, "reeve.attempt", plugin::Role::Attempt),
    ];
    if let Some(credential) = &provider.credential {
        filters.push(credential_injector(gateway, provider, credential));
    }
    filters.push(json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
        },
    }));
    let mut options = json!({
        "@type": format!("type.googleapis.com/{HTTP_PROTOCOL_OPTIONS}"),
        // Shorter than what the front ends of the big providers keep, so that a request is not
        // sent on a connection that the other side is closing.
        "common_http_protocol_options": {"idle_timeout": "60s"},
        "http_filters": filters,
    });
    let (config, protocols) = if provider.origin.tls {
        // HTTP/2 where ALPN agrees on it.
        let keepalive = json!({"connection_keepalive": {"interval": "30s", "timeout": "10s"}});
        (
            "auto_config",
            json!({"http_protocol_options": {}, "http2_protocol_options": keepalive}),
        )
    } else {
        ("explicit_http_config", json!({"http_protocol_options": {}}))
    };
    if let Some(options) = options.as_object_mut() {
        options.insert(config.to_owned(), protocols);
    }
    options
}

/// Puts the provider key on the request, after the attempt filter has removed every credential of
/// the caller. The key comes by SDS: it is in no configuration dump and never in wasm memory.
fn credential_injector(gateway: &Gateway, provider: &Provider, credential: &Credential) -> Value {
    let name = secret::name(&provider.stem(), &provider.origin);
    let directory = gateway.dir.join(SECRETS_DIR);
    json!({
        "name": "envoy.filters.http.credential_injector",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": true,
            "credential": {
                "name": "envoy.http.injected_credentials.generic",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                    "header": credential.header,
                    "header_value_prefix": credential.prefix,
                    "credential": {
                        "name": name,
                        "sds_config": {
                            "path_config_source": {
                                "path": directory.join(format!("{name}.json")),
                                "watched_directory": {"path": directory},
                            },
                            "resource_api_version": "V3",
                        },
                    },
                },
            },
        },
    })
}

/// TLS to a provider: its certificate must be valid for the very host that was configured.
fn tls(gateway: &Gateway, origin: &Origin) -> Value {
    let (sni, san_type, san) = match &origin.host {
        Host::Name(name) => (name.clone(), "DNS", name.clone()),
        // SNI holds names only (RFC 6066, 3).
        Host::Address(address) => (String::new(), "IP_ADDRESS", address.to_string()),
    };
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": sni,
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "validation_context": {
                    "trusted_ca": {"filename": gateway.ca_bundle},
                    "match_typed_subject_alt_names": [
                        {"san_type": san_type, "matcher": {"exact": san}},
                    ],
                },
            },
        },
    })
}
