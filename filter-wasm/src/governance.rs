//! The `governance` role: judges a request before it leaves, meters what comes back.
//!
//! Which callback asks which question is the table in `reeve_exchange`.

use std::cell::Cell;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use reeve_exchange::allowance::{self, Allowance};
use reeve_exchange::head::{self, Admission, Admitted};
use reeve_exchange::headers::Headers;
use reeve_exchange::reply::Reply;
use reeve_exchange::request::{self, Plan};
use reeve_exchange::response::{Metering, Outcome};
use reeve_exchange::{Denial, reply};
use reeve_llm::{COUNT_HEADERS, ResponseHead, WireFormat};

use crate::attempt::UPSTREAM_PATH;
use crate::counters::{self, Refused};
use crate::flights::{self, Flight};
use crate::policy_cache::PolicyCache;
use crate::usage_record::{self, Reserved};
use crate::{access_log, host, metrics, outbox};

/// The header that chooses the provider's cluster. Only this filter may set it.
const CLUSTER: &str = "x-reeve-cluster";
/// How the provider had encoded its answer; Envoy sets it (`control-plane/src/envoy_files/listener.rs`).
const PROVIDER_ENCODING: &str = "x-reeve-provider-encoding";
/// Envoy's response flags for a caller that went away: it closed the connection
/// (`DownstreamConnectionTermination`), broke its protocol, or reset the stream.
const DOWNSTREAM_GONE: u64 = 0x4000 | 0x4_0000 | 0x1000_0000;
/// A response that is of no use before its end waits for its cost up to this size; Envoy itself
/// holds no more than 1 MiB.
const MAX_WAITING_BYTES: usize = 256 << 10;

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
    reserved: Reserved,
    flight: Flight,
    /// What is left under its limits, as header fields.
    allowance: Vec<(&'static str, String)>,
    answer: Answer,
}

/// How far the response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Not here yet, or passing.
    Open,
    /// Held, headers and all, until its cost is known; so many bytes are there, and metered.
    Waiting(usize),
    /// It broke off while it was held, and Envoy answers in its place.
    Replaced,
    /// It has ended in order.
    Ended,
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
        let kind = reply::kind(denial);
        metrics::denied(kind);
        access_log::denied(kind);
        let reply = reply::render(denial, self.dialect, &self.request_id, host::now_ms());
        self.answer(kind, &reply)
    }

    /// Answers here and now. `details` goes into Envoy's access log.
    fn answer(&mut self, details: &str, reply: &Reply) -> Action {
        self.state = State::Idle;
        let details = format!("reeve.{details}");
        host::reply(reply.status, &details, &reply.headers, &reply.body);
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
        match judged.and_then(|plan| self.reserve(plan, now_ms)) {
            Ok(forwarded) => {
                send(forwarded.metering.plan(), size);
                self.state = State::Forwarded(Box::new(forwarded));
                Action::Continue
            }
            Err(denial) => self.refuse(&denial),
        }
    }

    /// Takes all that the plan needs, or nothing.
    fn reserve(&self, plan: Plan, now_ms: i64) -> Result<Forwarded, Denial> {
        if !outbox::has_room() {
            return Err(Denial::UsageBacklogFull);
        }
        let taken = match counters::reserve_all(&plan.reservations, now_ms) {
            Ok(taken) => taken,
            Err(Refused::Exceeded(index, exceeded)) => {
                return Err(plan.limit_denial(index, exceeded));
            }
            Err(Refused::Unavailable) => return Err(Denial::PolicyUnavailable),
        };
        let reserved = Reserved {
            request_id: reeve_llm::sanitise(&self.request_id),
            at_ms: now_ms,
            windows: taken.iter().map(|taken| taken.window_start_ms).collect(),
        };
        let Some(flight) = flights::begin(&plan, &reserved) else {
            counters::give_back(&plan.reservations, &reserved.windows);
            return Err(Denial::PolicyUnavailable);
        };
        let left = plan.reservations.iter().zip(&taken);
        let left = left.map(|(of, taken)| Allowance::after(of, taken.used, now_ms));
        Ok(Forwarded {
            allowance: allowance::headers(left, self.dialect, now_ms),
            metering: Metering::new(plan),
            reserved,
            flight,
            answer: Answer::Open,
        })
    }
}

