//! The `governance` role: judges a request before it leaves, meters what comes back.
//!
//! Which callback asks which question is the table in `reeve_exchange`.

use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use reeve_exchange::allowance::{self, Allowance};
use reeve_exchange::head::{self, Admission, Admitted};
use reeve_exchange::headers::Headers;
use reeve_exchange::reply::Reply;
use reeve_exchange::request::{self, Plan};
use reeve_exchange::{Denial, reply};
use reeve_llm::WireFormat;
use reeve_policy::lease::{Refused, Taken, Want};

use crate::attempt::UPSTREAM_PATH;
#[cfg(feature = "fault-injection")]
use crate::fault;
use crate::flights;
use crate::forwarded::Forwarded;
use crate::policy_cache::PolicyCache;
use crate::usage_record::Reserved;
use crate::{access_log, history, host, limits, metrics, outbox};

/// The header that chooses the provider's cluster. Only this filter may set it.
const CLUSTER: &str = "x-reeve-cluster";
/// Filter state that a filter behind this one makes that header of, where this one does not hold headers: the
/// cluster of the first attempt, which is the only one there.
const FIRST_ATTEMPT: &str = "reeve_try_1";

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
    terms: Terms,
}

/// What the plugin's configuration says about every exchange.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Where limits are asked for.
    pub(crate) policy_cluster: Rc<str>,
    /// How long the control plane may be silent, milliseconds.
    pub(crate) max_silence_ms: i64,
    /// Hold headers back until the body is judged, or leave that to a filter behind this one.
    pub(crate) hold_headers: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing seen yet, or refused: nothing to do any more.
    Idle,
    /// Since when: milliseconds since the Unix epoch.
    AwaitingBody(Admission, i64),
    /// Too little is held of a limit: the control plane is asked for more.
    Asking(Box<Asking>),
    Forwarded(Box<Forwarded>),
}

/// A request that waits for the control plane.
#[derive(Debug)]
struct Asking {
    plan: Plan,
    /// Size of its body, which is held back.
    size: usize,
    /// Of the call.
    token: u32,
    wants: Vec<Want>,
    /// How often it has asked.
    times: u32,
}

impl Governance {
    pub(crate) const fn new(terms: Terms) -> Self {
        Self {
            state: State::Idle,
            dialect: WireFormat::OpenAi,
            request_id: Vec::new(),
            terms,
        }
    }

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
        match judged {
            Ok(plan) => self.go_on(history::size(plan), size, 0, now_ms),
            Err(denial) => self.refuse(&denial),
        }
    }

    /// Reserves and sends, or asks for what is missing, or refuses.
    fn go_on(&mut self, plan: Plan, size: usize, asked: u32, now_ms: i64) -> Action {
        if POLICY.with(|policy| policy.is_stale(now_ms, self.terms.max_silence_ms)) {
            return self.refuse(&Denial::PolicyStale);
        }
        if !outbox::has_room() {
            return self.refuse(&Denial::UsageBacklogFull);
        }
        let tenure = POLICY.with(PolicyCache::tenure);
        match limits::reserve_all(tenure, &plan.reservations, asked, now_ms) {
            Ok(taken) => match self.forward(plan, &taken, now_ms) {
                Ok(forwarded) => {
                    send(forwarded.plan(), size, self.terms.hold_headers);
                    self.state = State::Forwarded(Box::new(forwarded));
                    Action::Continue
                }
                Err(denial) => self.refuse(&denial),
            },
            Err(Refused::Short(wants)) => {
                let Some(token) = limits::ask(&self.terms.policy_cluster, &wants) else {
                    return self.refuse(&Denial::LimitsUnavailable);
                };
                self.state = State::Asking(Box::new(Asking {
                    plan,
                    size,
                    token,
                    wants,
                    times: asked.saturating_add(1),
                }));
                Action::Pause
            }
            Err(Refused::Exceeded(index, exceeded)) => {
                if let Some(tokens) = plan.clamp_to(index, exceeded) {
                    let plan = clamped(plan, tokens, size);
                    return self.go_on(plan, size, asked, now_ms);
                }
                let denial = plan.limit_denial(index, exceeded);
                self.refuse(&denial)
            }
            Err(Refused::Unavailable) => self.refuse(&Denial::PolicyUnavailable),
        }
    }

    /// All that the plan needs is taken.
    fn forward(&self, plan: Plan, taken: &[Taken], now_ms: i64) -> Result<Forwarded, Denial> {
        let reserved = Reserved {
            request_id: reeve_llm::sanitise(&self.request_id),
            at_ms: now_ms,
            leases: taken.iter().map(|taken| taken.lease).collect(),
        };
        let Some(flight) = flights::begin(&plan, &reserved) else {
            limits::give_back(&plan.reservations, &reserved.leases);
            return Err(Denial::PolicyUnavailable);
        };
        let left = plan.reservations.iter().zip(taken);
        let left = left.map(|(of, taken)| Allowance::after(of, taken.used, now_ms));
        let allowance = allowance::headers(left, self.dialect, now_ms);
        Ok(Forwarded::new(
            plan,
            reserved,
            flight,
            allowance,
            self.terms.hold_headers,
        ))
    }
}

