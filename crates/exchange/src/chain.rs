//! The attempts of one request: which provider is asked first, and which one after another if it fails.
//!
//! Each attempt is a [`Plan`] of its own that has passed every check, so wherever the request ends up, it
//! was judged, priced and reserved for before its first byte left. One attempt is charged, the one that
//! answered; so what is reserved of a limit is the most that any one of them can take of it.

use reeve_policy::limit::Exceeded;
use reeve_policy::money::Nanos;
use reeve_policy::reservation::{OutputHistory, Sizing};
use reeve_policy::retry::{RetryClass, RetryOn};

use crate::Denial;
use crate::edit::Edit;
use crate::request::{Plan, Reservation};

/// Attempts that one request can have.
pub const MAX_ATTEMPTS: usize = 4;
/// The answers of a server that say that it has failed, or is overloaded (529 is Anthropic's, 520 to 524
/// are those of a proxy in front). What says that the request is not understood (501, 505) is not among them.
/// What they count as for adaptive shares is in `observed.rs`.
const SERVER_ERRORS: &str = "500,502,503,504,520,521,522,523,524,529";

/// The attempts, in order. One at least.
#[derive(Debug, Clone)]
pub struct Chain {
    first: Plan,
    others: Vec<Plan>,
    /// Of each limit the most that one of them takes; empty where there is one only.
    most: Vec<Reservation>,
    /// Who is not asked, and why.
    left_out: Vec<LeftOut>,
    /// Why the first choice is not among them any more: it had no room under a limit.
    denial: Option<Denial>,
    /// The routing rule that decided; `None`: none did.
    rule_id: Option<String>,
}

/// A provider that is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The provider, as far as there is one.
    pub provider: String,
    /// The model there.
    pub model: String,
    /// Why it is not asked.
    pub reason: Reason,
}

impl LeftOut {
    fn without_room(plan: Plan, denial: Denial) -> Self {
        Self {
            provider: plan.provider,
            model: plan.model,
            reason: Reason::NoRoom(denial),
        }
    }
}

/// Why a provider is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The key may not use it, or it has no price, or it does not serve the API.
    Denied(Denial),
    /// Its config has no weight: it is asked only by its name.
    NoWeight,
    /// This is not the API that its vendor is known for, and nothing says that the model is one of its own.
    Unlisted,
    /// It is asked earlier.
    Twice,
    /// There are enough without it.
    TooMany,
    /// There is no room under a limit.
    NoRoom(Denial),
}

/// Why a request is refused, and who would have been asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the caller is told.
    pub denial: Denial,
    /// Who is not asked, as far as that was looked at.
    pub left_out: Vec<LeftOut>,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self {
            denial,
            left_out: Vec::new(),
        }
    }
}

/// What is left of a chain when a limit has no room for it.
#[derive(Debug)]
pub enum Shortened {
    /// These attempts can do without that limit, or with less of it.
    GoOn(Chain),
    /// The one attempt, with its output bounded to so many tokens.
    Clamp(Chain, u64),
    /// Nothing: this is why.
    Refuse(Denial),
}

/// What becomes of a chain when too little of a limit is at hand, and there may be more.
#[derive(Debug)]
pub enum Pressed {
    /// These attempts have enough.
    GoOn(Chain),
    /// Its first attempt lacks something: it has to wait.
    Wait(Chain),
}

/// When Envoy makes the next attempt, in the values of its `x-envoy-` headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// `x-envoy-max-retries`
    pub most: usize,
    /// `x-envoy-retry-on`
    pub on: String,
    /// `x-envoy-retriable-status-codes`; empty: none.
    pub statuses: String,
}

impl From<Plan> for Chain {
    fn from(only: Plan) -> Self {
        Self {
            first: only,
            others: Vec::new(),
            most: Vec::new(),
            left_out: Vec::new(),
            denial: None,
            rule_id: None,
        }
    }
}

impl Chain {
    /// `denial`: why the first choice is not among the attempts. That is told if there is none.
    pub(crate) fn new(
        attempts: Vec<Plan>,
        left_out: Vec<LeftOut>,
        denial: Option<Denial>,
    ) -> Result<Self, Refusal> {
        let mut attempts = attempts.into_iter();
        let Some(first) = attempts.next() else {
            let denial = denial.unwrap_or(Denial::PolicyUnavailable);
            return Err(Refusal { denial, left_out });
        };
        let chain = Self {
            first,
            others: attempts.collect(),
            most: Vec::new(),
            left_out,
            denial,
            rule_id: None,
        };
        Ok(chain.with_most())
    }

    /// The same, with [`Self::reservations`] as its attempts are now.
    fn with_most(mut self) -> Self {
        self.most = if self.is_single() {
            Vec::new()
        } else {
            most_of_each(self.attempts().map(|plan| plan.reservations.as_slice()))
        };
        self
    }

