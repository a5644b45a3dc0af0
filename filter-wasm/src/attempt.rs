//! The `attempt` role: an upstream filter in the provider's cluster, once per attempt.
//!
//! All attempts of a request share one header map, so this role sets everything anew from filter
//! state and cluster metadata, and never edits what an earlier attempt left. The provider's key is
//! added after it, by Envoy's credential injector; this module never sees it.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use reeve_exchange::headers::{FORWARDED_PROTO, Headers};

use crate::host;

/// Filter state that `governance` writes: path below the provider's base URL, and query.
pub(crate) const UPSTREAM_PATH: &str = "reeve_upstream_path";

const METADATA: [&str; 4] = ["xds", "cluster_metadata", "filter_metadata", "reeve"];

/// See the module.
#[derive(Debug)]
pub(crate) struct Attempt;

impl Context for Attempt {}

impl HttpContext for Attempt {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        #[cfg(feature = "fault-injection")]
        crate::fault::at(b"trap-attempt");
        let [xds, cluster, filter, reeve] = METADATA;
        let metadata = |name| host::property(&[xds, cluster, filter, reeve, name]);
        let (Some(authority), Some(mut path), Some(below)) = (
            metadata("host"),
            metadata("base_path"),
            host::property(&[UPSTREAM_PATH]),
        ) else {
            // Nobody has judged this request, or the cluster is not ours.
            host::error("attempt without a judgement or without cluster metadata: refused");
            host::reply(503, "reeve.not_judged", &[], b"");
            return Action::Pause;
        };
        path.extend_from_slice(&below);
        let fields = host::request_headers();
        for name in Headers::new(&fields).private_names() {
            host::remove_request_header(name);
        }
        host::remove_request_header(FORWARDED_PROTO);
        host::set_request_header(":authority", &authority);
        host::set_request_header(":path", &path);
        Action::Continue
    }
}
