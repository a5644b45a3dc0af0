//! The response half: what the provider reported, and what it is charged as.
//!
//! | the exchange | is charged |
//! |---|---|
//! | 2xx with usage | what the provider reported |
//! | 2xx cut short, or without usable usage | what was reported so far, or an estimate if that is more; marked estimated |
//! | 2xx of which nothing can be estimated (audio, images, an encoded body) | what was reserved, if the report is not more; marked estimated |
//! | gone before any answer | its input, estimated |
//! | an error status without usage | nothing; the request still counts as a request |
//! | an API that vendors answer for free | nothing |

use reeve_llm::{Metered, Output, ResponseHead, ResponseMeter, Usage};
use reeve_policy::limit::Metric;
use reeve_policy::money::Nanos;
use reeve_policy::price::Tokens;
use reeve_policy::price_list::Service;

use crate::chain::Chain;
use crate::pricing::{self, Pricing};
use crate::request::Plan;
use crate::units;

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
    /// The filter's VM died under it.
    FilterTrap,
}

impl Outcome {
    /// The word for it on records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::DownstreamDisconnect => "downstream_disconnect",
            Self::UpstreamReset => "upstream_reset",
            Self::FilterTrap => "filter_trap",
        }
    }
}

/// Watches a response go by.
#[derive(Debug)]
pub struct Metering {
    chain: Chain,
    /// The attempt under way, from 0; the one that answers.
    attempt: usize,
    status: u16,
    reader: Reader,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per exchange, which stands in a box itself"
)]
enum Reader {
    /// No response headers yet, or an error that nobody is charged for.
    Nothing,
    Meter(Box<ResponseMeter>),
    /// The response has been read to its end.
    Read {
        metered: Metered,
        streamed: bool,
    },
}

/// What an exchange comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Tokens by kind, as reported or estimated.
    pub usage: Usage,
    /// What they cost.
    pub cost: Nanos,
    /// The tier that the provider says it served the request in.
    pub service: Option<Service>,
    /// Not (only) what the provider reported.
    pub estimated: bool,
    /// Status the caller saw; 0: none.
    pub status: u16,
    /// The response came as a stream.
    pub streamed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The attempt that answered, or was the last one under way; from 0.
    pub attempt: usize,
    /// What each reservation of the chain is settled for, in their order: what is reserved for other
    /// attempts than that one is given back.
    pub charges: Vec<i64>,
}

/// Tokens and what they cost.
struct Bill {
    usage: Usage,
    tokens: Tokens,
    cost: Nanos,
    service: Option<Service>,
    estimated: bool,
}

impl Metering {
    /// Of a request that goes to its provider now.
    pub fn new(chain: impl Into<Chain>) -> Self {
        Self {
            chain: chain.into(),
            attempt: 0,
            status: 0,
            reader: Reader::Nothing,
        }
    }

    /// The attempts that may be made.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The plan that is being carried out.
    pub fn plan(&self) -> &Plan {
        self.chain.attempt(self.attempt)
    }

    /// It is this attempt's answer that comes, or that did not come; from 0.
    pub fn set_attempt(&mut self, attempt: usize) {
        let last = self.chain.attempts().count().saturating_sub(1);
        self.attempt = attempt.min(last);
    }

    /// The attempt under way, from 0.
    pub const fn attempt(&self) -> usize {
        self.attempt
    }

    /// Takes the response's head. `true`: the body may be changed on its way, so a `content-length`
    /// must go.
    pub fn on_response_headers(&mut self, status: u16, head: ResponseHead<'_>) -> bool {
        self.status = status;
        if !(200..300).contains(&status) {
            self.reader = Reader::Nothing;
            return false;
        }
        let meter = ResponseMeter::new(self.plan().endpoint, self.plan().usage_injected, head);
        let may_change = meter.may_change();
        self.reader = Reader::Meter(Box::new(meter));
        may_change
    }

    /// Somebody else answers the caller in the provider's place; what was seen of the provider's
    /// answer is charged all the same.
    pub const fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// Does anybody need to see the response's body?
    pub const fn wants_body(&self) -> bool {
        matches!(self.reader, Reader::Meter(_))
    }