    pub(crate) fn ruled(self, rule_id: Option<String>) -> Self {
        Self { rule_id, ..self }
    }

    /// The routing rule that decided where it goes; `None`: none did.
    pub const fn rule_id(&self) -> Option<&String> {
        self.rule_id.as_ref()
    }

    /// The attempt that is made first.
    pub const fn first(&self) -> &Plan {
        &self.first
    }

    /// The attempt that is made first, alone.
    pub fn into_first(self) -> Plan {
        self.first
    }

    /// The chain without the attempts after the first, where nobody could make them.
    #[must_use]
    pub fn first_only(self) -> Self {
        Self {
            others: Vec::new(),
            most: Vec::new(),
            ..self
        }
    }

    /// All attempts, in order.
    pub fn attempts(&self) -> impl Iterator<Item = &Plan> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The attempt with this number, from 0; the first for a number that there is not.
    pub fn attempt(&self, number: usize) -> &Plan {
        self.attempts().nth(number).unwrap_or(&self.first)
    }

    /// Is there one attempt only?
    pub const fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    /// Who is not asked.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Why the first choice is not among the attempts; `None`: it is.
    pub const fn denial(&self) -> Option<&Denial> {
        self.denial.as_ref()
    }

    /// Takes the body to send from the first attempt.
    pub const fn take_body(&mut self) -> Option<Vec<u8>> {
        self.first.body.take()
    }

    /// Reserves what earlier answers suggest, where that is the setting.
    #[must_use]
    pub fn sized(mut self, history: &OutputHistory) -> Self {
        if self.first.output.reserving.sizing != Sizing::Balanced {
            return self;
        }
        self.first = self.first.sized(history);
        let others = self.others.into_iter();
        self.others = others.map(|plan| plan.sized(history)).collect();
        self.with_most()
    }

    /// The chain with this bound of the output in the body of its first attempt; `body` is the one to
    /// forward.
    #[must_use]
    pub fn clamped(mut self, tokens: u64, body: &[u8]) -> Self {
        self.first = self.first.clamped(tokens, body);
        self.with_most()
    }

    /// What to take before the first byte leaves: of each limit the most that one attempt can need.
    pub fn reservations(&self) -> &[Reservation] {
        if self.is_single() {
            &self.first.reservations
        } else {
            &self.most
        }
    }

    /// The most that it can cost, whoever answers.
    pub fn cost_bound(&self) -> Nanos {
        let bounds = self.attempts().map(|plan| plan.cost_bound);
        bounds.max().unwrap_or(Nanos::ZERO)
    }

    /// The chain when the reservation at `index` of [`Self::reservations`] found no room: without the
    /// attempts that need that much of the limit. When all of them do, the caller is told about the first
    /// choice. `body`: the caller's.
    pub fn shortened(
        mut self,
        index: usize,
        exceeded: Exceeded,
        body: impl FnOnce() -> Vec<u8>,
    ) -> Shortened {
        let Some(short) = self.reservations().get(index).cloned() else {
            return Shortened::Refuse(Denial::PolicyUnavailable);
        };
        let denial_of = |plan: &Plan| {
            let lacking = lacking(&plan.reservations, &short);
            lacking.map(|reservation| reservation.denial(exceeded))
        };
        let denial = self.denial.take().or_else(|| denial_of(&self.first));
        if self.attempts().all(|plan| denial_of(plan).is_some()) {
            return self.clamped_or_refused(&short, exceeded, denial);
        }
        match self.leave_out(denial_of, denial, body) {
            Ok(chain) => Shortened::GoOn(chain),
            Err(refusal) => Shortened::Refuse(refusal.denial),
        }
    }

    /// The chain when too little of some limits is at hand: without the attempts after the first that lack
    /// it. The first waits for what it needs itself, and for nothing else. `missing`: how much there is too
    /// little for one of [`Self::reservations`]; 0: nothing.
    pub fn pressed(mut self, missing: impl Fn(&Reservation) -> i64) -> Pressed {
        let all = self.reservations().iter();
        let short = all.filter_map(|of| {
            let missing = Some(missing(of)).filter(|missing| *missing > 0)?;
            let at_hand = of.amount.saturating_sub(missing);
            Some(Reservation {
                // Who takes nothing lacks nothing.
                amount: at_hand.saturating_add(1).max(1),
                ..of.clone()
            })
        });
        let short: Vec<Reservation> = short.collect();
        let has_enough = |plan: &Plan| {
            let mut short = short.iter();
            short.all(|short| lacking(&plan.reservations, short).is_none())
        };
        if !has_enough(&self.first) || self.others.iter().all(has_enough) {
            return Pressed::Wait(self);
        }
        for plan in std::mem::take(&mut self.others) {
            if has_enough(&plan) {
                self.others.push(plan);
            } else {
                let left_out = LeftOut::without_room(plan, Denial::LimitsUnavailable);
                self.left_out.push(left_out);
            }
        }
        Pressed::GoOn(self.with_most())
    }

