//! Routing rules: where an administrator's condition on a request sends it.
//!
//! Rules of the key come before those of its team, of the customer and of everyone; within a scope they
//! are in order already. The first that matches wins, and one of its targets is drawn by weight. A rule
//! that chains has all rules look again, at the request as it is after that rule, ten times at most and
//! never twice at the same provider and model; the last rule that matched decides.
//!
//! A rule chooses among what is allowed and allows nothing: whoever asks must be admitted to the target as
//! if they had named it. Of several targets only those are drawn that admit the request.

use crate::expression::{Condition, Facts, Fault};
use crate::routing::choose;

/// So often rules look at one request.
pub const MOST_PASSES: u32 = 10;

/// A rule that is switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Identifier in the API.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// When it matches.
    pub condition: Condition,
    /// Where it sends requests. None: where they go anyway.
    pub targets: Vec<Target>,
    /// Who is tried when that fails, in order.
    pub fallbacks: Vec<Destination>,
    /// All rules look again at what it made of the request.
    pub chains: bool,
}

/// One of the places where a rule sends requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub to: Destination,
    /// Its share, parts per million.
    pub weight_ppm: u32,
}

/// A provider and a model, where they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// `None`: as the request has it.
    pub provider: Option<String>,
    /// `None`: as the request has it.
    pub model: Option<String>,
}

/// Whose rule it is. In the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A virtual key's.
    VirtualKey,
    /// A team's.
    Team,
    /// A customer's.
    Customer,
    /// Everyone's.
    Global,
}

impl Scope {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 4] = [Self::VirtualKey, Self::Team, Self::Customer, Self::Global];

    /// The word for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VirtualKey => "virtual_key",
            Self::Team => "team",
            Self::Customer => "customer",
            Self::Global => "global",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The provider; `None`: any that will do.
    pub provider: Option<&'a str>,
    /// The model, without a provider's name.
    pub model: &'a str,
}

/// The rules of one scope, in order.
pub type Scoped<'a> = (Scope, &'a [Rule]);

/// A request, as rules see it.
pub trait Subject<'a> {
    /// What there is to know about it when it asks for this.
    type Facts: Facts;

    /// See [`Self::Facts`].
    fn at(&self, place: Place<'a>) -> Self::Facts;

    /// May whoever asks have this?
    fn is_admitted(&self, place: Place<'a>) -> bool;
}

/// One rule that looked at a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked<'a> {
    /// The how many-th time that rules looked, from 0.
    pub pass: u32,
    /// Whose rule.
    pub scope: Scope,
    /// Which one.
    pub rule: &'a Rule,
    /// What came of it.
    pub answer: Result<bool, Fault>,
}

/// What the rules make of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What it asks for now.
    pub place: Place<'a>,
    /// What it asked for when the rule that decided looked at it.
    pub before: Place<'a>,
    /// The rule that decided; `None`: none did.
    pub rule: Option<&'a Rule>,
}

impl<'a> Decision<'a> {
    /// No rule has anything to do with it.
    pub const fn none(asked: Place<'a>) -> Self {
        Self {
            place: asked,
            before: asked,
            rule: None,
        }
    }

    /// What the rule wants tried when that fails, in order. `None`: it does not say.
    pub fn fallbacks(&self) -> Option<impl Iterator<Item = Place<'a>>> {
        let fallbacks = self.rule.map(|rule| rule.fallbacks.as_slice())?;
        let before = self.before;
        (!fallbacks.is_empty()).then(|| fallbacks.iter().map(move |to| to.from(before)))
    }
}

/// Has the rules look at a request. `draw` is a uniform random number; `look` is told of each rule.
pub fn decide<'a>(
    scopes: &[Scoped<'a>],
    subject: &impl Subject<'a>,
    asked: Place<'a>,
    draw: u64,
    mut look: impl FnMut(Looked<'a>),
) -> Decision<'a> {
    let mut decision = Decision::none(asked);
    let mut seen = vec![asked];
    for pass in 0..MOST_PASSES {
        let facts = subject.at(decision.place);
        let Some(rule) = first_match(scopes, &facts, pass, &mut look) else {
            break;
        };
        decision = Decision {
            place: draw_target(rule, subject, decision.place, drawn_in(draw, pass)),
            before: decision.place,
            rule: Some(rule),
        };
        if !rule.chains || seen.contains(&decision.place) {
            break;
        }
        seen.push(decision.place);
    }
    decision
}

/// The first rule that matches. One that fails, or asks for a key that a map does not have, does not.
fn first_match<'a>(
    scopes: &[Scoped<'a>],
    facts: &impl Facts,
    pass: u32,
    look: &mut impl FnMut(Looked<'a>),
) -> Option<&'a Rule> {
    let rules = scopes
        .iter()
        .flat_map(|(scope, rules)| rules.iter().map(move |rule| (*scope, rule)));
    for (scope, rule) in rules {
        let answer = rule.condition.holds(facts);
        look(Looked {
            pass,
            scope,
            rule,
            answer,
        });
        if answer == Ok(true) {
            return Some(rule);
        }
    }
    None
}

/// What a target of the rule makes of the request, drawn among those that admit it. If none does, it is
/// drawn among all: the next rule may go on from there, and if none does, the request is refused.
fn draw_target<'a>(
    rule: &'a Rule,
    subject: &impl Subject<'a>,
    from: Place<'a>,
    draw: u64,
) -> Place<'a> {
    let places: Vec<(Place<'a>, u32)> = rule
        .targets
        .iter()
        .map(|target| (target.to.from(from), target.weight_ppm))
        .collect();
    if let [(only, _)] = places.as_slice() {
        return *only;
    }
    let weights = |of: &dyn Fn(Place<'a>) -> bool| -> Vec<u32> {
        let weights = places.iter();
        weights
            .map(|(place, weight)| if of(*place) { *weight } else { 0 })
            .collect()
    };
    choose(&weights(&|place| subject.is_admitted(place)), draw)
        .or_else(|| choose(&weights(&|_| true), draw))
        .and_then(|index| places.get(index))
        .map_or(from, |(place, _)| *place)
}

impl Destination {
    /// What it makes of a request for `place`.
    pub fn from<'a>(&'a self, place: Place<'a>) -> Place<'a> {
        Place {
            provider: self.provider.as_deref().or(place.provider),
            model: self.model.as_deref().unwrap_or(place.model),
        }
    }
}

/// A draw for each pass, so that none depends on another, nor on the draw that chooses by the weights of
/// a key (a step of SplitMix64).
fn drawn_in(draw: u64, pass: u32) -> u64 {
    let step = u64::from(pass).wrapping_add(1);
    let next = draw.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
