//! The `governance` role: judges a request before it leaves, meters what comes back.
//!
//! Which callback asks which question is the table in `reeve_exchange`.

use std::cell::Cell;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use reeve_exchange::headers::Headers;
use reeve_exchange::request::{self, Admission, Plan};
use reeve_exchange::response::{Metering, Outcome};
use reeve_exchange::{Denial, reply};
use reeve_llm::WireFormat;
use reeve_proto::v1;

use crate::attempt::UPSTREAM_PATH;
use crate::counters::{self, Refused};
use crate::policy_cache::PolicyCache;
use crate::{host, outbox};

/// The header that chooses the provider's cluster. Only this filter may set it.
const CLUSTER: &str = "x-reeve-cluster";
/// Envoy's response flag for a caller that went away (`DownstreamConnectionTermination`).
const DOWNSTREAM_GONE: u64 = 0x4000;

thread_local! {
    /// One per VM, and a VM has one thread.
    static POLICY: PolicyCache = PolicyCache::default();
    static RANDOM: Cell<u64> = Cell::new(host::now_nanos());
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Governance {
    state: State,
    dialect: WireFormat,
    request_id: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Nothing seen yet, or refused: nothing to do any more.
    Idle,
    /// Since when: milliseconds since the Unix epoch.
    AwaitingBody(Admission, i64),
    Forwarded(Box<Forwarded>),
}

/// A request that went to its provider.
#[derive(Debug)]
struct Forwarded {
    metering: Metering,
    /// Of each reservation, the window it was taken in.
    windows: Vec<i64>,
    reserved_at_ms: i64,
    /// The response has ended in order.
    ended: bool,
}

impl Default for Governance {
    fn default() -> Self {
        Self {
            state: State::Idle,
            dialect: WireFormat::OpenAi,
            request_id: Vec::new(),
        }
    }
}

impl Governance {
    fn refuse(&mut self, denial: &Denial) -> Action {
        self.state = State::Idle;
        let reply = reply::render(denial, self.dialect, &self.request_id, host::now_ms());
        host::reply(reply.status, &reply.headers, &reply.body);
        Action::Pause
    }

    /// The whole body is there: decide, reserve, send.
    fn on_whole_body(&mut self, admission: &Admission, admitted_at_ms: i64, size: usize) -> Action {
        let body = host::buffer(BufferType::HttpRequestBody, size);
        let now_ms = host::now_ms();
        let judged = POLICY.with(|policy| {
            // What came with its headers need not look for news again.
            if now_ms != admitted_at_ms {
                policy.refresh();
            }
            request::judge_body(policy, now_ms, admission, &body, random())
        });
        let plan = match judged {
            Ok(plan) => plan,
            Err(denial) => return self.refuse(&denial),
        };
        if !outbox::has_room() {
            return self.refuse(&Denial::UsageBacklogFull);
        }
        let windows = match counters::reserve_all(&plan.reservations, now_ms) {
            Ok(windows) => windows,
            Err(Refused::Exceeded(index, exceeded)) => {
                return self.refuse(&plan.limit_denial(index, exceeded));
            }
            Err(Refused::Unavailable) => return self.refuse(&Denial::PolicyUnavailable),
        };
        send(&plan, &admission.upstream_path, size);
        self.state = State::Forwarded(Box::new(Forwarded {
            metering: Metering::new(plan),
            windows,
            reserved_at_ms: now_ms,
            ended: false,
        }));
        Action::Continue
    }
}

/// Readies the request for its provider's cluster.
fn send(plan: &Plan, upstream_path: &[u8], size: usize) {
    if let Some(body) = &plan.body {
        host::replace_buffer(BufferType::HttpRequestBody, size, body);
        host::set_request_header("content-length", body.len().to_string().as_bytes());
    }
    // Usage is read from the answer, so it must come uncompressed.
    host::remove_request_header("accept-encoding");
    host::set_property(UPSTREAM_PATH, upstream_path);
    host::set_request_header(CLUSTER, plan.cluster.as_bytes());
}

impl Context for Governance {}

impl HttpContext for Governance {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let fields = host::request_headers();
        let headers = Headers::new(&fields);
        #[cfg(feature = "fault-injection")]
        fault::inject(headers);
        let method = headers.first(":method").unwrap_or_default();
        let path = headers.first(":path").unwrap_or_default();
        self.dialect = request::dialect(path);
        self.request_id = headers.first("x-request-id").unwrap_or_default().to_vec();
        let now_ms = host::now_ms();
        let judged = POLICY.with(|policy| {
            policy.refresh();
            request::judge_headers(policy, now_ms, method, path, headers)
        });
        let admission = match judged {
            Ok(admission) => admission,
            Err(denial) => return self.refuse(&denial),
        };
        if end_of_stream {
            return self.refuse(&no_body());
        }
        for name in headers.private_names() {
            host::remove_request_header(name);
        }
        self.state = State::AwaitingBody(admission, now_ms);
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        // While paused, `size` is everything so far.
        let State::AwaitingBody(admission, admitted_at_ms) = &self.state else {
            // Refused: nothing of the body goes anywhere.
            return match self.state {
                State::Forwarded(_) => Action::Continue,
                _ => Action::Pause,
            };
        };
        let max_bytes = admission.max_body_bytes;
        if u64::try_from(size).unwrap_or(u64::MAX) > max_bytes {
            return self.refuse(&Denial::PayloadTooLarge { max_bytes });
        }
        if !end_of_stream {
            return Action::Pause;
        }
        let (admission, admitted_at_ms) = (admission.clone(), *admitted_at_ms);
        self.on_whole_body(&admission, admitted_at_ms, size)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        match self.state {
            State::Forwarded(_) => Action::Continue,
            State::AwaitingBody(..) => self.refuse(&Denial::InvalidRequest {
                message: "a request with trailers is not accepted: send headers and a body".into(),
                param: None,
            }),
            State::Idle => Action::Pause,
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let State::Forwarded(forwarded) = &mut self.state else {
            return Action::Continue;
        };
        forwarded.ended = end_of_stream;
        let status = host::response_header(":status")
            .and_then(|value| str::from_utf8(&value).ok()?.parse().ok())
            .unwrap_or(0);
        let content_type = host::response_header("content-type");
        let changes_body = forwarded
            .metering
            .on_response_headers(status, content_type.as_deref());
        if changes_body {
            host::remove_response_header("content-length");
        }
        let plan = forwarded.metering.plan();
        host::set_response_header("x-reeve-provider", plan.provider.as_bytes());
        host::set_response_header("x-reeve-model", plan.model.as_bytes());
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let State::Forwarded(forwarded) = &mut self.state else {
            return Action::Continue;
        };
        forwarded.ended |= end_of_stream;
        if forwarded.metering.wants_body() {
            let bytes = host::buffer(BufferType::HttpResponseBody, size);
            if let Some(instead) = forwarded.metering.on_response_body(&bytes, end_of_stream) {
                host::replace_buffer(BufferType::HttpResponseBody, size, &instead);
            }
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if let State::Forwarded(forwarded) = &mut self.state {
            forwarded.ended = true;
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if let State::Forwarded(forwarded) = std::mem::replace(&mut self.state, State::Idle) {
            settle(*forwarded, &self.request_id);
        }
    }
}

/// Charges what was used, and leaves a record of it for the control plane.
fn settle(forwarded: Forwarded, request_id: &[u8]) {
    let Forwarded {
        metering,
        windows,
        reserved_at_ms,
        ended,
    } = forwarded;
    let outcome = if ended {
        Outcome::Complete
    } else if downstream_is_gone() {
        Outcome::DownstreamDisconnect
    } else {
        Outcome::UpstreamReset
    };
    let (plan, settlement) = metering.settle(outcome);
    let mut charges = Vec::with_capacity(plan.reservations.len());
    let taken = plan
        .reservations
        .iter()
        .zip(windows)
        .zip(&settlement.charges);
    for ((reservation, window_start_ms), used) in taken {
        let limit_id = &reservation.limit.id;
        counters::settle(limit_id, window_start_ms, reservation.amount, *used);
        charges.push(v1::Charge {
            limit_id: limit_id.clone(),
            window_start_ms,
            amount: *used,
        });
    }
    let id = |id: Option<&String>| id.cloned().unwrap_or_default();
    outbox::append(v1::UsageRecord {
        sequence: 0,
        request_id: reeve_llm::sanitise(request_id),
        reserved_at_ms,
        finished_at_ms: host::now_ms(),
        virtual_key_id: id(plan.key.as_ref().map(|key| &key.id)),
        team_id: id(plan.team.as_ref().map(|team| &team.id)),
        customer_id: id(plan.customer.as_ref().map(|customer| &customer.id)),
        provider_config_id: id(plan.provider_config_id.as_ref()),
        provider: plan.provider,
        model: plan.model,
        operation: plan.endpoint.operation().to_owned(),
        usage: Some(v1::TokenUsage {
            input_tokens: settlement.usage.input_tokens,
            cache_read_tokens: settlement.usage.cache_read_tokens,
            cache_write_tokens: settlement.usage.cache_write_tokens,
            output_tokens: settlement.usage.output_tokens,
            reasoning_tokens: settlement.usage.reasoning_tokens,
        }),
        cost_nanos: settlement.cost.get(),
        estimated: settlement.estimated,
        status: u32::from(settlement.status),
        streamed: settlement.streamed,
        charges,
        outcome: settlement.outcome.as_str().to_owned(),
    });
}

fn downstream_is_gone() -> bool {
    let flags = host::property(&["response", "flags"]).unwrap_or_default();
    flags
        .first_chunk::<8>()
        .is_some_and(|flags| u64::from_le_bytes(*flags) & DOWNSTREAM_GONE != 0)
}

fn no_body() -> Denial {
    Denial::InvalidRequest {
        message: "the request has no body: send JSON".into(),
        param: None,
    }
}

/// A uniform random number (SplitMix64; wasm32 has no source of randomness, and a draw of a provider
/// needs none that is secret).
fn random() -> u64 {
    RANDOM.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Traps on demand, for the tests of the bad day. Not in a release build.
#[cfg(feature = "fault-injection")]
pub(crate) mod fault {
    use super::{Headers, host};

    const ASKED: &str = "fault/trap-sync";

    /// `x-fault-injection: trap` traps this VM, `trap-sync` the one that holds the stream.
    pub(crate) fn inject(headers: Headers<'_>) {
        match headers.first("x-fault-injection") {
            Some(b"trap") => trap(),
            Some(b"trap-sync") => host::shared_set(ASKED, b"1"),
            _ => {}
        }
    }

    pub(crate) fn trap_sync_if_asked() {
        if host::shared_get(ASKED).0.is_some_and(|asked| asked == b"1") {
            host::shared_set(ASKED, b"0");
            trap();
        }
    }

    #[expect(clippy::panic, reason = "trapping is its purpose")]
    fn trap() {
        panic!("trapped on request");
    }
}
