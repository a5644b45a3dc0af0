use serde_json::{Value, json};

use super::{Gateway, clusters, discovery, listener, observability, plugin};

/// Beyond this Envoy gives memory back, then refuses work; the process is not left to the
/// kernel's out-of-memory killer. 2 GiB hold some 60 bodies of the largest size at once.
const MAX_HEAP_BYTES: u64 = 2 << 30;
const MAX_CONNECTIONS: u32 = 20_000;

/// `envoy.config.bootstrap.v3.Bootstrap`.
pub(super) fn bootstrap(gateway: &Gateway) -> Value {
    json!({
        "node": {"id": gateway.node_id, "cluster": gateway.node_cluster},
        "admin": admin(gateway),
        "static_resources": {
            "listeners": [listener::listener(gateway)],
            "clusters": clusters::control_plane(gateway),
        },
        "dynamic_resources": discovery::dynamic_resources(),
        "bootstrap_extensions": [{
            "name": "envoy.bootstrap.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService",
                "singleton": true,
                "config": plugin::sync(gateway),
            },
        }],
        "overload_manager": overload_manager(),
        "stats_config": observability::stats_config(),
    })
}

/// Read-only and on loopback. A web page cannot be kept from sending requests to loopback ports,
/// so what changes the process (`/quitquitquit`, `/runtime_modify`, ...) is not there at all.
fn admin(gateway: &Gateway) -> Value {
    const READ_ONLY: &[&str] = &[
        "/ready",
        "/stats",
        "/clusters",
        "/listeners",
        "/config_dump",
        "/init_dump",
        "/server_info",
        "/memory",
        "/certs",
    ];
    let allow: Vec<Value> = READ_ONLY
        .iter()
        .map(|path| json!({"prefix": path}))
        .collect();
    json!({
        "address": {
            "socket_address": {"address": "127.0.0.1", "port_value": gateway.admin_port},
        },
        "allow_paths": allow,
        // The way in must stay open when callers hold every connection.
        "ignore_global_conn_limit": true,
    })
}

fn overload_manager() -> Value {
    let heap_above = |value: f64| {
        json!([{
            "name": "envoy.resource_monitors.fixed_heap",
            "threshold": {"value": value},
        }])
    };
    json!({
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": MAX_HEAP_BYTES,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MAX_CONNECTIONS,
                },
            },
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": heap_above(0.9)},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": heap_above(0.95)},
            {
                "name": "envoy.overload_actions.stop_accepting_connections",
                "triggers": heap_above(0.98),
            },
        ],
    })
}
