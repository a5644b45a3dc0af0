use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    FilterConfig, Route, RouteAction, RouteConfiguration, VirtualHost,
};
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::FilterStateInput;
use envoy_types::pb::envoy::extensions::router::cluster_specifiers::matcher::v3::{
    ClusterAction, MatcherClusterSpecifier,
};
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::google::protobuf::Duration;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::TreeType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch, on_match};

use super::*;

fn virtual_host(providers: &[Provider]) -> VirtualHost {
    let snapshot = first(providers);
    let set = snapshot.set(ResourceType::Routes).unwrap();
    assert_eq!(names(&snapshot, ResourceType::Routes), [ROUTES]);
    let routes: RouteConfiguration = decoded(&set.resources[ROUTES]);
    let [host] = routes.virtual_hosts.try_into().unwrap();
    host
}

fn action(route: &Route) -> &RouteAction {
    match route.action.as_ref() {
        Some(Action::Route(action)) => action,
        other => panic!("{other:?}"),
    }
}

fn provider_route(providers: &[Provider]) -> Route {
    virtual_host(providers).routes.pop().unwrap()
}

/// The cluster of a request whose Envoy has counted so many attempts, and for which the filter has
/// named these clusters. As Envoy evaluates it.
fn chosen(providers: &[Provider], count: Option<&str>, named: &[(u8, &str)]) -> String {
    let route = provider_route(providers);
    let specifier = action(&route).cluster_specifier.clone().unwrap();
    let ClusterSpecifier::InlineClusterSpecifierPlugin(plugin) = specifier else {
        panic!("{specifier:?}");
    };
    let config = plugin.extension.unwrap().typed_config.unwrap();
    let specifier: MatcherClusterSpecifier = decoded(&config);
    evaluated(specifier.cluster_matcher.unwrap(), count, named)
}

fn evaluated(matcher: Matcher, count: Option<&str>, named: &[(u8, &str)]) -> String {
    let Some(MatcherType::MatcherTree(tree)) = matcher.matcher_type else {
        panic!("not a tree");
    };
    let input = tree.input.unwrap().typed_config.unwrap();
    let value = if input.type_url == FilterStateInput::type_url() {
        let key = decoded::<FilterStateInput>(&input).key;
        let of_slot = named.iter().find(|(attempt, _)| slot(*attempt) == key);
        of_slot.map(|(_, cluster)| *cluster)
    } else {
        let header = decoded::<HttpRequestHeaderMatchInput>(&input).header_name;
        assert_eq!(header, "x-envoy-attempt-count");
        count
    };
    let Some(TreeType::ExactMatchMap(map)) = tree.tree_type else {
        panic!("not a map");
    };
    assert!(!map.map.is_empty(), "Envoy refuses an empty map");
    let found = value.and_then(|value| map.map.get(value).cloned());
    let OnMatch { on_match, .. } = found.unwrap_or_else(|| *matcher.on_no_match.unwrap());
    match on_match.unwrap() {
        on_match::OnMatch::Matcher(inner) => evaluated(*inner, count, named),
        on_match::OnMatch::Action(action) => {
            decoded::<ClusterAction>(&action.typed_config.unwrap()).cluster
        }
    }
}

#[test]
fn a_request_that_nobody_judged_goes_nowhere() {
    for providers in [vec![], vec![openai(), named("groq")]] {
        for count in [None, Some(""), Some("1"), Some("3"), Some("99"), Some("x")] {
            assert_eq!(chosen(&providers, count, &[]), NO_ATTEMPT);
            // Words that are not the filter's, or name no provider.
            for cluster in [
                "",
                "control_plane_http",
                "reeve_no_attempt",
                "provider_gone",
            ] {
                let named = [1, 2, 3, 4].map(|attempt| (attempt, cluster));
                assert_eq!(chosen(&providers, count, &named), NO_ATTEMPT);
            }
        }
    }
}

