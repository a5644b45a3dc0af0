//! The routes: who decides where a request goes, and what callers and providers learn of each other.

use serde_json::{Value, json};

use super::*;

fn routes(providers: Vec<Provider>) -> Vec<Value> {
    let files = render(&Input {
        gateway: gateway(),
        providers,
    });
    let file: Value = serde_json::from_str(&files.routes).unwrap();
    let host = &file["resources"][0]["virtual_hosts"][0];
    assert_eq!(host["include_request_attempt_count"], true);
    host["routes"].as_array().unwrap().clone()
}

/// Where the matcher leads: what each attempt asks for, and the clusters that it can find.
fn attempts(route: &Value) -> Vec<(String, Vec<String>)> {
    let matcher = route
        .pointer("/route/inline_cluster_specifier_plugin/extension/typed_config/cluster_matcher")
        .unwrap();
    let tree = "/matcher_tree/exact_match_map/map";
    let map = |value: &Value| value.pointer(tree).unwrap().as_object().unwrap().clone();
    let later = map(matcher);
    let counts: Vec<&str> = later.keys().map(String::as_str).collect();
    assert_eq!(counts, ["1", "2", "3"]);
    let first = std::iter::once(&matcher["on_no_match"]);
    first
        .chain(later.values())
        .map(|attempt| {
            let inner = &attempt["matcher"];
            let cluster = |value: &Value| {
                let cluster = value.pointer("/action/typed_config/cluster").unwrap();
                cluster.as_str().unwrap().to_owned()
            };
            assert_eq!(cluster(&inner["on_no_match"]), NOBODY);
            let key = inner
                .pointer("/matcher_tree/input/typed_config/key")
                .unwrap();
            let clusters = map(inner);
            for (name, to) in &clusters {
                assert_eq!(*name, cluster(to));
            }
            (
                key.as_str().unwrap().to_owned(),
                clusters.keys().cloned().collect(),
            )
        })
        .collect()
}

#[test]
fn only_the_filter_can_send_a_request_to_a_provider() {
    let routes = routes(vec![openai()]);
    let (last, others) = routes.split_last().unwrap();
    assert_fields(
        "the route to providers",
        last,
        &[
            ("/match", json!({"prefix": "/"})),
            ("/route/timeout", json!("0s")),
            ("/route/idle_timeout", json!("900s")),
            ("/route/retry_policy/num_retries", json!(0)),
            ("/route/retry_policy/refresh_cluster_on_retry", json!(true)),
            ("/request_body_buffer_limit", json!(33_554_432)),
        ],
    );
    assert_eq!(
        last.pointer("/route/retry_policy/retry_on"),
        None,
        "the filter says"
    );
    assert_eq!(
        last.get("typed_per_filter_config"),
        None,
        "the filter judges every such request"
    );
    let removed = last["request_headers_to_remove"].as_array().unwrap();
    assert!(removed.contains(&json!("x-forwarded-for")));
    let known = vec!["provider_openai".to_owned(), NOBODY.to_owned()];
    let expected = [1, 2, 3, 4].map(|attempt| (format!("wasm.reeve_try_{attempt}"), known.clone()));
    assert_eq!(attempts(last), expected);
    for route in others {
        assert_fields(
            "a route to the control plane",
            route,
            &[
                ("/route/cluster", json!(CONTROL_PLANE_HTTP)),
                (
                    "/typed_per_filter_config/reeve.governance/disabled",
                    json!(true),
                ),
            ],
        );
    }
    let paths: Vec<&Value> = others.iter().map(|route| &route["match"]).collect();
    let expected = [
        json!({"prefix": "/api/"}),
        json!({"path": "/healthz"}),
        json!({"path": "/readyz"}),
    ];
    assert_eq!(paths, expected.iter().collect::<Vec<_>>());
}

#[test]
fn without_providers_there_is_nobody_to_send_to() {
    let routes = routes(Vec::new());
    for (_, clusters) in attempts(routes.last().unwrap()) {
        assert_eq!(clusters, [NOBODY]);
    }
}

#[test]
fn callers_do_not_learn_whose_account_pays() {
    let routes = routes(vec![openai()]);
    let removed = routes.last().unwrap()["response_headers_to_remove"].clone();
    for header in [
        "openai-organization",
        "anthropic-organization-id",
        "set-cookie",
        "location",
        "alt-svc",
    ] {
        assert!(
            removed.as_array().unwrap().contains(&json!(header)),
            "{header}"
        );
    }
}
