//! What Envoy gets from the control plane, all on one stream.

use reeve_xds::CONTROL_PLANE_GRPC;
use serde_json::{Value, json};

/// The stream, and that clusters come by it.
pub(super) fn dynamic_resources() -> Value {
    json!({
        "ads_config": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{"envoy_grpc": {
                "cluster_name": CONTROL_PLANE_GRPC,
                // By default Envoy waits up to 30 s before it tries again.
                "retry_policy": {"retry_back_off": {
                    "base_interval": "0.1s",
                    "max_interval": "1s",
                }},
            }}],
        },
        "cds_config": ads(),
    })
}

/// A resource that comes by that stream. Envoy waits for it as long as it takes: it must not begin to
/// serve without, which it would do after 15 seconds.
pub(super) fn ads() -> Value {
    json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"})
}
