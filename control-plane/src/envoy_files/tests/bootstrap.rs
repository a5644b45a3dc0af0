//! The bootstrap.

use serde_json::{Value, json};

use super::*;

fn bootstrap() -> Value {
    let files = render(&Input {
        gateway: gateway(),
        providers: vec![openai()],
    });
    serde_json::from_str(&files.bootstrap).unwrap()
}

fn connection_manager(bootstrap: &Value) -> &Value {
    bootstrap
        .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
        .unwrap()
}

fn routes(bootstrap: &Value) -> &Vec<Value> {
    let path = "/route_config/virtual_hosts/0/routes";
    connection_manager(bootstrap)
        .pointer(path)
        .unwrap()
        .as_array()
        .unwrap()
}

#[test]
fn every_socket_of_envoy_is_on_loopback() {
    let bootstrap = bootstrap();
    let addresses = [
        "/admin/address/socket_address/address",
        "/static_resources/listeners/0/address/socket_address/address",
    ];
    for address in addresses {
        assert_eq!(
            bootstrap.pointer(address),
            Some(&json!("127.0.0.1")),
            "{address}"
        );
    }
}

#[test]
fn the_connection_manager_is_hardened() {
    let bootstrap = bootstrap();
    assert_fields(
        connection_manager(&bootstrap),
        &[
            ("/use_remote_address", json!(true)),
            (
                "/internal_address_config/cidr_ranges/0/address_prefix",
                json!("255.255.255.255"),
            ),
            (
                "/internal_address_config/cidr_ranges/0/prefix_len",
                json!(32),
            ),
            ("/generate_request_id", json!(true)),
            ("/preserve_external_request_id", json!(false)),
            ("/always_set_request_id_in_response", json!(true)),
            ("/server_header_transformation", json!("OVERWRITE")),
            ("/normalize_path", json!(true)),
            ("/merge_slashes", json!(true)),
            ("/path_with_escaped_slashes_action", json!("REJECT_REQUEST")),
            ("/strip_any_host_port", json!(true)),
            ("/max_request_headers_kb", json!(60)),
            ("/request_headers_timeout", json!("5s")),
            ("/request_timeout", json!("60s")),
            ("/stream_idle_timeout", json!("300s")),
            ("/common_http_protocol_options/idle_timeout", json!("300s")),
            (
                "/common_http_protocol_options/max_headers_count",
                json!(100),
            ),
            (
                "/common_http_protocol_options/headers_with_underscores_action",
                json!("REJECT_REQUEST"),
            ),
            ("/http_protocol_options/allow_absolute_url", json!(false)),
            ("/http2_protocol_options/max_concurrent_streams", json!(100)),
            (
                "/http2_protocol_options/initial_stream_window_size",
                json!(65_536),
            ),
            (
                "/http2_protocol_options/initial_connection_window_size",
                json!(1_048_576),
            ),
        ],
    );
    // WebSocket and CONNECT would carry traffic that nobody judges.
    assert_eq!(connection_manager(&bootstrap).get("upgrade_configs"), None);
}

#[test]
fn reserved_headers_of_callers_are_removed_before_any_filter() {
    let bootstrap = bootstrap();
    let mutations = connection_manager(&bootstrap)
        .pointer("/early_header_mutation_extensions/0/typed_config/mutations")
        .unwrap();
    for (position, prefix) in ["x-reeve-", "x-envoy-"].iter().enumerate() {
        assert_eq!(
            mutations[position]["remove_on_match"]["key_matcher"],
            json!({"prefix": prefix, "ignore_case": true})
        );
    }
    assert_fields(
        connection_manager(&bootstrap),
        &[(
            "/route_config/internal_only_headers",
            json!([CLUSTER_HEADER]),
        )],
    );
}

#[test]
fn the_listener_and_the_process_have_limits() {
    assert_fields(
        &bootstrap(),
        &[
            (
                "/static_resources/listeners/0/enable_reuse_port",
                json!(false),
            ),
            (
                "/static_resources/listeners/0/per_connection_buffer_limit_bytes",
                json!(1_048_576),
            ),
            (
                "/overload_manager/resource_monitors/0/typed_config/max_heap_size_bytes",
                json!(2_147_483_648_u64),
            ),
            (
                "/overload_manager/resource_monitors/1/typed_config/max_active_downstream_connections",
                json!(20_000),
            ),
            (
                "/overload_manager/actions/1/name",
                json!("envoy.overload_actions.stop_accepting_requests"),
            ),
            ("/admin/ignore_global_conn_limit", json!(true)),
        ],
    );
}

