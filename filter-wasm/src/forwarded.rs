//! A request that went to its provider: meters what comes back, and settles when it ends.

use proxy_wasm::types::{Action, BufferType};
use reeve_exchange::allowance::{self, Allowance};
use reeve_exchange::chain::Chain;
use reeve_exchange::observed::Attempts;
use reeve_exchange::response::{Metering, Outcome};
use reeve_llm::{COUNT_HEADERS, ResponseHead, WireFormat};

use crate::flights::{self, Flight};
use crate::usage_record::{self, Reserved};
use crate::{access_log, history, host, instructions, limits, metrics, observed, outbox};

/// How the provider had encoded its answer; Envoy sets it (`control-plane/src/bootstrap/listener.rs`).
const PROVIDER_ENCODING: &str = "x-reeve-provider-encoding";
/// Envoy's response flags for a caller that went away: it closed the connection
/// (`DownstreamConnectionTermination`), broke its protocol, or reset the stream.
const DOWNSTREAM_GONE: u64 = 0x4000 | 0x4_0000 | 0x1000_0000;
/// A response that is of no use before its end waits for its cost up to this size; Envoy itself
/// holds no more than 1 MiB.
const MAX_WAITING_BYTES: usize = 256 << 10;
/// To how many tokens the caller's bound of the output was lowered, because no more money was left.
const CLAMPED: &str = "x-reeve-clamped-max-tokens";

/// A request that went to its provider.
#[derive(Debug)]
pub(crate) struct Forwarded {
    metering: Metering,
    reserved: Reserved,
    flight: Flight,
    /// What is left under the limits that were reserved from, in their order.
    left: Vec<Allowance>,
    dialect: WireFormat,
    answer: Answer,
    attempts: Attempts,
    /// Headers can be held back.
    hold_headers: bool,
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

impl Forwarded {
    pub(crate) fn new(
        chain: Chain,
        reserved: Reserved,
        flight: Flight,
        left: Vec<Allowance>,
        dialect: WireFormat,
        hold_headers: bool,
    ) -> Self {
        Self {
            metering: Metering::new(chain),
            reserved,
            flight,
            left,
            dialect,
            answer: Answer::Open,
            attempts: Attempts::default(),
            hold_headers,
        }
    }

    pub(crate) const fn chain(&self) -> &Chain {
        self.metering.chain()
    }

    /// Asks Envoy which attempt is under way.
    fn find_attempt(&mut self) {
        if self.chain().is_single() {
            return;
        }
        let count = host::property(&["upstream", "request_attempt_count"]).unwrap_or_default();
        let count = count
            .first_chunk()
            .map_or(1, |count| u64::from_le_bytes(*count));
        let attempt = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        self.metering.set_attempt(attempt);
    }

    pub(crate) fn on_response_headers(&mut self, end_of_stream: bool) -> Action {
        if let Answer::Waiting(_) = self.answer {
            self.metering.set_status(host::response_status());
            self.answer = Answer::Replaced;
            return Action::Continue;
        }
        self.find_attempt();
        let now_ms = host::now_ms();
        let status = host::response_status();
        self.count_head(status, now_ms);
        let plan = self.metering.plan();
        let attempts = self.metering.attempt().saturating_add(1);
        metrics::first_byte(plan, now_ms.saturating_sub(self.reserved.at_ms));
        access_log::answered(plan, attempts);
        for (name, value) in [
            ("x-reeve-provider", plan.provider.as_str()),
            ("x-reeve-model", &plan.model),
            ("x-reeve-attempts", &attempts.to_string()),
            ("x-reeve-fallback-index", &plan.fallback_index.to_string()),
        ] {
            host::set_response_header(name, value.as_bytes());
        }
        if let Some(tokens) = plan.output.clamped {
            host::set_response_header(CLAMPED, tokens.to_string().as_bytes());
        }
        let reservations = self.chain().reservations();
        let left = reservations.iter().zip(&self.left);
        let left = left.filter(|(reservation, _)| plan.takes_from(reservation));
        let left = left.map(|(_, left)| *left);
        for (name, value) in allowance::headers(left, self.dialect, now_ms) {
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
        if self.metering.on_response_headers(status, head) {
            host::remove_response_header("content-length");
        }
        if end_of_stream {
            self.answer = Answer::Ended;
            return Action::Continue;
        }
        if self.hold_headers && self.metering.can_wait() && can_be_held() {
            self.answer = Answer::Waiting(0);
            return Action::Pause;
        }
        Action::Continue
    }

    /// What came of the attempts so far is known.
    fn count_head(&mut self, status: u16, now_ms: i64) {
        let (chain, attempt) = (self.metering.chain(), self.metering.attempt());
        let began_ms = if attempt == 0 {
            Some(self.reserved.at_ms)
        } else {
            instructions::began_ms()
        };
        let first_byte_ms = began_ms.map(|began_ms| now_ms.saturating_sub(began_ms));
        let attempts = &mut self.attempts;
        observed::count(|totals| {
            let status_of = instructions::status;
            attempts.on_head(chain, attempt, status, first_byte_ms, status_of, totals);
        });
    }

    pub(crate) fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
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

    pub(crate) fn on_response_trailers(&mut self) {
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
    pub(crate) fn settle(mut self) {
        if !flights::is_due(self.flight) {
            let reservations = self.chain().reservations();
            let taken = reservations.iter().zip(&self.reserved.leases);
            for (slot, lease) in taken.filter(|(reservation, _)| limits::is_slot(reservation)) {
                limits::write_off(slot, *lease);
            }
            return;
        }
        self.find_attempt();
        let outcome = if self.answer == Answer::Ended {
            Outcome::Complete
        } else if downstream_is_gone() {
            Outcome::DownstreamDisconnect
        } else {
            Outcome::UpstreamReset
        };
        let now_ms = host::now_ms();
        let (chain, attempt) = (self.metering.chain(), self.metering.attempt());
        let attempts = &mut self.attempts;
        observed::count(|totals| {
            attempts.on_end(chain, attempt, outcome, instructions::status, totals);
        });
        let (chain, settlement) = self.metering.settle(outcome);
        let reservations = chain.reservations();
        let taken = reservations.iter().zip(&self.reserved.leases);
        let mut slot = None;
        for ((reservation, lease), used) in taken.zip(&settlement.charges) {
            if limits::is_slot(reservation) {
                slot = Some((reservation, *lease));
                continue;
            }
            limits::settle(&reservation.limit.id, *lease, reservation.amount, *used);
        }
        outbox::append(usage_record::of(
            &chain,
            &self.reserved,
            &settlement,
            now_ms,
        ));
        match slot {
            None => flights::end(self.flight),
            // Only now, when nobody would find its note any more and give it back once more.
            Some((reservation, lease)) if flights::end_with_slot(self.flight) => {
                limits::settle(&reservation.limit.id, lease, reservation.amount, 0);
            }
            Some((reservation, lease)) => limits::write_off(reservation, lease),
        }
        let plan = chain.attempt(settlement.attempt);
        history::learn(plan, &settlement, now_ms);
        access_log::ended(&settlement);
        metrics::failed_over(&chain, settlement.attempt);
        metrics::ended(
            plan,
            &settlement,
            now_ms.saturating_sub(self.reserved.at_ms),
        );
    }
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
