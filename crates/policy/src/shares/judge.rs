//! Judges providers and keys by what came of the last attempts.
//!
//! Everybody is compared with its peers: a provider with the other providers, a key with the other keys of its
//! provider. Where all fail alike there is nothing to gain from another choice, and nothing moves.
//!
//! * A factor falls at once, as far as what was seen says: the steeper, the more attempts fail.
//! * It rises slowly: it doubles at most, and at most every [`RISE_EVERY_MS`]. After refusals as too many it rises
//!   by half, so that it does not swing about what the provider can take.
//! * Nothing is judged by a few attempts. Where there are few, because its share is small, those of
//!   [`LONGEST_S`] seconds are taken together; where there are still too few, the factor rises, so that there
//!   come to be more.

use std::collections::{BTreeMap, VecDeque};

use super::{Counts, FLOOR_PPM, Shares, Target, Totals, WHOLE_PPM};

/// The last so many seconds are looked at in any case.
pub const SHORTEST_S: i64 = 5;
/// What is older is not looked at.
pub const LONGEST_S: i64 = 30;
/// Fewer attempts than this say nothing.
pub const LEAST_ATTEMPTS: u64 = 10;
/// Fewer failures than this are chance.
const LEAST_FAILURES: u64 = 3;
/// Failures that everybody has.
const TOLERATED_PPM: u64 = 50_000;
/// A factor rises at most this often.
pub const RISE_EVERY_MS: i64 = 4_000;
/// Slower than its peers is who takes so many times as long, and longer by this.
const SLOW_TIMES: u64 = 2;
const SLOW_BY_MS: u64 = 200;
/// What the slowest keeps.
const SLOW_FLOOR_PPM: u32 = 250_000;
/// A change is published when it is at least one part in so many of the factor.
const NOTABLE: u32 = 10;
/// Whoever was not asked for so long, and has its whole share, is forgotten.
const FORGET_AFTER_S: i64 = 600;
/// Nobody configures more; beyond it nobody new is looked at.
const MOST_TARGETS: usize = 20_000;
/// One, in parts per million.
const ONE: u64 = 1_000_000;

/// Why a factor is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reason {
    /// Nothing speaks against it.
    #[default]
    Healthy,
    /// Too many of its attempts fail.
    Errors {
        /// Of its attempts, parts per million.
        rate_ppm: u32,
    },
    /// It refuses too many attempts as too many.
    RateLimited {
        /// Of its attempts, parts per million.
        rate_ppm: u32,
    },
    /// Its answers begin later than those of its peers.
    Slow {
        /// Its average, milliseconds.
        first_byte_ms: u64,
        /// That of its peers: the median.
        peers_ms: u64,
    },
    /// It fails, and so do all its peers: nothing is gained by asking them instead.
    NoBetterPeer {
        /// Of its attempts, parts per million.
        rate_ppm: u32,
    },
    /// What spoke against it has ended; its share rises.
    Recovering,
}

/// One of those that are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Who.
    pub target: Target,
    /// What it keeps of its share, parts per million.
    pub factor_ppm: u32,
    /// Why.
    pub reason: Reason,
    /// What it was judged by.
    pub evidence: Counts,
    /// How many seconds that is of, the present one included.
    pub evidence_s: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Judge {
    states: BTreeMap<Target, State>,
    published: Shares,
}

#[derive(Debug)]
struct State {
    /// By the second they came in, the newest last.
    seconds: VecDeque<(i64, Counts)>,
    /// The last second in which it was asked.
    asked_s: i64,
    factor_ppm: u32,
    /// When that changed.
    moved_ms: i64,
    reason: Reason,
    /// It fell because too much was asked of it.
    is_full: bool,
}

/// What a target is judged by, and the same of its peers.
#[derive(Debug, Clone, Copy, Default)]
struct Evidence {
    counts: Counts,
    seconds: i64,
}

impl Judge {
    /// Takes in what an Envoy has counted since it last told.
    pub fn observe(&mut self, news: &Totals, now_ms: i64) {
        for (target, counts) in news {
            self.add(target, *counts, now_ms);
            if target.key_id.is_some() {
                self.add(&Target::provider(&target.provider), *counts, now_ms);
            }
        }
    }

    fn add(&mut self, target: &Target, counts: Counts, now_ms: i64) {
        if counts == Counts::default() {
            return;
        }
        let now_s = second(now_ms);
        if !self.states.contains_key(target) {
            if self.states.len() >= MOST_TARGETS {
                return;
            }
            self.states.insert(target.clone(), State::new(now_ms));
        }
        if let Some(state) = self.states.get_mut(target) {
            state.add(counts, now_s);
        }
    }

