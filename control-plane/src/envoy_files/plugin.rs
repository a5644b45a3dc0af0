use serde_json::{Value, json};

use super::{CONTROL_PLANE_GRPC, Gateway};

/// The three parts that the one filter module plays; the module asks for its `root_id`.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// Holds the policy stream, on the main thread.
    Sync,
    /// Judges requests.
    Governance,
    /// Readies each attempt for its provider.
    Attempt,
}

impl Role {
    fn root_id(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Governance => "governance",
            Self::Attempt => "attempt",
        }
    }
}

/// `envoy.extensions.wasm.v3.PluginConfig` of a role.
///
/// `vm_id` is the same for all: it decides which VMs see each other's shared data, and one worker
/// then runs one VM for both of its roles. The configuration is the same for all too, because a
/// worker's `governance` takes the `sync` role over when the singleton is gone.
pub(super) fn config(gateway: &Gateway, role: Role) -> Value {
    let configuration = json!({
        "node_id": gateway.node_id,
        "policy_cluster": CONTROL_PLANE_GRPC,
    });
    json!({
        "name": format!("reeve_{}", role.root_id()),
        "root_id": role.root_id(),
        "vm_config": {
            "vm_id": "reeve",
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": gateway.filter}},
        },
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": configuration.to_string(),
        },
        // A trap costs the requests in flight and 0.1 s; never an ungoverned request (FAIL_OPEN),
        // never a worker that answers 503 for ever (FAIL_CLOSED).
        "failure_policy": "FAIL_RELOAD",
        "reload_config": {"backoff": {"base_interval": "0.1s"}},
        // Without it a filter that holds the headers back never sees the body.
        "allow_on_headers_stop_iteration": true,
    })
}

/// The HTTP filter of a role.
pub(super) fn http_filter(gateway: &Gateway, name: &str, role: Role) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": config(gateway, role),
        },
    })
}
