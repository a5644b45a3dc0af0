use reeve_xds::{GOVERNANCE_FILTER, ROUTES};
use serde_json::{Value, json};

use super::{Gateway, discovery, local_reply, observability};

/// The one listener: LLM APIs, and the admin API routed through.
pub(super) fn listener(gateway: &Gateway) -> Value {
    json!({
        "name": "reeve",
        "address": {
            "socket_address": {"address": "127.0.0.1", "port_value": gateway.port},
        },
        // With it a second Envoy could bind the same port and take half the traffic unnoticed.
        "enable_reuse_port": false,
        // One socket for all workers: spread connections evenly, clients keep few and long ones.
        "connection_balance_config": {"exact_balance": {}},
        "per_connection_buffer_limit_bytes": 1_048_576,
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": connection_manager(),
        }]}],
    })
}

fn connection_manager() -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "reeve",
        "codec_type": "AUTO",
        "server_name": "reeve",
        "server_header_transformation": "OVERWRITE",

        // Who is asking: nobody is internal, not even a caller on loopback or in 10/8, so nobody
        // may bring Envoy's own headers or choose the request id.
        "use_remote_address": true,
        // (255.255.255.255 is nobody's address; an empty list would mean loopback and RFC 1918.)
        "internal_address_config": {
            "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}],
        },
        "early_header_mutation_extensions": [strip_reserved_headers()],
        "generate_request_id": true,
        "preserve_external_request_id": false,
        "always_set_request_id_in_response": true,

        // One spelling per path, before anyone matches on it.
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "strip_any_host_port": true,

        // Sizes and times.
        "max_request_headers_kb": 60,
        "request_headers_timeout": "5s",
        "request_timeout": "60s",
        "stream_idle_timeout": "300s",
        "delayed_close_timeout": "1s",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "max_headers_count": 100,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http_protocol_options": {"allow_absolute_url": false},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1_048_576,
            "connection_keepalive": {"interval": "30s", "timeout": "10s"},
        },

        "access_log": [observability::access_log()],
        "local_reply_config": local_reply::config(),
        "rds": {"route_config_name": ROUTES, "config_source": discovery::ads()},
        "http_filters": [
            // No default: without its configuration nothing is served.
            {
                "name": GOVERNANCE_FILTER,
                "config_discovery": {
                    "config_source": discovery::ads(),
                    "type_urls": [
                        "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                    ],
                },
            },
            // Behind the governance filter, so that responses reach it decompressed.
            decompressor("gzip", "envoy.extensions.compression.gzip.decompressor.v3.Gzip"),
            decompressor("brotli", "envoy.extensions.compression.brotli.decompressor.v3.Brotli"),
            tell_encoding(),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": true,
                },
            },
        ],
    })
}

/// Decompresses what a provider compressed although nobody had asked it to: usage is read from it.
/// Requests are not touched (the governance filter refuses encoded ones), and providers are not
/// invited to compress.
fn decompressor(name: &str, library: &str) -> Value {
    json!({
        "name": format!("reeve.decompressor.{name}"),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.decompressor.v3.Decompressor",
            "decompressor_library": {
                "name": name,
                "typed_config": {"@type": format!("type.googleapis.com/{library}")},
            },
            "request_direction_config": {
                "advertise_accept_encoding": false,
                "common_config": {
                    "enabled": {"default_value": false, "runtime_key": "reeve.decompress_requests"},
                },
            },
            "response_direction_config": {"common_config": {"ignore_no_transform_header": true}},
        },
    })
}

/// Keeps in a header of its own how the provider had encoded its answer, before a decompressor takes
/// that out: the governance filter must not hold back what was decompressed (see there).
fn tell_encoding() -> Value {
    json!({
        "name": "reeve.provider_encoding",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"response_mutations": [{"append": {
                "header": {
                    "key": "x-reeve-provider-encoding",
                    "value": "%RESPONSE_HEADER(content-encoding)%",
                },
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }}]},
        },
    })
}

/// Reserved header names are Reeve's and Envoy's to set. Removed before anything else looks at
/// the request.
fn strip_reserved_headers() -> Value {
    let remove = |prefix: &str| json!({"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": true}}});
    json!({
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [remove("x-reeve-"), remove("x-envoy-")],
        },
    })
}
