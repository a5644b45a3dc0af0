//! Routes: which paths are the control plane's, and how the governance filter's word becomes a provider.
//!
//! The filter writes down the clusters to try, in filter state that nobody else can write. Envoy asks for
//! the first, and if that attempt fails for the next.

use reeve_exchange::chain::MAX_ATTEMPTS;
use serde_json::{Map, Value, json};

use super::listener::GOVERNANCE_FILTER;
use super::{CONTROL_PLANE_HTTP, Gateway, NOBODY, Provider};

/// Under which Envoy asks for them.
pub(super) const CONFIG_NAME: &str = "reeve";

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

/// The RDS file.
pub(super) fn routes(gateway: &Gateway, providers: &[Provider]) -> Value {
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": CONFIG_NAME,
        "virtual_hosts": [{
            "name": "reeve",
            "domains": gateway.domains,
            // By the count Envoy finds the next cluster; the attempt filter reads it too.
            "include_request_attempt_count": true,
            "routes": [
                control_plane_route(&json!({"prefix": "/api/"})),
                control_plane_route(&json!({"path": "/healthz"})),
                control_plane_route(&json!({"path": "/readyz"})),
                provider_route(gateway, providers),
            ],
        }],
    }]})
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
/// failed, or was configured away) goes to nobody: that is the backstop.
fn provider_route(gateway: &Gateway, providers: &[Provider]) -> Value {
    json!({
        "match": {"prefix": "/"},
        "route": {
            "inline_cluster_specifier_plugin": {"extension": {
                "name": "envoy.router.cluster_specifier_plugin.matcher",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.router.cluster_specifiers.matcher.v3.MatcherClusterSpecifier",
                    "cluster_matcher": by_attempt(providers),
                },
            }},
            "timeout": "0s",
            "idle_timeout": PROVIDER_IDLE_TIMEOUT,
            // Whether there is another attempt, and after what, the filter says for each request.
            "retry_policy": {
                "num_retries": 0,
                "refresh_cluster_on_retry": true,
                "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
            },
        },
        // The filter holds bodies back until it has judged them, and Envoy until no attempt is left.
        "request_body_buffer_limit": gateway.max_request_body_bytes,
        // Who the caller is stays here.
        "request_headers_to_remove": [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-envoy-external-address",
            "forwarded",
            "via",
        ],
        "response_headers_to_remove": PROVIDERS_PRIVATE_HEADERS,
    })
}

/// When this is asked, Envoy's count is still that of the attempt before: there is none at first.
fn by_attempt(providers: &[Provider]) -> Value {
    let later: Map<String, Value> = (1..MAX_ATTEMPTS)
        .zip(2..)
        .map(|(before, attempt)| (before.to_string(), by_filter_state(attempt, providers)))
        .collect();
    json!({
        "matcher_tree": {
            "input": {
                "name": "attempt",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    "header_name": "x-envoy-attempt-count",
                },
            },
            "exact_match_map": {"map": later},
        },
        "on_no_match": by_filter_state(1, providers),
    })
}

/// The cluster that the filter has named for this attempt.
fn by_filter_state(attempt: usize, providers: &[Provider]) -> Value {
    let providers = providers.iter().map(Provider::cluster);
    // An empty map is none to Envoy.
    let clusters = providers.chain([NOBODY.to_owned()]);
    let map: Map<String, Value> = clusters.map(|name| (name.clone(), to(&name))).collect();
    json!({"matcher": {
        "matcher_tree": {
            "input": {
                "name": "cluster",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
                    "key": format!("wasm.reeve_try_{attempt}"),
                },
            },
            "exact_match_map": {"map": map},
        },
        "on_no_match": to(NOBODY),
    }})
}

fn to(cluster: &str) -> Value {
    json!({"action": {
        "name": "cluster",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.router.cluster_specifiers.matcher.v3.ClusterAction",
            "cluster": cluster,
        },
    }})
}
