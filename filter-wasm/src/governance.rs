//! The `governance` role: judges a request before it leaves, meters what comes back.
//!
//! Which callback asks which question is the table in `reeve_exchange`.

use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};
use reeve_exchange::allowance::Allowance;
use reeve_exchange::chain::{Chain, Pressed, Shortened};
use reeve_exchange::head::{self, Admission, Admitted};
use reeve_exchange::headers::Headers;
use reeve_exchange::reply::Reply;
use reeve_exchange::request::{self, Reservation};
use reeve_exchange::{Denial, reply};
use reeve_llm::WireFormat;
use reeve_policy::expression::Fault;
use reeve_policy::lease::{Refused, Taken, Tenure, Want};

#[cfg(feature = "fault-injection")]
use crate::fault;
use crate::flights;
use crate::forwarded::Forwarded;
use crate::limits::Tenures;
use crate::policy_cache::PolicyCache;
use crate::usage_record::Reserved;
use crate::{access_log, history, host, instructions, limits, metrics, outbox, slots};

const PER_TRY_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

thread_local! {
    /// One per VM, and a VM has one thread.
    static POLICY: PolicyCache = PolicyCache::default();
    static RANDOM: Cell<u64> = Cell::new(host::now_nanos());
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Governance {
    /// Its number in this VM.
    context_id: u32,
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
    chain: Chain,
    /// Size of its body, which is held back.
    size: usize,
    /// Of the call.
    token: u32,
    wants: Vec<Want>,
    /// How often it has asked.
    times: u32,
}

impl Governance {
    pub(crate) const fn new(context_id: u32, terms: Terms) -> Self {
        Self {
            context_id,
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
        let body = callers_body(size);
        let now_ms = host::now_ms();
        let judged = POLICY.with(|policy| {
            // What came with its headers need not look for news again.
            if now_ms != admitted_at_ms {
                policy.refresh();
            }
            request::judge_body_watched(policy, now_ms, admission, &body, random(), &mut |looked| {
                if looked.answer == Err(Fault::Failed) {
                    metrics::rule_failed(&looked.rule.id);
                }
            })
        });
        match judged {
            Ok(chain) => self.go_on(history::size(self.reachable(chain)), size, Some(0), now_ms),
            Err(refusal) => self.refuse(&refusal.denial),
        }
    }

    /// The chain as far as Envoy can be told to make its attempts: that takes headers.
    fn reachable(&self, chain: Chain) -> Chain {
        if self.terms.hold_headers {
            chain
        } else {
            chain.first_only()
        }
    }

    /// Reserves and sends, or asks for what is missing, or refuses. `asked`: how often it has asked; `None`: the
    /// control plane cannot be asked.
    fn go_on(&mut self, chain: Chain, size: usize, asked: Option<u32>, now_ms: i64) -> Action {
        if POLICY.with(|policy| policy.is_stale(now_ms, self.terms.max_silence_ms)) {
            return self.refuse(&Denial::PolicyStale);
        }
        if !outbox::has_room() {
            return self.refuse(&Denial::UsageBacklogFull);
        }
        let mut tenures = Tenures {
            of_limits: POLICY.with(PolicyCache::tenure),
            of_slots: Tenure::default(),
        };
        let reservations = chain.reservations();
        if reservations.iter().any(limits::is_slot) {
            let Some(tenure) = slots::tenure() else {
                return self.refuse(&Denial::LimitsUnavailable);
            };
            tenures.of_slots = tenure;
        }
        if asked.is_none() {
            let percent = chain.first().output.reserving.emergency_percent;
            limits::draw(tenures, reservations, percent, now_ms);
        }
        match limits::reserve_all(tenures, reservations, asked.unwrap_or(0), now_ms) {
            Ok(taken) => match self.forward(chain, &taken, now_ms) {
                Ok(forwarded) => {
                    send(forwarded.chain(), size, self.terms.hold_headers);
                    self.state = State::Forwarded(Box::new(forwarded));
                    Action::Continue
                }
                Err(denial) => self.refuse(&denial),
            },
            // One question costs little, and without it a fallback with a small limit were never there.
            Err(Refused::Short(wants)) if asked == Some(0) && !limits::is_unreachable(now_ms) => {
                self.ask(chain, size, asked, wants, now_ms)
            }
            Err(Refused::Short(wants)) => match chain.pressed(missing(&wants, asked.is_some())) {
                Pressed::GoOn(chain) => {
                    limits::postpone(&wants);
                    self.go_on(chain, size, asked, now_ms)
                }
                Pressed::Wait(chain) => self.ask(chain, size, asked, wants, now_ms),
            },
            Err(Refused::Exceeded(index, exceeded)) => {
                match chain.shortened(index, exceeded, || callers_body(size)) {
                    Shortened::GoOn(chain) => self.go_on(chain, size, asked, now_ms),
                    Shortened::Clamp(chain, tokens) => {
                        let chain = clamped(chain, tokens, size);
                        self.go_on(chain, size, asked, now_ms)
                    }
                    Shortened::Refuse(denial) => self.refuse(&denial),
                }
            }
            Err(Refused::Unavailable) => self.refuse(&Denial::PolicyUnavailable),
        }
    }

    /// Waits for what is missing.
    fn ask(
        &mut self,
        chain: Chain,
        size: usize,
        asked: Option<u32>,
        wants: Vec<Want>,
        now_ms: i64,
    ) -> Action {
        let Some(times) = asked else {
            return self.refuse(&Denial::LimitsUnavailable);
        };
        let may_go_alone = chain.first().output.reserving.emergency_percent > 0;
        let token = if may_go_alone && limits::is_unreachable(now_ms) {
            None
        } else {
            limits::ask(&self.terms.policy_cluster, &wants)
        };
        let Some(token) = token else {
            return self.go_on(chain, size, None, now_ms);
        };
        if times == 0 {
            metrics::waits_for_lease();
        }
        self.state = State::Asking(Box::new(Asking {
            chain,
            size,
            token,
            wants,
            times: times.saturating_add(1),
        }));
        Action::Pause
    }

    /// All that any attempt needs is taken.
    fn forward(&self, chain: Chain, taken: &[Taken], now_ms: i64) -> Result<Forwarded, Denial> {
        let reserved = Reserved {
            request_id: reeve_llm::sanitise(&self.request_id),
            at_ms: now_ms,
            leases: taken.iter().map(|taken| taken.lease).collect(),
        };
        let Some(flight) = flights::begin(&chain, &reserved) else {
            limits::give_back(chain.reservations(), &reserved.leases);
            return Err(Denial::PolicyUnavailable);
        };
        let reservations = chain.reservations();
        let all = reservations.iter().zip(taken);
        for (_, taken) in all.filter(|(reservation, _)| limits::is_slot(reservation)) {
            slots::hold(self.context_id, taken.lease.session);
        }
        let left = reservations.iter().zip(taken);
        let left = left.map(|(of, taken)| Allowance::after(of, taken.used, now_ms));
        let left = left.collect();
        Ok(Forwarded::new(
            chain,
            reserved,
            flight,
            left,
            self.dialect,
            self.terms.hold_headers,
        ))
    }
}

/// The body as it came: it is held back until all is decided.
fn callers_body(size: usize) -> Vec<u8> {
    host::buffer(BufferType::HttpRequestBody, size)
}

/// How much is missing for a reservation. Where nobody can be asked, part of it may still be drawn, so
/// any attempt that needs less may have enough.
fn missing(wants: &[Want], can_ask: bool) -> impl Fn(&Reservation) -> i64 {
    move |reservation| {
        let mut wants = wants.iter();
        let want = wants.find(|want| want.limit_id == reservation.limit.id);
        want.map_or(0, |want| if can_ask { want.missing } else { 1 })
    }
}

/// The chain with a lower bound of the output in its body.
fn clamped(mut chain: Chain, tokens: u64, size: usize) -> Chain {
    let body = chain.take_body().unwrap_or_else(|| callers_body(size));
    chain.clamped(tokens, &body)
}

/// Readies the request for its provider's cluster, and for those that follow if that one fails.
fn send(chain: &Chain, size: usize, hold_headers: bool) {
    let body = &chain.first().body;
    instructions::write(chain, body.as_ref().map_or(size, Vec::len));
    if let Some(body) = body {
        host::replace_buffer(BufferType::HttpRequestBody, size, body);
    }
    access_log::forwarded(chain);
    if !hold_headers {
        // A filter behind this one makes a header of the first cluster.
        host::forget_route();
        return;
    }
    // From here on headers are changed, which makes Envoy look at the route anew: now it leads somewhere.
    if let Some(body) = body {
        host::set_request_header("content-length", body.len().to_string().as_bytes());
    }
    // Usage is read from the answer. Should it come compressed all the same, Envoy decompresses it.
    host::remove_request_header("accept-encoding");
    if let Some(retry) = chain.retry() {
        host::set_request_header("x-envoy-max-retries", retry.most.to_string().as_bytes());
        host::set_request_header("x-envoy-retry-on", retry.on.as_bytes());
        if !retry.statuses.is_empty() {
            let statuses = retry.statuses.as_bytes();
            host::set_request_header("x-envoy-retriable-status-codes", statuses);
        }
    }
    if let Some(timeout_ms) = chain.per_try_timeout_ms() {
        let timeout_ms = timeout_ms.to_string();
        host::set_request_header(PER_TRY_TIMEOUT, timeout_ms.as_bytes());
    }
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
            limits::note_unreachable(now_ms);
        }
        let asked = answered.then_some(asking.times);
        if self.go_on(asking.chain, asking.size, asked, now_ms) == Action::Continue {
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
        self.state = State::AwaitingBody(admission.with_fields(fields), now_ms);
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
            slots::let_go(self.context_id);
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
