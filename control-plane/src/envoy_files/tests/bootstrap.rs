//! The bootstrap: what is rendered, and every file of configuration below `envoy/`, so that nobody
//! copies one that lacks something.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn bootstrap() -> Value {
    rendered(gateway())
}

fn rendered(gateway: Gateway) -> Value {
    let files = render(&Input {
        gateway,
        providers: vec![openai()],
    });
    serde_json::from_str(&files.bootstrap).unwrap()
}

/// Every bootstrap that Reeve ships, by a name for messages.
fn shipped() -> Vec<(String, Value)> {
    let open = Gateway {
        domains: vec!["*".to_owned()],
        ..gateway()
    };
    let mut shipped = vec![
        ("rendered with --dev".to_owned(), bootstrap()),
        ("rendered".to_owned(), rendered(open)),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            shipped.push((name, without_comments(&fs::read_to_string(&path).unwrap())));
        }
    }
    assert!(shipped.len() > 2, "there is an example");
    shipped
}

/// YAML in flow style with comment lines of their own: what is left without them is JSON.
fn without_comments(yaml: &str) -> Value {
    let json: String = yaml
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    serde_json::from_str(&json).unwrap()
}

fn connection_manager(bootstrap: &Value) -> &Value {
    bootstrap
        .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
        .unwrap()
}

/// Every member of an object anywhere in it.
fn members(value: &Value) -> Vec<(&String, &Value)> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|member| [vec![member], members(member.1)].concat())
            .collect(),
        Value::Array(array) => array.iter().flat_map(members).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_socket_of_envoy_is_on_loopback() {
    for (file, bootstrap) in shipped() {
        let sockets: Vec<_> = members(&bootstrap)
            .into_iter()
            .filter(|(name, _)| *name == "socket_address")
            .collect();
        assert!(sockets.len() >= 4, "{file}");
        for (_, socket) in sockets {
            assert_eq!(socket["address"], "127.0.0.1", "{file}");
        }
    }
}

#[test]
fn every_connection_manager_is_hardened() {
    for (file, bootstrap) in shipped() {
        assert_fields(
            &file,
            connection_manager(&bootstrap),
            &[
                ("/codec_type", json!("AUTO")),
                ("/use_remote_address", json!(true)),
                (
                    "/internal_address_config/cidr_ranges",
                    json!([{"address_prefix": "255.255.255.255", "prefix_len": 32}]),
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
                ("/delayed_close_timeout", json!("1s")),
                (
                    "/common_http_protocol_options",
                    json!({
                        "idle_timeout": "300s",
                        "max_headers_count": 100,
                        "headers_with_underscores_action": "REJECT_REQUEST",
                    }),
                ),
                (
                    "/http_protocol_options",
                    json!({"allow_absolute_url": false}),
                ),
                (
                    "/http2_protocol_options",
                    json!({
                        "max_concurrent_streams": 100,
                        "initial_stream_window_size": 65_536,
                        "initial_connection_window_size": 1_048_576,
                        "connection_keepalive": {"interval": "30s", "timeout": "10s"},
                    }),
                ),
            ],
        );
    }
}

#[test]
fn nothing_that_softens_envoy_is_anywhere() {
    // WebSocket and CONNECT would carry traffic that nobody judges; the others let HTTP be read in
    // more than one way, or let a caller bring what is Envoy's to say.
    const SOFT: &[&str] = &[
        "upgrade_configs",
        "allow_connect",
        "proxy_100_continue",
        "accept_http_10",
        "enable_trailers",
        "allow_chunked_length",
        "allow_custom_methods",
        "override_stream_error_on_invalid_http_message",
        "header_key_format",
        "append_x_forwarded_port",
        "skip_xff_append",
        "xff_num_trusted_hops",
        "original_ip_detection_extensions",
        "scheme_header_transformation",
        "proxy_protocol_config",
        "layered_runtime",
        "FAIL_OPEN",
        "FAIL_CLOSED",
    ];
    for (file, bootstrap) in shipped() {
        for (name, value) in members(&bootstrap) {
            assert!(!SOFT.contains(&name.as_str()), "{file}: {name}");
            let text = value.as_str().unwrap_or_default();
            assert!(!SOFT.contains(&text), "{file}: {name}: {text}");
        }
    }
}

#[test]
fn reserved_headers_of_callers_are_removed_before_any_filter() {
    for (file, bootstrap) in shipped() {
        let removed = |prefix: &str| json!({"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": true}}});
        assert_fields(
            &file,
            connection_manager(&bootstrap),
            &[(
                "/early_header_mutation_extensions/0/typed_config/mutations",
                json!([removed("x-reeve-"), removed("x-envoy-")]),
            )],
        );
    }
}