/// The plan with a lower bound of its output in its body.
fn clamped(mut plan: Plan, tokens: u64, size: usize) -> Plan {
    let body = plan
        .body
        .take()
        .unwrap_or_else(|| host::buffer(BufferType::HttpRequestBody, size));
    plan.clamped(tokens, &body)
}

/// Readies the request for its provider's cluster.
fn send(plan: &Plan, size: usize, hold_headers: bool) {
    if let Some(body) = &plan.body {
        host::replace_buffer(BufferType::HttpRequestBody, size, body);
    }
    access_log::forwarded(plan);
    host::set_property(UPSTREAM_PATH, plan.upstream_path.as_bytes());
    if !hold_headers {
        host::set_property(FIRST_ATTEMPT, plan.cluster.as_bytes());
        host::forget_route();
        return;
    }
    if let Some(body) = &plan.body {
        host::set_request_header("content-length", body.len().to_string().as_bytes());
    }
    // Usage is read from the answer. Should it come compressed all the same, Envoy decompresses it.
    host::remove_request_header("accept-encoding");
    host::set_request_header(CLUSTER, plan.cluster.as_bytes());
}

impl Context for Governance {
    /// The control plane has answered, or has not.
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        match &self.state {
            State::Asking(asking) if asking.token == token => {}
            _ => return,
        }
        let State::Asking(asking) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let now_ms = host::now_ms();
        let answered = status == 0 && {
            let bytes = host::buffer(BufferType::GrpcReceiveBuffer, size);
            limits::on_answer(&asking.wants, &bytes, now_ms)
                .map_err(|error| {
                    host::error(&format!("an answer about leases is unusable: {error}"));
                })
                .is_ok()
        };
        if !answered {
            self.refuse(&Denial::LimitsUnavailable);
            return;
        }
        if self.go_on(asking.plan, asking.size, asking.times, now_ms) == Action::Continue {
            host::resume_request();
        }
    }
}

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
        if self.terms.hold_headers {
            return Action::Pause;
        }
        // They are out of reach after this. They name no cluster yet, so they find no route should nobody
        // hold them; who does, counts the body.
        host::remove_request_header("accept-encoding");
        host::remove_request_header("content-length");
        Action::Continue
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
            State::Idle | State::Asking(_) => Action::Pause,
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        #[cfg(feature = "fault-injection")]
        fault::at(b"trap-answer");
        match &mut self.state {
            State::Forwarded(forwarded) => forwarded.on_response_headers(end_of_stream),
            State::Idle | State::AwaitingBody(..) | State::Asking(_) => Action::Continue,
        }
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match &mut self.state {
            State::Forwarded(forwarded) => forwarded.on_response_body(size, end_of_stream),
            State::Idle | State::AwaitingBody(..) | State::Asking(_) => Action::Continue,
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
