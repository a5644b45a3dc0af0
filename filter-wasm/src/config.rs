//! The plugin configuration, as the control plane makes it (`crates/xds/src/plugin.rs`).

use std::rc::Rc;

use serde::Deserialize;

/// The same for every role: a worker's `governance` may have to take `sync` over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Envoy's node id. Left out, it is what Envoy says, so that all Envoys are configured alike.
    #[serde(default)]
    pub(crate) node_id: String,
    /// The cluster of the control plane's gRPC port.
    pub(crate) policy_cluster: Rc<str>,
    /// Requests are refused when the control plane has not been heard for so long; seconds. At most a quarter
    /// of the hour after which it lends to others what this process holds.
    #[serde(default = "most_silence")]
    pub(crate) max_silence_s: u16,
}

/// Default and most.
const fn most_silence() -> u16 {
    900
}

impl Config {
    /// `node_id` is what Envoy says it is. `Err`: why Envoy must not start with it.
    pub(crate) fn parse(bytes: &[u8], node_id: Option<Vec<u8>>) -> Result<Self, String> {
        let mut config: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("plugin configuration: {error}"))?;
        if config.node_id.is_empty() {
            config.node_id = node_id
                .and_then(|id| String::from_utf8(id).ok())
                .filter(|id| !id.is_empty())
                .ok_or("Envoy's node has no id: set `node.id` in its bootstrap")?;
        }
        if !(1..=most_silence()).contains(&config.max_silence_s) {
            return Err(format!(
                "plugin configuration: max_silence_s must be 1 to {}",
                most_silence()
            ));
        }
        Ok(config)
    }
}
