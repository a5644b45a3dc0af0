use serde_json::{Value, json};

use super::{CLUSTER_HEADER, CONTROL_PLANE_HTTP, Gateway, local_reply, observability, plugin};

const GOVERNANCE_FILTER: &str = "reeve.governance";
/// A reasoning model may be silent for many minutes before its first byte.
const PROVIDER_IDLE_TIMEOUT: &str = "900s";

/// What the caller does not learn: whose account pays and how much of its limits is left (the filter
/// tells what is left of the key's own). Nor does it get the provider's cookies, or is it sent elsewhere: by
/// a redirect now (SDKs follow those, with the virtual key) or by `alt-svc` for the next request.
const PROVIDERS_PRIVATE_HEADERS: &[&str] = &[
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    "set-cookie",
    "location",
    "alt-svc",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-limit",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-limit",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
];

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
            "typed_config": connection_manager(gateway),
        }]}],
    })
}

fn connection_manager(gateway: &Gateway) -> Value {
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
        "route_config": route_config(gateway),
        "http_filters": [
            plugin::http_filter(gateway, GOVERNANCE_FILTER, plugin::Role::Governance),
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
/// the request; `internal_only_headers` cannot do it, as it knows no prefixes.
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

fn route_config(gateway: &Gateway) -> Value {
    json!({
        "name": "reeve",
        "internal_only_headers": [CLUSTER_HEADER],
        "virtual_hosts": [{
            "name": "reeve",
            "domains": gateway.domains,
            "routes": [
                control_plane_route(&json!({"prefix": "/api/"})),
                control_plane_route(&json!({"path": "/healthz"})),
                control_plane_route(&json!({"path": "/readyz"})),
                provider_route(gateway),
            ],
        }],
    })
}

/// The control plane judges its own callers; the governance filter is for LLM traffic.
fn control_plane_route(r#match: &Value) -> Value {
    json!({
        "match": r#match,
        "route": {"cluster": CONTROL_PLANE_HTTP, "timeout": "30s"},
        "typed_per_filter_config": {
            GOVERNANCE_FILTER: {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                "disabled": true,
            },
        },
    })
}

/// Everything else goes where the governance filter says. A request without its word (the filter
/// failed, or was configured away) has no cluster and ends here: that is the backstop.
fn provider_route(gateway: &Gateway) -> Value {
    json!({
        "match": {"prefix": "/"},
        "route": {
            "cluster_header": CLUSTER_HEADER,
            "timeout": "0s",
            "idle_timeout": PROVIDER_IDLE_TIMEOUT,
        },
        // The filter holds bodies back until it has judged them.
        "request_body_buffer_limit": gateway.max_request_body_bytes,
        // Who the caller is stays here.
        "request_headers_to_remove": [
            CLUSTER_HEADER,
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-envoy-external-address",
            "forwarded",
            "via",
        ],
        "response_headers_to_remove": PROVIDERS_PRIVATE_HEADERS,
    })
}
