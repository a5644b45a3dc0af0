//! How much a plan reserves, and what it is cut down to when there is too little.
//!
//! A plan comes from its judging with the strict reservation: nothing can cost more. What is made less
//! of that is made here.

use std::ops::Range;

use reeve_llm::cap_output;
use reeve_policy::limit::{Exceeded, Metric};
use reeve_policy::money::Nanos;
use reeve_policy::price::output_within;
use reeve_policy::reservation::{
    LEAST_CLAMPED, OutputHistory, Pair, Reserving, Sizing, WhenShort, balanced,
};

use crate::request::Plan;
use crate::response::Settlement;

/// What a plan knows of the output to come.
#[derive(Debug, Clone, Default)]
pub struct OutputBound {
    /// The most tokens of one choice.
    pub tokens: u64,
    /// Choices.
    pub choices: u64,
    /// Where the caller's bound stands in the body to forward; empty: none given.
    pub slots: Vec<Range<usize>>,
    /// How reservations are made.
    pub reserving: Reserving,
    /// The caller's bound was lowered to this.
    pub clamped: Option<u64>,
}

impl Plan {
    /// Reserves what earlier answers suggest, where that is the setting.
    #[must_use]
    pub fn sized(mut self, history: &OutputHistory) -> Self {
        if self.output.reserving.sizing == Sizing::Balanced
            && let Some(pair) = self.pair()
        {
            let expected = balanced(self.output.tokens, history.longest(pair));
            if let Some(cost) = self.cost_of_output(expected) {
                self.reserve(cost);
            }
        }
        self
    }

    /// The bound that leaves the request enough room under the limit that refuses it. `None`: it is
    /// refused.
    pub fn clamp_to(&self, index: usize, exceeded: Exceeded) -> Option<u64> {
        let reservation = self.reservations.get(index)?;
        if self.output.reserving.when_short != WhenShort::Clamp
            || reservation.limit.metric != Metric::Cost
            || self.output.slots.is_empty()
        {
            return None;
        }
        let rest = exceeded.max.checked_sub(exceeded.used)?;
        // A request that is refused again, because others were faster, asks for a quarter less: it comes
        // to an end soon.
        let less = if self.output.clamped.is_some() {
            reservation.amount.checked_div(4).unwrap_or_default()
        } else {
            1
        };
        let rest = rest.min(reservation.amount.saturating_sub(less));
        let tokens = output_within(
            Nanos::new(rest),
            self.input_bound,
            self.output.choices,
            self.price.as_ref()?.dearest,
        )?;
        (tokens >= LEAST_CLAMPED).then_some(tokens.min(self.output.tokens))
    }

    /// The plan with this bound in its body; `body` is the one to forward. All that the bound allows is
    /// reserved.
    #[must_use]
    pub fn clamped(mut self, tokens: u64, body: &[u8]) -> Self {
        let Some(cost) = self.cost_of_output(tokens) else {
            return self;
        };
        let capped = cap_output(body, &self.output.slots, tokens);
        self.output.slots = moved(&self.output.slots, tokens);
        self.output.tokens = tokens;
        self.output.clamped = Some(tokens);
        self.body = Some(capped);
        self.cost_bound = cost;
        self.reserve(cost);
        self
    }

    /// What the history is to learn from an answer; `None`: nothing.
    pub fn observed(&self, settlement: &Settlement) -> Option<(Pair<'_>, u64)> {
        if self.output.reserving.sizing != Sizing::Balanced || settlement.estimated {
            return None;
        }
        let tokens = settlement
            .usage
            .output_tokens
            .filter(|tokens| *tokens > 0)?;
        Some((self.pair()?, tokens.div_ceil(self.output.choices.max(1))))
    }

    fn pair(&self) -> Option<Pair<'_>> {
        Some(Pair {
            key_id: &self.key.as_ref()?.id,
            provider: &self.provider,
            model: &self.model,
        })
    }

    fn cost_of_output(&self, tokens: u64) -> Option<Nanos> {
        let price = self.price.as_ref()?;
        price.bound(
            self.input_bound,
            tokens,
            self.output.choices,
            self.most_units,
        )
    }

    fn reserve(&mut self, cost: Nanos) {
        for reservation in &mut self.reservations {
            if reservation.limit.metric == Metric::Cost {
                reservation.amount = cost.get();
            }
        }
    }
}

/// Where numbers are after each was replaced by `tokens`.
fn moved(slots: &[Range<usize>], tokens: u64) -> Vec<Range<usize>> {
    let length = tokens.to_string().len();
    let (mut removed, mut added) = (0_usize, 0_usize);
    let places = slots.iter().map(|slot| {
        let start = slot.start.saturating_add(added).saturating_sub(removed);
        added = added.saturating_add(length);
        removed = removed.saturating_add(slot.len());
        start..start.saturating_add(length)
    });
    places.collect()
}
