//! The response half: what the provider reported, and what it is charged as.
//!
//! | the exchange | is charged |
//! |---|---|
//! | 2xx with usage | what the provider reported |
//! | 2xx cut short, or without usable usage | what was reported so far, or an estimate if that is more; marked estimated |
//! | gone before any answer | its input, estimated |
//! | an error status without usage | nothing; the request still counts as a request |

use reeve_llm::{BodyMeter, Metered, StreamMeter, Usage, is_event_stream};
use reeve_policy::limit::Metric;
use reeve_policy::money::Nanos;
use reeve_policy::price::{Tokens, cost};

use crate::request::Plan;

/// Bytes of a request's body that make a token when nobody counted: on the safe side for English
/// text (about four) and for most other scripts.
const BYTES_PER_TOKEN: u64 = 3;

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response went out whole.
    Complete,
    /// The caller went away.
    DownstreamDisconnect,
    /// The provider stopped in the middle.
    UpstreamReset,
}

impl Outcome {
    /// The word for it on records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::DownstreamDisconnect => "downstream_disconnect",
            Self::UpstreamReset => "upstream_reset",
        }
    }
}

/// Watches a response go by.
#[derive(Debug)]
pub struct Metering {
    plan: Plan,
    status: u16,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    /// No response headers yet, or an error that nobody is charged for.
    Nothing,
    Stream(Box<StreamMeter>),
    Body(Box<BodyMeter>),
}

/// What an exchange comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Tokens by kind, as reported or estimated.
    pub usage: Usage,
    /// What they cost.
    pub cost: Nanos,
    /// Not (only) what the provider reported.
    pub estimated: bool,
    /// Status the caller saw; 0: none.
    pub status: u16,
    /// The response was an event stream.
    pub streamed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// What each reservation of the plan is settled for, in their order.
    pub charges: Vec<i64>,
}

impl Metering {
    /// Of a request that goes to its provider now.
    pub const fn new(plan: Plan) -> Self {
        Self {
            plan,
            status: 0,
            reader: Reader::Nothing,
        }
    }

    /// The plan that is being carried out.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes the response's head. `true`: the body may be changed on its way, so a `content-length`
    /// must go.
    pub fn on_response_headers(&mut self, status: u16, content_type: Option<&[u8]>) -> bool {
        self.status = status;
        let endpoint = self.plan.endpoint;
        if !(200..300).contains(&status) {
            self.reader = Reader::Nothing;
        } else if content_type.is_some_and(is_event_stream) {
            let drop_usage_chunk = self.plan.usage_injected;
            self.reader = Reader::Stream(Box::new(StreamMeter::new(endpoint, drop_usage_chunk)));
            return drop_usage_chunk;
        } else {
            self.reader = Reader::Body(Box::new(BodyMeter::new(endpoint)));
        }
        false
    }

    /// Does anybody need to see the response's body?
    pub const fn wants_body(&self) -> bool {
        !matches!(self.reader, Reader::Nothing)
    }

    /// Takes a part of the response's body. `Some`: pass these bytes on in its place.
    pub fn on_response_body(&mut self, bytes: &[u8], end_of_stream: bool) -> Option<Vec<u8>> {
        match &mut self.reader {
            Reader::Nothing => None,
            Reader::Stream(meter) => meter.on_chunk(bytes, end_of_stream),
            Reader::Body(meter) => {
                meter.on_chunk(bytes);
                None
            }
        }
    }

    /// Comes to a settlement. The plan is given back for the record.
    pub fn settle(self, outcome: Outcome) -> (Plan, Settlement) {
        let Self {
            plan,
            status,
            reader,
        } = self;
        let streamed = matches!(reader, Reader::Stream(_));
        let metered = match reader {
            Reader::Stream(meter) => Some(meter.finish()),
            Reader::Body(meter) => Some(meter.finish()),
            Reader::Nothing => None,
        };
        let (usage, estimated) = match &metered {
            Some(metered) if metered.complete && metered.usage_error.is_none() => {
                (metered.usage, false)
            }
            Some(metered) => (estimate(&plan, metered), true),
            // The provider may be at work on it: somebody pays for the input.
            None if status == 0 => (input_estimate(&plan), true),
            None => (Usage::default(), false),
        };
        let tokens = Tokens {
            input: usage.input_tokens.unwrap_or(0),
            output: usage.output_tokens.unwrap_or(0),
            cache_read: usage.cache_read_tokens.unwrap_or(0),
            cache_write: usage.cache_write_tokens.unwrap_or(0),
        };
        let priced = match plan.price {
            Some(price) => cost(tokens, price),
            None => Some(Nanos::ZERO),
        };
        let unusable = metered
            .as_ref()
            .is_some_and(|metered| metered.usage_error.is_some());
        let (cost, estimated) = match priced {
            Some(cost) if unusable => (cost.max(plan.cost_bound), true),
            Some(cost) => (cost, estimated),
            None => (plan.cost_bound, true),
        };
        let charges = plan
            .reservations
            .iter()
            .map(|reservation| match reservation.limit.metric {
                Metric::Cost => cost.get(),
                Metric::Requests => 1,
                Metric::Tokens => i64::try_from(tokens.total()).unwrap_or(i64::MAX),
            })
            .collect();
        (
            plan,
            Settlement {
                usage,
                cost,
                estimated,
                status,
                streamed,
                outcome,
                charges,
            },
        )
    }
}

fn input_estimate(plan: &Plan) -> Usage {
    let tokens = plan.body_bytes.div_ceil(BYTES_PER_TOKEN);
    Usage {
        input_tokens: Some(tokens),
        output_tokens: Some(0),
        ..Usage::default()
    }
}

/// What was reported, completed by what was seen.
fn estimate(plan: &Plan, metered: &Metered) -> Usage {
    let reported = metered.usage;
    let input_reported = reported.input_tokens.is_some()
        || reported.cache_read_tokens.is_some()
        || reported.cache_write_tokens.is_some();
    let output = reported
        .output_tokens
        .unwrap_or(0)
        .max(metered.estimated_output_tokens);
    Usage {
        input_tokens: if input_reported {
            reported.input_tokens
        } else {
            input_estimate(plan).input_tokens
        },
        output_tokens: Some(output),
        ..reported
    }
}