    /// The chain without the attempts for which `denial_of` has one. `denial`: of the first choice, if it
    /// is not among the attempts after that.
    fn leave_out(
        mut self,
        denial_of: impl Fn(&Plan) -> Option<Denial>,
        denial: Option<Denial>,
        body: impl FnOnce() -> Vec<u8>,
    ) -> Result<Self, Refusal> {
        let sent = self.take_body();
        let mut kept = Vec::new();
        for plan in std::iter::once(self.first).chain(self.others) {
            match denial_of(&plan) {
                None => kept.push(plan),
                Some(denial) => self.left_out.push(LeftOut::without_room(plan, denial)),
            }
        }
        rebase(&mut kept, sent, body);
        let chain = Self::new(kept, self.left_out, denial)?;
        Ok(chain.ruled(self.rule_id))
    }

    /// No attempt has room under this limit.
    fn clamped_or_refused(
        self,
        short: &Reservation,
        exceeded: Exceeded,
        denial: Option<Denial>,
    ) -> Shortened {
        let mut of_first = self.first.reservations.iter();
        let index = of_first.position(|of| of.is_of_same_limit(short));
        match index.and_then(|index| self.first.clamp_to(index, exceeded)) {
            Some(tokens) => Shortened::Clamp(self.first_only(), tokens),
            None => Shortened::Refuse(denial.unwrap_or_else(|| short.denial(exceeded))),
        }
    }

    /// When the next attempt is made. `None`: there is one only.
    pub fn retry(&self) -> Option<Retry> {
        // After the last one there is nobody to try.
        let (_, before) = self.others.split_last()?;
        let mut classes = self.first.retry_on;
        for plan in before {
            classes = classes.union(plan.retry_on);
        }
        if classes == RetryOn::NONE {
            return None;
        }
        let (mut on, mut statuses) = (Vec::new(), Vec::new());
        for class in classes.classes() {
            match class {
                RetryClass::ConnectFailure => on.extend(["connect-failure", "refused-stream"]),
                RetryClass::ServerError => statuses.push(SERVER_ERRORS),
                RetryClass::RateLimited => statuses.push("429"),
                RetryClass::Timeout => on.push("reset"),
            }
        }
        if !statuses.is_empty() {
            on.push("retriable-status-codes");
        }
        Some(Retry {
            most: self.others.len(),
            on: on.join(","),
            statuses: statuses.join(","),
        })
    }

    /// How long one attempt may take until its answer begins, milliseconds: Envoy knows one time for all
    /// of them, so it is the longest that one may take. `None`: as long as it likes.
    pub fn per_try_timeout_ms(&self) -> Option<u32> {
        let mut longest = self.first.per_try_timeout_ms?;
        for plan in &self.others {
            longest = longest.max(plan.per_try_timeout_ms?);
        }
        Some(longest)
    }
}

/// Of each limit the most that one of these attempts takes.
pub fn most_of_each<'a>(attempts: impl Iterator<Item = &'a [Reservation]>) -> Vec<Reservation> {
    let mut all: Vec<Reservation> = Vec::new();
    for reservation in attempts.flatten() {
        let mut known = all.iter_mut();
        match known.find(|known| known.is_of_same_limit(reservation)) {
            Some(known) => known.amount = known.amount.max(reservation.amount),
            None => all.push(reservation.clone()),
        }
    }
    all
}

/// What an attempt that takes `own` wants of a limit that has no room for `short`. `None`: it can do
/// without, or with less.
pub fn lacking<'a>(own: &'a [Reservation], short: &Reservation) -> Option<&'a Reservation> {
    let mut own = own.iter();
    own.find(|of| of.is_of_same_limit(short) && of.amount >= short.amount)
}

/// Makes the first of these plans the one whose body is sent, and the edits of the others relative to it.
/// `sent`: the body that their edits were made for; `None`: the caller's.
fn rebase(plans: &mut [Plan], sent: Option<Vec<u8>>, body: impl FnOnce() -> Vec<u8>) {
    let Some((first, others)) = plans.split_first_mut() else {
        return;
    };
    let Some(edit) = first.edit.take() else {
        // It sends the same.
        first.body = sent;
        return;
    };
    let base = sent.unwrap_or_else(body);
    let sent = edit.apply(&base);
    for plan in others {
        plan.edit = match &plan.edit {
            Some(edit) => Edit::between(&sent, &edit.apply(&base)),
            None => Edit::between(&sent, &base),
        };
    }
    first.body = Some(sent);
}
