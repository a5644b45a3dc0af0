//! The plugin configuration, as the control plane makes it (`crates/xds/src/plugin.rs`).

use std::rc::Rc;

use serde::Deserialize;

/// The same for every role: a worker's `governance` may have to take `sync` over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Names this Envoy in the usage ledger; left out: by its own node id. No two Envoys may share it.
    #[serde(default)]
    pub(crate) node_id: String,
    /// The cluster of the control plane's gRPC port; after [`Config::parse`] as [`service`] writes it.
    pub(crate) policy_cluster: Rc<str>,
    /// Requests are refused when the control plane has not been heard for so long; seconds. At most a quarter
    /// of the hour after which it lends to others what this process holds.
    #[serde(default = "most_silence")]
    pub(crate) max_silence_s: u16,
    /// The filter holds a request's headers back until its body is judged, and an answer's until its cost is
    /// known, for which Envoy's plugin configuration must say `allow_on_headers_stop_iteration`. `false` where
    /// it cannot (Istio's WasmPlugin): filters behind this one have to do the former (deploy/istio).
    #[serde(default = "yes")]
    pub(crate) hold_headers: bool,
}

const fn yes() -> bool {
    true
}

/// Default and most.
const fn most_silence() -> u16 {
    900
}

impl Config {
    /// `Err`: why Envoy must not start with it. `own_id` gives the node id that Envoy has of itself.
    pub(crate) fn parse(
        bytes: &[u8],
        own_id: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Result<Self, String> {
        let mut config: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("plugin configuration: {error}"))?;
        if config.node_id.is_empty() {
            config.node_id = own_id()
                .and_then(|id| String::from_utf8(id).ok())
                .filter(|id| !id.is_empty())
                .ok_or("plugin configuration: node_id is missing, and Envoy has no node id")?;
        }
        if !(1..=most_silence()).contains(&config.max_silence_s) {
            return Err(format!(
                "plugin configuration: max_silence_s must be 1 to {}",
                most_silence()
            ));
        }
        config.policy_cluster = service(&config.policy_cluster)
            .ok_or("plugin configuration: policy_cluster must have 1 to 100 bytes")?;
        Ok(config)
    }
}

/// `envoy.config.core.v3.GrpcService` for a cluster. A cluster's bare name would do, but Envoy would make
/// it the authority of each call, and what Istio names its clusters is none: servers close the connection.
fn service(cluster: &str) -> Option<Rc<str>> {
    const AUTHORITY: &str = "reeve";
    // A length of one byte each, so that the message is a text, as the SDK wants it.
    let length = u8::try_from(cluster.len())
        .ok()
        .filter(|length| (1..=100).contains(length))?;
    let authority = u8::try_from(AUTHORITY.len()).ok()?;
    let whole = length.checked_add(authority)?.checked_add(4)?;
    let [length, authority, whole] = [length, authority, whole].map(char::from);
    // envoy_grpc (1): cluster_name (1), authority (2).
    Some(format!("\n{whole}\n{length}{cluster}\u{12}{authority}{AUTHORITY}").into())
}