#[test]
fn the_admin_interface_offers_nothing_that_changes_the_process() {
    let bootstrap = bootstrap();
    let allowed = bootstrap
        .pointer("/admin/allow_paths")
        .unwrap()
        .as_array()
        .unwrap();
    assert!(!allowed.is_empty(), "an empty list would allow everything");
    let changing = [
        "/quitquitquit",
        "/runtime_modify",
        "/logging",
        "/healthcheck/fail",
        "/drain",
    ];
    for path in changing {
        let open = allowed
            .iter()
            .any(|allow| path.starts_with(allow["prefix"].as_str().unwrap()));
        assert!(!open, "{path}");
    }
}

#[test]
fn every_filter_is_reloaded_after_a_trap_and_sees_bodies() {
    let bootstrap = bootstrap();
    let attempt = cluster(openai());
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let plugins = [
        connection_manager(&bootstrap)
            .pointer("/http_filters/0/typed_config/config")
            .unwrap(),
        bootstrap
            .pointer("/bootstrap_extensions/0/typed_config/config")
            .unwrap(),
        &attempt["typed_extension_protocol_options"][protocol]["http_filters"][0]["typed_config"]["config"],
    ];
    for (plugin, root_id) in plugins.into_iter().zip(["governance", "sync", "attempt"]) {
        assert_fields(
            plugin,
            &[
                ("/root_id", json!(root_id)),
                ("/vm_config/vm_id", json!("reeve")),
                (
                    "/vm_config/code/local/filename",
                    json!("/usr/lib/reeve/reeve_filter.wasm"),
                ),
                ("/failure_policy", json!("FAIL_RELOAD")),
                ("/reload_config/backoff/base_interval", json!("0.1s")),
                ("/allow_on_headers_stop_iteration", json!(true)),
            ],
        );
        let configuration = plugin
            .pointer("/configuration/value")
            .unwrap()
            .as_str()
            .unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(configuration).unwrap(),
            json!({"node_id": "envoy-1", "policy_cluster": CONTROL_PLANE_GRPC})
        );
    }
    assert_fields(
        &bootstrap,
        &[(
            "/bootstrap_extensions/0/typed_config/singleton",
            json!(true),
        )],
    );
}

#[test]
fn only_the_filter_can_send_a_request_to_a_provider() {
    let bootstrap = bootstrap();
    let (last, others) = routes(&bootstrap).split_last().unwrap();
    assert_fields(
        last,
        &[
            ("/match", json!({"prefix": "/"})),
            ("/route/cluster_header", json!(CLUSTER_HEADER)),
            ("/route/timeout", json!("0s")),
            ("/route/idle_timeout", json!("900s")),
            ("/request_body_buffer_limit", json!(33_554_432)),
        ],
    );
    assert_eq!(
        last.get("typed_per_filter_config"),
        None,
        "the filter judges every such request"
    );
    let removed = last["request_headers_to_remove"].as_array().unwrap();
    assert!(removed.contains(&json!(CLUSTER_HEADER)));
    assert!(removed.contains(&json!("x-forwarded-for")));
    for route in others {
        assert_fields(
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
fn callers_do_not_learn_whose_account_pays() {
    let bootstrap = bootstrap();
    let removed = routes(&bootstrap).last().unwrap()["response_headers_to_remove"].clone();
    for header in [
        "openai-organization",
        "anthropic-organization-id",
        "set-cookie",
        "alt-svc",
    ] {
        assert!(
            removed.as_array().unwrap().contains(&json!(header)),
            "{header}"
        );
    }
}

#[test]
fn a_policy_stream_that_hangs_is_noticed() {
    let bootstrap = bootstrap();
    let clusters = bootstrap
        .pointer("/static_resources/clusters")
        .unwrap()
        .as_array()
        .unwrap();
    let policy = clusters
        .iter()
        .find(|cluster| cluster["name"] == CONTROL_PLANE_GRPC)
        .unwrap();
    assert_eq!(
        policy["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
            ["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"],
        json!({"interval": "5s", "timeout": "2s"})
    );
}

#[test]
fn the_commented_example_is_what_is_rendered() {
    let example = include_str!("../../../../envoy/bootstrap.example.yaml");
    let json: String = example
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let example: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(example, bootstrap(), "update envoy/bootstrap.example.yaml");
}
