use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    ClusterSpecifierPlugin, FilterConfig, RetryPolicy, Route, RouteAction, RouteConfiguration,
    RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::FilterStateInput;
use envoy_types::pb::envoy::extensions::router::cluster_specifiers::matcher::v3::{
    ClusterAction, MatcherClusterSpecifier,
};
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::google::protobuf::UInt64Value;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig as XdsExtension;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::{MatchMap, TreeType};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{
    MatcherTree, MatcherType, OnMatch, on_match,
};

use crate::message::{any, extension, milliseconds, number, seconds, xds_extension};
use crate::{CONTROL_PLANE_HTTP, GOVERNANCE_FILTER, Gateway, Provider};

/// Name of the one route configuration.
pub const ROUTES: &str = "reeve";
/// A cluster that is nowhere: where a request goes that the governance filter has sent to no provider.
pub const NO_ATTEMPT: &str = "reeve_no_attempt";
/// So many attempts the governance filter can plan for one request.
pub const SLOTS: u8 = 4;

/// Envoy keeps count of a request's attempts here; callers' own are removed.
const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";
/// A reasoning model may be silent for many minutes before its first byte.
const PROVIDER_IDLE_TIMEOUT_S: u32 = 900;
const CONTROL_PLANE_TIMEOUT_S: u32 = 30;

/// Who the caller is stays here.
const CALLERS_PRIVATE_HEADERS: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-envoy-external-address",
    "forwarded",
    "via",
];

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

/// Key of the filter state in which the governance filter names the cluster of an attempt, from 1.
/// (The module writes it without `wasm.`, which Envoy adds.)
pub fn slot(attempt: u8) -> String {
    format!("wasm.reeve_try_{attempt}")
}

/// The one route configuration.
pub(crate) fn routes(gateway: &Gateway, providers: &[Provider]) -> RouteConfiguration {
    let host = VirtualHost {
        name: "reeve".to_owned(),
        domains: gateway.domains.clone(),
        routes: vec![
            control_plane_route(PathSpecifier::Prefix("/api/".to_owned())),
            control_plane_route(PathSpecifier::Path("/healthz".to_owned())),
            control_plane_route(PathSpecifier::Path("/readyz".to_owned())),
            provider_route(gateway, providers),
        ],
        // What the next attempt's cluster is chosen by.
        include_request_attempt_count: true,
        ..VirtualHost::default()
    };
    RouteConfiguration {
        name: ROUTES.to_owned(),
        virtual_hosts: vec![host],
        ..RouteConfiguration::default()
    }
}

/// The control plane judges its own callers; the governance filter is for LLM traffic.
fn control_plane_route(path: PathSpecifier) -> Route {
    let disabled = any(FilterConfig {
        disabled: true,
        ..FilterConfig::default()
    });
    Route {
        r#match: Some(at(path)),
        typed_per_filter_config: HashMap::from([(GOVERNANCE_FILTER.to_owned(), disabled)]),
        action: Some(Action::Route(RouteAction {
            timeout: seconds(CONTROL_PLANE_TIMEOUT_S),
            cluster_specifier: Some(ClusterSpecifier::Cluster(CONTROL_PLANE_HTTP.to_owned())),
            ..RouteAction::default()
        })),
        ..Route::default()
    }
}

/// Everything else goes where the governance filter says. A request without its word (the filter
/// failed, or was configured away) has no cluster and ends here: that is the backstop.
fn provider_route(gateway: &Gateway, providers: &[Provider]) -> Route {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Route {
        r#match: Some(at(PathSpecifier::Prefix("/".to_owned()))),
        action: Some(Action::Route(RouteAction {
            // An answer may take as long as it streams.
            timeout: seconds(0),
            idle_timeout: seconds(PROVIDER_IDLE_TIMEOUT_S),
            retry_policy: Some(retry_policy()),
            cluster_specifier: Some(ClusterSpecifier::InlineClusterSpecifierPlugin(
                ClusterSpecifierPlugin {
                    extension: Some(by_attempt(providers)),
                    is_optional: false,
                },
            )),
            ..RouteAction::default()
        })),
        // The filter holds bodies back until it has judged them, and another attempt sends them again.
        request_body_buffer_limit: Some(UInt64Value {
            value: gateway.max_request_body_bytes.into(),
        }),
        request_headers_to_remove: owned(CALLERS_PRIVATE_HEADERS),
        response_headers_to_remove: owned(PROVIDERS_PRIVATE_HEADERS),
        ..Route::default()
    }
}

fn at(path: PathSpecifier) -> RouteMatch {
    RouteMatch {
        path_specifier: Some(path),
        ..RouteMatch::default()
    }
}

/// None by itself: the governance filter says for each request how often and after what it is tried
/// again, by headers that callers cannot set.
fn retry_policy() -> RetryPolicy {
    RetryPolicy {
        num_retries: number(0),
        refresh_cluster_on_retry: true,
        // The next attempt is at another provider, which need not be spared.
        retry_back_off: Some(RetryBackOff {
            base_interval: milliseconds(5),
            max_interval: milliseconds(50),
        }),
        ..RetryPolicy::default()
    }
}

/// Chooses the cluster by the number of the attempt. At the first there is no count yet; at a later
/// one, Envoy still has the count of the one before.
fn by_attempt(providers: &[Provider]) -> TypedExtensionConfig {
    let later = (2..=SLOTS).map(|attempt| {
        let before = attempt.saturating_sub(1);
        (before.to_string(), nested(in_slot(attempt, providers)))
    });
    let beyond = (SLOTS.to_string(), to_cluster(NO_ATTEMPT));
    let count = any(HttpRequestHeaderMatchInput {
        header_name: ATTEMPT_COUNT.to_owned(),
    });
    let matcher = matcher(
        xds_extension("attempt", count),
        later.chain([beyond]).collect(),
        nested(in_slot(1, providers)),
    );
    extension(
        "envoy.router.cluster_specifier_plugin.matcher",
        MatcherClusterSpecifier {
            cluster_matcher: Some(matcher),
        },
    )
}

/// The cluster that the filter has named for an attempt; only those that are there can be named.
fn in_slot(attempt: u8, providers: &[Provider]) -> Matcher {
    let input = any(FilterStateInput {
        key: slot(attempt),
        ..FilterStateInput::default()
    });
    let clusters = providers.iter().map(|provider| {
        let name = provider.cluster();
        let action = to_cluster(&name);
        (name, action)
    });
    matcher(
        xds_extension("slot", input),
        clusters.collect(),
        to_cluster(NO_ATTEMPT),
    )
}

fn matcher(input: XdsExtension, map: HashMap<String, OnMatch>, otherwise: OnMatch) -> Matcher {
    let map = if map.is_empty() {
        // An empty map is refused; no cluster has no name.
        HashMap::from([(String::new(), otherwise.clone())])
    } else {
        map
    };
    Matcher {
        on_no_match: Some(Box::new(otherwise)),
        matcher_type: Some(MatcherType::MatcherTree(MatcherTree {
            input: Some(input),
            tree_type: Some(TreeType::ExactMatchMap(MatchMap { map })),
        })),
    }
}

fn nested(matcher: Matcher) -> OnMatch {
    OnMatch {
        on_match: Some(on_match::OnMatch::Matcher(Box::new(matcher))),
        ..OnMatch::default()
    }
}

fn to_cluster(name: &str) -> OnMatch {
    let action = any(ClusterAction {
        cluster: name.to_owned(),
    });
    OnMatch {
        on_match: Some(on_match::OnMatch::Action(xds_extension("cluster", action))),
        ..OnMatch::default()
    }
}