    /// Judges everybody anew; once a second is right.
    pub fn tick(&mut self, now_ms: i64) {
        let now_s = second(now_ms);
        self.states.retain(|_, state| {
            state.forget_before(now_s.saturating_sub(LONGEST_S));
            state.factor_ppm < WHOLE_PPM || now_s.saturating_sub(state.asked_s) < FORGET_AFTER_S
        });
        // Providers are peers of each other, and so are the keys of one.
        let mut groups: BTreeMap<Option<String>, Vec<(Target, Evidence)>> = BTreeMap::new();
        for (target, state) in &self.states {
            let group = target.key_id.as_ref().map(|_| target.provider.clone());
            let evidence = state.evidence(now_s);
            groups
                .entry(group)
                .or_default()
                .push((target.clone(), evidence));
        }
        for members in groups.values() {
            for (place, (target, evidence)) in members.iter().enumerate() {
                let others = members.iter().enumerate();
                let others = others.filter(|(other, _)| *other != place);
                let peers = Peers::new(others.map(|(_, (_, evidence))| evidence.counts));
                let (wanted, reason) = judge(evidence.counts, &peers);
                if let Some(state) = self.states.get_mut(target) {
                    state.go_to(wanted, reason, now_ms);
                }
            }
        }
    }

    /// The factors to publish, if they differ enough from those that were published last.
    pub fn publish(&mut self) -> Option<Shares> {
        let lowered = self.states.iter();
        let lowered = lowered.filter(|(_, state)| state.factor_ppm < WHOLE_PPM);
        let now = Shares::new(lowered.map(|(target, state)| (target.clone(), state.factor_ppm)));
        let differs = |of: &Target| {
            let key_id = of.key_id.as_deref();
            let was = self.published.factor(&of.provider, key_id);
            let is = now.factor(&of.provider, key_id);
            let ends = [FLOOR_PPM, WHOLE_PPM].contains(&is) && is != was;
            ends || is.abs_diff(was).saturating_mul(NOTABLE) >= was
        };
        let either = now.factors().chain(self.published.factors());
        if !{ either }.any(|(target, _)| differs(&target)) {
            return None;
        }
        self.published = now.clone();
        Some(now)
    }

    /// Everybody who was asked lately, as last judged; each provider before its keys.
    pub fn judged(&self, now_ms: i64) -> impl Iterator<Item = Judged> {
        let now_s = second(now_ms);
        self.states.iter().map(move |(target, state)| {
            let evidence = state.evidence(now_s);
            Judged {
                target: target.clone(),
                factor_ppm: state.factor_ppm,
                reason: state.reason,
                evidence: evidence.counts,
                evidence_s: evidence.seconds,
            }
        })
    }
}

impl State {
    fn new(now_ms: i64) -> Self {
        Self {
            seconds: VecDeque::new(),
            asked_s: second(now_ms),
            factor_ppm: WHOLE_PPM,
            moved_ms: now_ms,
            reason: Reason::Healthy,
            is_full: false,
        }
    }

    fn add(&mut self, counts: Counts, now_s: i64) {
        self.asked_s = now_s;
        match self.seconds.back_mut() {
            Some((of, sum)) if *of == now_s => sum.add(counts),
            _ => self.seconds.push_back((now_s, counts)),
        }
    }

    /// On a clock that was set back what is of a later second goes too.
    fn forget_before(&mut self, first_s: i64) {
        let last_s = first_s.saturating_add(LONGEST_S);
        self.seconds
            .retain(|(of, _)| (first_s..=last_s).contains(of));
        self.asked_s = self.asked_s.min(last_s);
    }

    fn evidence(&self, now_s: i64) -> Evidence {
        let mut evidence = Evidence {
            seconds: SHORTEST_S,
            ..Evidence::default()
        };
        for (of, counts) in self.seconds.iter().rev() {
            let age_s = now_s.saturating_sub(*of);
            if age_s >= SHORTEST_S && evidence.counts.attempts >= LEAST_ATTEMPTS {
                break;
            }
            evidence.counts.add(*counts);
            evidence.seconds = evidence.seconds.max(age_s.saturating_add(1));
        }
        evidence
    }

    fn go_to(&mut self, wanted: u32, reason: Reason, now_ms: i64) {
        let before = self.factor_ppm;
        let since_ms = now_ms.saturating_sub(self.moved_ms);
        if wanted < before {
            self.factor_ppm = wanted;
            self.is_full = matches!(reason, Reason::RateLimited { .. });
        } else if !(0..RISE_EVERY_MS).contains(&since_ms) {
            let rise = if self.is_full { before / 2 } else { before };
            self.factor_ppm = wanted.min(before.saturating_add(rise));
        }
        if self.factor_ppm != before {
            self.moved_ms = now_ms;
        }
        let is_clear = matches!(reason, Reason::Healthy | Reason::NoBetterPeer { .. });
        self.reason = if is_clear && self.factor_ppm < WHOLE_PPM {
            Reason::Recovering
        } else {
            reason
        };
    }
}