#[test]
fn the_listener_and_the_process_have_limits() {
    for (file, bootstrap) in shipped() {
        assert_fields(
            &file,
            &bootstrap,
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
                (
                    "/overload_manager/actions/2/name",
                    json!("envoy.overload_actions.stop_accepting_connections"),
                ),
                ("/admin/ignore_global_conn_limit", json!(true)),
            ],
        );
        let listeners = bootstrap.pointer("/static_resources/listeners").unwrap();
        assert_eq!(listeners.as_array().unwrap().len(), 1, "{file}");
    }
}

#[test]
fn the_admin_interface_offers_nothing_that_changes_the_process() {
    let changing = [
        "/quitquitquit",
        "/runtime_modify",
        "/logging",
        "/healthcheck/fail",
        "/drain",
    ];
    for (file, bootstrap) in shipped() {
        let allowed = bootstrap.pointer("/admin/allow_paths").unwrap();
        let allowed = allowed.as_array().unwrap();
        assert!(!allowed.is_empty(), "an empty list would allow everything");
        for path in changing {
            let open = allowed
                .iter()
                .any(|allow| path.starts_with(allow["prefix"].as_str().unwrap()));
            assert!(!open, "{file}: {path}");
        }
    }
}

#[test]
fn every_filter_is_reloaded_after_a_trap_and_sees_bodies() {
    const PROTOCOL: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let attempt = cluster(openai());
    let attempt = &attempt["typed_extension_protocol_options"][PROTOCOL]["http_filters"][1]["typed_config"]
        ["config"];
    let configuration = json!({"node_id": "envoy-1", "policy_cluster": CONTROL_PLANE_GRPC});
    for (file, bootstrap) in shipped() {
        let plugins = [
            connection_manager(&bootstrap)
                .pointer("/http_filters/0/typed_config/config")
                .unwrap(),
            bootstrap
                .pointer("/bootstrap_extensions/0/typed_config/config")
                .unwrap(),
            attempt,
        ];
        for (plugin, root_id) in plugins.into_iter().zip(["governance", "sync", "attempt"]) {
            assert_fields(
                &file,
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
            let given = plugin.pointer("/configuration/value").unwrap();
            let given: Value = serde_json::from_str(given.as_str().unwrap()).unwrap();
            assert_eq!(given, configuration, "{file}");
        }
        assert_fields(
            &file,
            &bootstrap,
            &[(
                "/bootstrap_extensions/0/typed_config/singleton",
                json!(true),
            )],
        );
    }
}

#[test]
fn the_governance_filter_comes_first_and_the_router_last() {
    for (file, bootstrap) in shipped() {
        let filters = connection_manager(&bootstrap)["http_filters"].as_array();
        let names: Vec<_> = filters.unwrap().iter().map(|f| &f["name"]).collect();
        assert_eq!(names.first().unwrap(), &"reeve.governance", "{file}");
        assert_eq!(
            names.last().unwrap(),
            &"envoy.filters.http.router",
            "{file}"
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
    let example = without_comments(include_str!("../../../../envoy/bootstrap.example.yaml"));
    let rendered = bootstrap();
    assert_eq!(
        differences("", &example, &rendered),
        Vec::<String>::new(),
        "update envoy/bootstrap.example.yaml"
    );
}

/// Where two documents differ, as JSON pointers, with what each has there.
fn differences(at: &str, left: &Value, right: &Value) -> Vec<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            names
                .into_iter()
                .flat_map(|name| differences(&format!("{at}/{name}"), &left[name], &right[name]))
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .flat_map(|(index, (a, b))| differences(&format!("{at}/{index}"), a, b))
            .collect(),
        _ if left == right => Vec::new(),
        _ => vec![format!("{at}: {left} and {right}")],
    }
}