/// Readies the request for its provider's cluster.
fn send(plan: &Plan, size: usize) {
    if let Some(body) = &plan.body {
        host::replace_buffer(BufferType::HttpRequestBody, size, body);
        host::set_request_header("content-length", body.len().to_string().as_bytes());
    }
    // Usage is read from the answer. Should it come compressed all the same, Envoy decompresses it.
    host::remove_request_header("accept-encoding");
    access_log::forwarded(plan);
    host::set_property(UPSTREAM_PATH, plan.upstream_path.as_bytes());
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
        self.request_id = headers.first("x-request-id").unwrap_or_default().to_vec();
        let now_ms = host::now_ms();
        let judged = POLICY.with(|policy| {
            policy.refresh();
            head::judge_headers(policy, now_ms, method, path, headers)
        });
        self.dialect = judged.dialect;
        let admission = match judged.verdict {
            Ok(Admitted::AwaitsBody(_)) if end_of_stream => return self.refuse(&no_body()),
            Ok(Admitted::AwaitsBody(admission)) => admission,
            Ok(Admitted::Answered(reply)) => return self.answer("models", &reply),
            Err(denial) => return self.refuse(&denial),
        };
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
        #[cfg(feature = "fault-injection")]
        fault::at(b"trap-answer");
        match &mut self.state {
            State::Forwarded(forwarded) => forwarded.on_response_headers(end_of_stream),
            State::Idle | State::AwaitingBody(..) => Action::Continue,
        }
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match &mut self.state {
            State::Forwarded(forwarded) => forwarded.on_response_body(size, end_of_stream),
            State::Idle | State::AwaitingBody(..) => Action::Continue,
        }
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if let State::Forwarded(forwarded) = &mut self.state {
            forwarded.on_response_trailers();
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        #[cfg(feature = "fault-injection")]
        fault::at(b"trap-end");
        if let State::Forwarded(forwarded) = std::mem::replace(&mut self.state, State::Idle) {
            forwarded.settle();
        }
    }
}