/// What a target is compared with.
#[derive(Debug, Default)]
struct Peers {
    /// The least of their rates of failures, and of refusals as too many.
    errors_ppm: u64,
    rate_limited_ppm: u64,
    /// The median of their times.
    first_byte_ms: Option<u64>,
}

impl Peers {
    fn new(others: impl Iterator<Item = Counts>) -> Self {
        let others: Vec<Counts> = others
            .filter(|counts| counts.attempts >= LEAST_ATTEMPTS)
            .collect();
        let least = |part: fn(Counts) -> u64| {
            let rates = others.iter().map(|of| rate_ppm(part(*of), of.attempts));
            rates.min().unwrap_or(0)
        };
        let timed = others.iter().filter(|of| of.timed >= LEAST_ATTEMPTS);
        let mut times: Vec<u64> = timed.filter_map(|of| of.mean_first_byte_ms()).collect();
        times.sort_unstable();
        Self {
            errors_ppm: least(Counts::errors),
            rate_limited_ppm: least(|of| of.rate_limited),
            first_byte_ms: times.get(times.len() / 2).copied(),
        }
    }
}

/// What is to be kept of the share, and why.
fn judge(of: Counts, peers: &Peers) -> (u32, Reason) {
    if of.attempts < LEAST_ATTEMPTS {
        return (WHOLE_PPM, Reason::Healthy);
    }
    let mut verdict = (WHOLE_PPM, Reason::Healthy);
    let mut lower_to = |factor: u32, reason: Reason| {
        if factor < verdict.0 || verdict.1 == Reason::Healthy {
            verdict = (factor, reason);
        }
    };
    if of.errors() >= LEAST_FAILURES {
        let rate = rate_ppm(of.errors(), of.attempts);
        let rate_ppm = narrowed(rate);
        let factor = kept(rate, TOLERATED_PPM.max(like(peers.errors_ppm)));
        if factor < WHOLE_PPM {
            lower_to(factor, Reason::Errors { rate_ppm });
        } else if rate > TOLERATED_PPM {
            lower_to(factor, Reason::NoBetterPeer { rate_ppm });
        }
    }
    if of.rate_limited >= LEAST_FAILURES {
        let rate = rate_ppm(of.rate_limited, of.attempts);
        let rate_ppm = narrowed(rate);
        let factor = kept(rate, like(peers.rate_limited_ppm));
        if factor < WHOLE_PPM {
            lower_to(factor, Reason::RateLimited { rate_ppm });
        } else {
            lower_to(factor, Reason::NoBetterPeer { rate_ppm });
        }
    }
    if let (Some(own), Some(peers_ms)) = (of.mean_first_byte_ms(), peers.first_byte_ms)
        && of.timed >= LEAST_ATTEMPTS
        && own > peers_ms.saturating_mul(SLOW_TIMES)
        && own > peers_ms.saturating_add(SLOW_BY_MS)
    {
        let factor = rate_ppm(peers_ms.saturating_mul(SLOW_TIMES), own);
        let reason = Reason::Slow {
            first_byte_ms: own,
            peers_ms,
        };
        lower_to(narrowed(factor).max(SLOW_FLOOR_PPM), reason);
    }
    verdict
}

/// The rate up to which somebody is no worse than its peers: theirs, and a quarter for chance.
const fn like(rate_ppm: u64) -> u64 {
    rate_ppm.saturating_add(rate_ppm / 4)
}

/// What is left of a share when attempts fail at this rate, where `tolerated` is nothing unusual: the fourth
/// power of those that do not. So a tenth of failures costs a fifth of the share, and a half nearly all.
fn kept(rate_ppm: u64, tolerated_ppm: u64) -> u32 {
    let room = ONE.saturating_sub(tolerated_ppm);
    let above = rate_ppm.saturating_sub(tolerated_ppm);
    let Some(excess) = above.saturating_mul(ONE).checked_div(room) else {
        return WHOLE_PPM;
    };
    let good = ONE.saturating_sub(excess);
    let square = |of: u64| of.saturating_mul(of).checked_div(ONE).unwrap_or(0);
    narrowed(square(square(good))).max(FLOOR_PPM)
}

/// One in parts per million of the other, one at most.
fn rate_ppm(part: u64, whole: u64) -> u64 {
    let rate = part.saturating_mul(ONE).checked_div(whole);
    rate.unwrap_or(0).min(ONE)
}

fn narrowed(ppm: u64) -> u32 {
    u32::try_from(ppm).unwrap_or(WHOLE_PPM).min(WHOLE_PPM)
}

const fn second(now_ms: i64) -> i64 {
    now_ms.div_euclid(1_000)
}
