use std::path::Path;

use reeve_xds::{CONTROL_PLANE_GRPC, CONTROL_PLANE_HTTP};
use serde_json::{Value, json};

use super::Gateway;
use crate::node_identity::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE, SERVER_NAME};

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The control plane's two clusters. All others come by ADS.
pub(super) fn control_plane(gateway: &Gateway) -> Vec<Value> {
    vec![
        local(
            CONTROL_PLANE_HTTP,
            gateway.http_port,
            &json!({"http_protocol_options": {}}),
        ),
        grpc(gateway),
    ]
}

fn grpc(gateway: &Gateway) -> Value {
    let mut cluster = local(
        CONTROL_PLANE_GRPC,
        gateway.grpc_port,
        &json!({"http2_protocol_options": {
            // Notices a control plane that hangs without closing its connection.
            "connection_keepalive": {"interval": "5s", "timeout": "2s"},
        }}),
    );
    if let (Some(directory), Some(cluster)) = (&gateway.credentials, cluster.as_object_mut()) {
        cluster.insert("transport_socket".to_owned(), mutual_tls(directory));
    }
    cluster
}

/// Each side shows who it is, and both trust the control plane's own authority alone.
fn mutual_tls(directory: &Path) -> Value {
    let file = |name: &str| json!({"filename": directory.join(name)});
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": SERVER_NAME,
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                // (Envoy's own maximum is 1.2 towards servers.)
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_3",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificates": [{
                    "certificate_chain": file(CERTIFICATE_FILE),
                    "private_key": file(KEY_FILE),
                }],
                "validation_context": {
                    "trusted_ca": file(AUTHORITY_FILE),
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": SERVER_NAME}},
                    ],
                },
            },
        },
    })
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