#[test]
fn each_attempt_goes_where_the_filter_says() {
    let providers = ["a", "b", "c", "d"].map(named);
    let slots = [
        (1, "provider_d"),
        (2, "provider_b"),
        (3, "provider_a"),
        (4, "provider_c"),
    ];
    for (count, cluster) in [
        (None, "provider_d"),
        (Some("1"), "provider_b"),
        (Some("2"), "provider_a"),
        (Some("3"), "provider_c"),
        (Some("4"), NO_ATTEMPT),
    ] {
        assert_eq!(chosen(&providers, count, &slots), cluster, "{count:?}");
    }
    assert_eq!(chosen(&providers, Some("2"), &slots[..2]), NO_ATTEMPT);
    let bound = [openai(), bound("k1")];
    for cluster in ["provider_openai", "provider_openai__k1"] {
        assert_eq!(chosen(&bound, None, &[(1, cluster)]), cluster);
    }
    assert_eq!(slot(1), "wasm.reeve_try_1");
}

#[test]
fn only_the_filter_can_have_a_request_tried_again() {
    let host = virtual_host(&[openai()]);
    assert!(host.include_request_attempt_count);
    assert_eq!(host.retry_policy, None);
    let route = host.routes.last().unwrap();
    let policy = action(route).retry_policy.clone().unwrap();
    assert_eq!(policy.num_retries.unwrap().value, 0);
    assert!(policy.refresh_cluster_on_retry);
    assert!(policy.retriable_status_codes.is_empty());
    assert_eq!(
        policy.retry_on, "",
        "Envoy would add it to what the filter says"
    );
    assert_eq!(policy.per_try_timeout, None);
}

#[test]
fn an_answer_may_take_its_time_and_a_body_its_room() {
    let route = provider_route(&[openai()]);
    let seconds = |seconds| Duration { seconds, nanos: 0 };
    assert_eq!(action(&route).timeout, Some(seconds(0)));
    assert_eq!(action(&route).idle_timeout, Some(seconds(900)));
    assert_eq!(route.request_body_buffer_limit.unwrap().value, 33_554_432);
    let path = route.r#match.unwrap().path_specifier;
    assert_eq!(path, Some(PathSpecifier::Prefix("/".to_owned())));
    assert!(
        route.typed_per_filter_config.is_empty(),
        "the filter judges"
    );
}

#[test]
fn who_asks_and_whose_account_pays_stays_here() {
    let route = provider_route(&[openai()]);
    for header in ["x-forwarded-for", "x-forwarded-proto", "via"] {
        assert!(
            route
                .request_headers_to_remove
                .iter()
                .any(|it| it == header)
        );
    }
    for header in [
        "openai-organization",
        "anthropic-organization-id",
        "set-cookie",
        "location",
        "alt-svc",
    ] {
        assert!(
            route
                .response_headers_to_remove
                .iter()
                .any(|it| it == header),
            "{header}"
        );
    }
}

#[test]
fn the_admin_api_is_not_llm_traffic_and_nothing_else_passes_the_filter_by() {
    let host = virtual_host(&[openai()]);
    assert_eq!(host.domains, ["localhost"]);
    let (_, others) = host.routes.split_last().unwrap();
    let mut paths = Vec::new();
    for route in others {
        let cluster = action(route).cluster_specifier.clone();
        let control_plane = ClusterSpecifier::Cluster(CONTROL_PLANE_HTTP.to_owned());
        assert_eq!(cluster, Some(control_plane));
        let off: FilterConfig = decoded(&route.typed_per_filter_config[GOVERNANCE_FILTER]);
        assert!(off.disabled);
        paths.push(route.r#match.clone().unwrap().path_specifier.unwrap());
    }
    let exactly = |path: &str| PathSpecifier::Path(path.to_owned());
    let api = PathSpecifier::Prefix("/api/".to_owned());
    assert_eq!(paths, [api, exactly("/healthz"), exactly("/readyz")]);
}