impl Forwarded {
    fn on_response_headers(&mut self, end_of_stream: bool) -> Action {
        if let Answer::Waiting(_) = self.answer {
            self.metering.set_status(response_status());
            self.answer = Answer::Replaced;
            return Action::Continue;
        }
        let plan = self.metering.plan();
        metrics::first_byte(plan, host::now_ms().saturating_sub(self.reserved.at_ms));
        host::set_response_header("x-reeve-provider", plan.provider.as_bytes());
        host::set_response_header("x-reeve-model", plan.model.as_bytes());
        for (name, value) in self.allowance.drain(..) {
            host::set_response_header(name, value.as_bytes());
        }
        let content_type = host::response_header("content-type");
        let content_encoding = host::response_header("content-encoding");
        let counts = if reeve_llm::wants_count_headers(plan.endpoint) {
            COUNT_HEADERS.map(host::response_header)
        } else {
            [const { None }; 4]
        };
        let head = ResponseHead {
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
            counts: counts.each_ref().map(Option::as_deref),
        };
        if self.metering.on_response_headers(response_status(), head) {
            host::remove_response_header("content-length");
        }
        if end_of_stream {
            self.answer = Answer::Ended;
            return Action::Continue;
        }
        if self.metering.can_wait() && can_be_held() {
            self.answer = Answer::Waiting(0);
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        // While held, `size` is everything so far.
        let metered = match self.answer {
            Answer::Replaced => return Action::Continue,
            Answer::Waiting(metered) => metered,
            Answer::Open | Answer::Ended => 0,
        };
        if self.metering.wants_body() {
            let bytes = host::buffer_from(BufferType::HttpResponseBody, metered, size);
            if let Some(instead) = self.metering.on_response_body(&bytes, end_of_stream) {
                host::replace_buffer(BufferType::HttpResponseBody, size, &instead);
            }
        }
        if end_of_stream {
            self.end();
        } else if let Answer::Waiting(_) = self.answer {
            if size <= MAX_WAITING_BYTES {
                self.answer = Answer::Waiting(size);
                return Action::Pause;
            }
            self.answer = Answer::Open;
        }
        Action::Continue
    }

    fn on_response_trailers(&mut self) {
        if self.answer != Answer::Replaced {
            self.end();
        }
    }

    /// The response has ended in order; if its headers are still here, they can tell its cost.
    fn end(&mut self) {
        let before = std::mem::replace(&mut self.answer, Answer::Ended);
        if let Answer::Waiting(_) = before
            && let Some(cost) = self.metering.cost()
        {
            host::set_response_header("x-reeve-cost", cost.to_string().as_bytes());
        }
    }

    /// Charges what was used, and leaves a record of it for the control plane.
    fn settle(self) {
        if !flights::is_due(self.flight) {
            return;
        }
        let outcome = if self.answer == Answer::Ended {
            Outcome::Complete
        } else if downstream_is_gone() {
            Outcome::DownstreamDisconnect
        } else {
            Outcome::UpstreamReset
        };
        let now_ms = host::now_ms();
        let (plan, settlement) = self.metering.settle(outcome);
        let taken = plan.reservations.iter().zip(&self.reserved.windows);
        for ((reservation, window_start_ms), used) in taken.zip(&settlement.charges) {
            let limit_id = &reservation.limit.id;
            counters::settle(limit_id, *window_start_ms, reservation.amount, *used);
        }
        outbox::append(usage_record::of(&plan, &self.reserved, &settlement, now_ms));
        flights::end(self.flight);
        access_log::ended(&settlement);
        metrics::ended(
            &plan,
            &settlement,
            now_ms.saturating_sub(self.reserved.at_ms),
        );
    }
}

fn response_status() -> u16 {
    host::response_header(":status")
        .and_then(|value| str::from_utf8(&value).ok()?.parse().ok())
        .unwrap_or(0)
}

/// Can the response be held until its end, and is it small enough? Envoy's decompressor ends a body
/// with trailers, which never come to a filter that holds the body; it takes the length out too.
fn can_be_held() -> bool {
    match host::response_header("content-length") {
        Some(value) => str::from_utf8(&value).is_ok_and(|length| {
            length
                .parse()
                .is_ok_and(|length: usize| length <= MAX_WAITING_BYTES)
        }),
        None => host::response_header(PROVIDER_ENCODING).is_none(),
    }
}

fn downstream_is_gone() -> bool {
    let flags = host::property(&["response", "flags"]).unwrap_or_default();
    flags
        .first_chunk::<8>()
        .is_some_and(|flags| u64::from_le_bytes(*flags) & DOWNSTREAM_GONE != 0)
}

fn no_body() -> Denial {
    Denial::InvalidRequest {
        message: "the request has no body".into(),
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

    const HEADER: &str = "x-fault-injection";
    const ASKED: &str = "fault/trap-sync";

    /// `x-fault-injection: trap` traps this VM when the request's headers are there, `trap-attempt`,
    /// `trap-answer` and `trap-end` later on its way; `trap-sync` traps the VM that holds the stream.
    pub(crate) fn inject(headers: Headers<'_>) {
        match headers.first(HEADER) {
            Some(b"trap") => trap(),
            Some(b"trap-sync") => host::shared_set(ASKED, b"1"),
            _ => {}
        }
    }

    /// Traps this VM if the request has asked for it in this place.
    pub(crate) fn at(place: &[u8]) {
        let fields = host::request_headers();
        if Headers::new(&fields).first(HEADER) == Some(place) {
            trap();
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
