use reeve_xds::{RUNTIME, SYNC, VM_ID};
use serde_json::{Value, json};

use super::Gateway;

/// `envoy.extensions.wasm.v3.PluginConfig` of the role that holds the policy stream, on the main
/// thread. The other roles come by ADS (`reeve_xds`), and must say the same of the VM: it is shared.
pub(super) fn sync(gateway: &Gateway) -> Value {
    json!({
        "name": format!("reeve_{SYNC}"),
        "root_id": SYNC,
        "vm_config": {
            "vm_id": VM_ID,
            "runtime": RUNTIME,
            "code": {"local": {"filename": gateway.filter}},
        },
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": reeve_xds::configuration(),
        },
        "failure_policy": "FAIL_RELOAD",
        "reload_config": {"backoff": {"base_interval": "0.1s"}},
        "allow_on_headers_stop_iteration": true,
    })
}
