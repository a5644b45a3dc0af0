//! The plugin configuration, as the control plane renders it (`control-plane/src/envoy_files`).

use std::rc::Rc;

use serde::Deserialize;

/// The same for every role: a worker's `governance` may have to take `sync` over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Envoy's node id.
    pub(crate) node_id: String,
    /// The cluster of the control plane's gRPC port.
    pub(crate) policy_cluster: Rc<str>,
}

impl Config {
    /// `Err`: why Envoy must not start with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("plugin configuration: {error}"))
    }
}
