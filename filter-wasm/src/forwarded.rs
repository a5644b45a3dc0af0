//! A request that went to its provider: meters what comes back, and settles when it ends.

use proxy_wasm::types::{Action, BufferType};
use reeve_exchange::request::Plan;
use reeve_exchange::response::{Metering, Outcome};
use reeve_llm::{COUNT_HEADERS, ResponseHead};

use crate::flights::{self, Flight};
use crate::usage_record::{self, Reserved};
use crate::{access_log, history, host, limits, metrics, outbox};

/// How the provider had encoded its answer; Envoy sets it (`control-plane/src/envoy_files/listener.rs`).
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
    /// What is left under its limits, as header fields.
    allowance: Vec<(&'static str, String)>,
    answer: Answer,
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
        plan: Plan,
        reserved: Reserved,
        flight: Flight,
        allowance: Vec<(&'static str, String)>,
        hold_headers: bool,
    ) -> Self {
        Self {
            metering: Metering::new(plan),
            reserved,
            flight,
            allowance,
            answer: Answer::Open,
            hold_headers,
        }
    }

    pub(crate) const fn plan(&self) -> &Plan {
        self.metering.plan()
    }

    pub(crate) fn on_response_headers(&mut self, end_of_stream: bool) -> Action {
        if let Answer::Waiting(_) = self.answer {
            self.metering.set_status(response_status());
            self.answer = Answer::Replaced;
            return Action::Continue;
        }
        let plan = self.metering.plan();
        metrics::first_byte(plan, host::now_ms().saturating_sub(self.reserved.at_ms));
        host::set_response_header("x-reeve-provider", plan.provider.as_bytes());
        host::set_response_header("x-reeve-model", plan.model.as_bytes());
        if let Some(tokens) = plan.output.clamped {
            host::set_response_header(CLAMPED, tokens.to_string().as_bytes());
        }
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
        if self.hold_headers && self.metering.can_wait() && can_be_held() {
            self.answer = Answer::Waiting(0);
            return Action::Pause;
        }
        Action::Continue
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
    pub(crate) fn settle(self) {
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
        let taken = plan.reservations.iter().zip(&self.reserved.leases);
        for ((reservation, lease), used) in taken.zip(&settlement.charges) {
            limits::settle(&reservation.limit.id, *lease, reservation.amount, *used);
        }
        outbox::append(usage_record::of(&plan, &self.reserved, &settlement, now_ms));
        flights::end(self.flight);
        history::learn(&plan, &settlement, now_ms);
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
