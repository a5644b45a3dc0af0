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
    /// `Err`: why Envoy must not start with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let config: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("plugin configuration: {error}"))?;
        if !(1..=most_silence()).contains(&config.max_silence_s) {
            return Err(format!(
                "plugin configuration: max_silence_s must be 1 to {}",
                most_silence()
            ));
        }
        Ok(config)
    }
}
