use reeve_xds::{CONTROL_PLANE_GRPC, CONTROL_PLANE_HTTP};
use serde_json::{Value, json};

use super::Gateway;

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The control plane's two clusters. All others come by ADS.
pub(super) fn control_plane(gateway: &Gateway) -> Vec<Value> {
    vec![
        local(
            CONTROL_PLANE_HTTP,
            gateway.http_port,
            &json!({"http_protocol_options": {}}),
        ),
        local(
            CONTROL_PLANE_GRPC,
            gateway.grpc_port,
            &json!({"http2_protocol_options": {
                // Notices a control plane that hangs without closing its connection.
                "connection_keepalive": {"interval": "5s", "timeout": "2s"},
            }}),
        ),
    ]
}

fn local(name: &str, port: u16, protocol: &Value) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            HTTP_PROTOCOL_OPTIONS: {
                "@type": format!("type.googleapis.com/{HTTP_PROTOCOL_OPTIONS}"),
                "explicit_http_config": protocol,
            },
        },
    })
}
