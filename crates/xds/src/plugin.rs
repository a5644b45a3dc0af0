use std::path::Path;

use envoy_types::pb::envoy::config::core::v3::async_data_source::Specifier as Async;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, BackoffStrategy, DataSource, TypedExtensionConfig,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm;
use envoy_types::pb::envoy::extensions::wasm::v3::{
    FailurePolicy, PluginConfig, ReloadConfig, VmConfig,
};
use envoy_types::pb::google::protobuf::StringValue;
use serde_json::json;

use crate::CONTROL_PLANE_GRPC;
use crate::message::{any, extension, milliseconds, yes};

/// `root_id` of the role that holds the policy stream, on the main thread.
pub const SYNC: &str = "sync";
/// `root_id` of the role that judges requests.
pub const GOVERNANCE: &str = "governance";
/// `root_id` of the role that readies each attempt for its provider.
pub const ATTEMPT: &str = "attempt";

/// The same for all roles: it decides which VMs see each other's shared data, and one worker then runs
/// one VM for both of its roles.
pub const VM_ID: &str = "reeve";
/// The only one that is in every Envoy.
pub const RUNTIME: &str = "envoy.wasm.runtime.v8";
/// A trap costs the requests in flight and this long.
const RELOAD_INTERVAL_MS: u32 = 100;

/// The HTTP filter that judges requests, and the name of its configuration.
pub const GOVERNANCE_FILTER: &str = "reeve.governance";

/// What the module is told. The same for all roles, because a worker's `governance` takes the `sync`
/// role over when the singleton is gone; and the same for all Envoys: who it is the module asks Envoy.
pub fn configuration() -> String {
    json!({"policy_cluster": CONTROL_PLANE_GRPC}).to_string()
}

/// The HTTP filter of a role, `root_id`.
pub(crate) fn wasm(filter: &Path, root_id: &str) -> Wasm {
    let code = DataSource {
        specifier: Some(Specifier::Filename(filter.to_string_lossy().into_owned())),
        ..DataSource::default()
    };
    let vm = VmConfig {
        vm_id: VM_ID.to_owned(),
        runtime: RUNTIME.to_owned(),
        code: Some(AsyncDataSource {
            specifier: Some(Async::Local(code)),
        }),
        ..VmConfig::default()
    };
    Wasm {
        config: Some(PluginConfig {
            name: format!("reeve_{root_id}"),
            root_id: root_id.to_owned(),
            vm: Some(Vm::VmConfig(vm)),
            configuration: Some(any(StringValue {
                value: configuration(),
            })),
            // Never an ungoverned request (FAIL_OPEN), never a worker that answers 503 for ever
            // (FAIL_CLOSED).
            failure_policy: FailurePolicy::FailReload.into(),
            reload_config: Some(ReloadConfig {
                backoff: Some(BackoffStrategy {
                    base_interval: milliseconds(RELOAD_INTERVAL_MS),
                    ..BackoffStrategy::default()
                }),
            }),
            // Without it a filter that holds the headers back never sees the body.
            allow_on_headers_stop_iteration: yes(),
            ..PluginConfig::default()
        }),
    }
}

/// The configuration of the governance filter, as Envoy asks for it by name.
pub(crate) fn governance(filter: &Path) -> TypedExtensionConfig {
    extension(GOVERNANCE_FILTER, wasm(filter, GOVERNANCE))
}