    /// Is the response of no use to the caller before its end, so that it can wait for its cost?
    pub fn can_wait(&self) -> bool {
        matches!(&self.reader, Reader::Meter(meter) if meter.is_document())
    }

    /// Takes a part of the response's body. `Some`: pass these bytes on in its place.
    pub fn on_response_body(&mut self, bytes: &[u8], end_of_stream: bool) -> Option<Vec<u8>> {
        match &mut self.reader {
            Reader::Meter(meter) => meter.on_chunk(bytes, end_of_stream),
            Reader::Nothing | Reader::Read { .. } => None,
        }
    }

    /// What the response costs; to be asked when all of it has been seen. `None`: nobody is charged.
    pub fn cost(&mut self) -> Option<Nanos> {
        self.finish_reading();
        match &self.reader {
            Reader::Read { .. } if self.plan().price.is_some() => Some(self.bill().cost),
            _ => None,
        }
    }

    /// Comes to a settlement. The chain is given back for the record.
    pub fn settle(mut self, outcome: Outcome) -> (Chain, Settlement) {
        self.finish_reading();
        let bill = self.bill();
        let streamed = matches!(self.reader, Reader::Read { streamed: true, .. });
        let plan = self.plan();
        let reservations = self.chain.reservations();
        let charges = reservations.iter().map(|reservation| {
            if !self.chain.is_single() && !plan.takes_from(reservation) {
                return 0;
            }
            match reservation.limit.metric {
                Metric::Cost => bill.cost.get(),
                Metric::Requests => 1,
                Metric::Tokens => i64::try_from(bill.tokens.total()).unwrap_or(i64::MAX),
                // It comes back.
                Metric::InFlight => 0,
            }
        });
        let settlement = Settlement {
            usage: bill.usage,
            cost: bill.cost,
            service: bill.service,
            estimated: bill.estimated,
            status: self.status,
            streamed,
            outcome,
            attempt: self.attempt,
            charges: charges.collect(),
        };
        (self.chain, settlement)
    }

    fn finish_reading(&mut self) {
        if let Reader::Meter(_) = self.reader
            && let Reader::Meter(meter) = std::mem::replace(&mut self.reader, Reader::Nothing)
        {
            let streamed = meter.is_stream();
            let metered = meter.finish();
            self.reader = Reader::Read { metered, streamed };
        }
    }

    fn bill(&self) -> Bill {
        let plan = self.plan();
        let metered = match &self.reader {
            Reader::Read { metered, .. } => Some(metered),
            Reader::Meter(_) | Reader::Nothing => None,
        };
        if let Some(price) = &plan.price
            && price.list.units.any()
        {
            return self.bill_by_units(price, metered);
        }
        let is_free = plan.endpoint.output() == Output::Free;
        let (usage, estimated) = match metered {
            _ if is_free => (Usage::default(), false),
            Some(metered) if metered.complete => (metered.usage, false),
            Some(metered) => (estimate(plan, metered), true),
            // The provider may be at work on it: somebody pays for the input.
            None if self.status == 0 => (input_estimate(plan), true),
            None => (Usage::default(), false),
        };
        // What was seen says nothing usable: the bound that was reserved is what we know.
        let is_unknown = !is_free
            && metered.is_some_and(|metered| {
                metered.usage_error.is_some()
                    || (!metered.complete && metered.estimated_output_tokens.is_none())
            });
        let tokens = tokens(&usage);
        let tier = metered.and_then(|metered| metered.service_tier);
        let priced = match &plan.price {
            Some(price) => price.cost(tokens, tier),
            None => Some(Nanos::ZERO),
        };
        let (cost, estimated) = match priced {
            Some(cost) if is_unknown => (cost.max(plan.cost_bound), true),
            Some(cost) => (cost, estimated),
            None => (plan.cost_bound, true),
        };
        Bill {
            usage,
            tokens,
            cost,
            service: tier.and_then(pricing::service),
            estimated,
        }
    }

