//! The `attempt` role: an upstream filter in the provider's cluster, once per attempt.
//!
//! All attempts of a request share one header map, so this role sets everything anew from filter
//! state and cluster metadata, and never edits what an earlier attempt left. (The body they do not share:
//! each gets what `governance` has sent on.) The provider's key is added after it, by Envoy's credential
//! injector; this module never sees it.
//!
//! Of an attempt that is left for another one, `governance` sees nothing; so this role writes down when an
//! attempt that is not the first began, and what one that is not the last was answered, if that is held against
//! its provider.
//!
//! What it answers itself is final: Envoy makes no other attempt after it.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use reeve_exchange::edit::Edit;
use reeve_exchange::headers::{FORWARDED_PROTO, Headers};
use reeve_exchange::observed::of_status;
use reeve_policy::shares::Seen;

use crate::{host, instructions};

const METADATA: [&str; 4] = ["xds", "cluster_metadata", "filter_metadata", "reeve"];
/// Envoy's count of the attempts, this one included.
const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// What is still to be changed in the body.
    edit: Option<Edit>,
    /// Its number, from 1, if another one may come after it.
    left_as: Option<usize>,
}

impl Context for Attempt {}

impl HttpContext for Attempt {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        #[cfg(feature = "fault-injection")]
        crate::fault::at(b"trap-attempt");
        let fields = host::request_headers();
        let headers = Headers::new(&fields);
        let [xds, cluster, filter, reeve] = METADATA;
        let number = number(headers);
        let metadata = |name| host::property(&[xds, cluster, filter, reeve, name]);
        let (Some(authority), Some(mut path), Some(instructions)) = (
            metadata("host"),
            metadata("base_path"),
            instructions::read(number),
        ) else {
            // Nobody has judged this request, or the cluster is not ours.
            host::error("attempt without a judgement or without cluster metadata: refused");
            host::reply(503, "reeve.not_judged", &[], b"");
            return Action::Pause;
        };
        path.extend_from_slice(&instructions.path);
        for name in headers.private_names() {
            // By this one Envoy finds the cluster of the next attempt.
            if name != ATTEMPT_COUNT || instructions.is_last {
                host::remove_request_header(name);
            }
        }
        host::remove_request_header(FORWARDED_PROTO);
        host::set_request_header(":authority", &authority);
        host::set_request_header(":path", &path);
        if let Some(length) = instructions.content_length {
            host::set_request_header("content-length", length.to_string().as_bytes());
        }
        if number > 1 {
            instructions::note_begin(host::now_ms());
        }
        self.left_as = (!instructions.is_last).then_some(number);
        self.edit = instructions.edit;
        if self.edit.is_some() && !end_of_stream {
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some(edit) = &self.edit else {
            return Action::Continue;
        };
        // While paused, `size` is everything so far.
        if !end_of_stream {
            return Action::Pause;
        }
        let body = edit.apply(&host::buffer(BufferType::HttpRequestBody, size));
        host::replace_buffer(BufferType::HttpRequestBody, size, &body);
        self.edit = None;
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(number) = self.left_as {
            let status = host::response_status();
            if of_status(status) != Seen::Answered {
                instructions::note_status(number, status);
            }
        }
        Action::Continue
    }
}

/// Which attempt this is, from 1. Where Envoy does not count there is one only.
fn number(headers: Headers<'_>) -> usize {
    headers
        .first(ATTEMPT_COUNT)
        .and_then(|value| str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or(1)
}