    /// Of a model that charges for something else than tokens.
    fn bill_by_units(&self, price: &Pricing, metered: Option<&Metered>) -> Bill {
        let plan = self.plan();
        let used = metered.and_then(|metered| {
            let units = units::used(plan.endpoint, plan.most_units, metered)?;
            price.cost_of_units(units)
        });
        let (cost, estimated) = match (metered, used) {
            (_, Some(cost)) => (cost, false),
            // The provider has refused it.
            (None, None) if self.status != 0 => (Nanos::ZERO, false),
            (_, None) => (plan.cost_bound, true),
        };
        let usage = metered.map_or_else(Usage::default, |metered| metered.usage);
        Bill {
            usage,
            tokens: tokens(&usage),
            cost,
            service: None,
            estimated,
        }
    }
}

/// What becomes of a request whose exchange nobody saw end: everything that was reserved for it, whoever
/// it went to.
pub fn abandon(chain: &Chain) -> Settlement {
    let usage = input_estimate(chain.first());
    let cost = chain.cost_bound();
    let reservations = chain.reservations();
    let charges = reservations.iter().map(|reservation| {
        match reservation.limit.metric {
            // Of a limit that is not every attempt's, what one of those can cost.
            Metric::Cost => chain
                .attempts()
                .filter(|plan| plan.takes_from(reservation))
                .map(|plan| plan.cost_bound.get())
                .max()
                .unwrap_or_default(),
            Metric::Requests => 1,
            Metric::Tokens => i64::try_from(usage.total_tokens()).unwrap_or(i64::MAX),
            Metric::InFlight => 0,
        }
    });
    Settlement {
        usage,
        cost,
        service: None,
        estimated: true,
        status: 0,
        streamed: false,
        outcome: Outcome::FilterTrap,
        attempt: 0,
        charges: charges.collect(),
    }
}

/// Each token under the one kind that it is priced by.
fn tokens(usage: &Usage) -> Tokens {
    let mut input = usage.input_tokens.unwrap_or(0);
    let mut output = usage.output_tokens.unwrap_or(0);
    let take = |part: Option<u64>, whole: &mut u64| {
        let part = part.unwrap_or(0).min(*whole);
        *whole = whole.saturating_sub(part);
        part
    };
    let audio_input = take(usage.audio_input_tokens, &mut input);
    let image_input = take(usage.image_input_tokens, &mut input);
    let reasoning = take(usage.reasoning_tokens, &mut output);
    let audio_output = take(usage.audio_output_tokens, &mut output);
    let image_output = take(usage.image_output_tokens, &mut output);
    Tokens {
        input,
        output,
        cache_read: usage.cache_read_tokens.unwrap_or(0),
        cache_write_5m: usage.cache_write_5m_tokens.unwrap_or(0),
        cache_write_1h: usage.cache_write_1h_tokens.unwrap_or(0),
        reasoning,
        audio_input,
        audio_output,
        image_input,
        image_output,
    }
}

fn input_estimate(plan: &Plan) -> Usage {
    let tokens = plan.body_bytes.div_ceil(BYTES_PER_TOKEN);
    Usage {
        input_tokens: Some(tokens.min(plan.input_bound)),
        output_tokens: Some(0),
        ..Usage::default()
    }
}

/// What was reported, completed by what was seen.
fn estimate(plan: &Plan, metered: &Metered) -> Usage {
    let reported = metered.usage;
    let from_caches = [
        reported.cache_read_tokens,
        reported.cache_write_5m_tokens,
        reported.cache_write_1h_tokens,
    ];
    // That nothing passed a cache says nothing about the input.
    let input_reported =
        reported.input_tokens.is_some() || from_caches.into_iter().any(|count| count > Some(0));
    let seen = metered.estimated_output_tokens;
    Usage {
        input_tokens: if input_reported {
            reported.input_tokens
        } else {
            input_estimate(plan).input_tokens
        },
        output_tokens: reported.output_tokens.max(seen),
        ..reported
    }
}
