//! A limit's window in the control plane: who holds how much of it.

use std::collections::BTreeMap;

use super::standing;

/// One life of an Envoy process, by its number in the ledger.
pub type Session = i64;

/// What a session has to do with an account. Totals of the window, in the limit's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holding {
    /// Lent to it, its standing lease included.
    pub lent: i64,
    /// Given back by it.
    pub returned: i64,
    /// Used by it, as its usage records say.
    pub posted: i64,
}

impl Holding {
    /// What counts against the limit.
    pub fn committed(self) -> i64 {
        self.lent.saturating_sub(self.returned).max(self.posted)
    }

    /// What it could still use.
    pub fn unspent(self) -> i64 {
        self.committed().saturating_sub(self.posted)
    }
}

/// What a session says when it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Who asks.
    pub session: Session,
    /// What it has been lent in all, as it knows it.
    pub lent: i64,
    /// What it has given back in all.
    pub returned: i64,
    /// How much more it would have; 0: it only tells.
    pub want: i64,
    /// A request waits for it. Otherwise nobody is troubled for it, and less will do.
    pub waits: bool,
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Lent in all.
    pub lent: i64,
    /// Little is left: hold nothing that is not needed at once.
    pub tight: bool,
    /// It got nothing, and somebody holds something that is not spent (maybe a worker of the asker's own
    /// process): it should be asked to return it.
    pub recall: bool,
    /// What all sessions have used.
    pub posted: i64,
    /// What counts against the limit.
    pub committed: i64,
}

/// What an account has to keep to.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The most in this window.
    pub max: i64,
    /// What standing leases are a part of: the limit without what was added for this window.
    pub base: i64,
    /// All sessions that a standing lease is counted for, with their divisors.
    pub sessions: &'a BTreeMap<Session, u32>,
    /// What is lent comes back when it has been used: slots. Then little that is left is no reason to hold
    /// nothing ready; only that somebody asked in vain is.
    pub comes_back: bool,
}

impl Terms<'_> {
    fn standing(self, session: Session) -> i64 {
        let divisor = self.sessions.get(&session).copied().unwrap_or_default();
        standing(self.base, divisor)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    holdings: BTreeMap<Session, Holding>,
}

impl Account {
    /// From what is stored.
    pub fn from_holdings(holdings: impl IntoIterator<Item = (Session, Holding)>) -> Self {
        Self {
            holdings: holdings.into_iter().collect(),
        }
    }

    /// What a session holds, where it has a holding.
    pub fn holding(&self, session: Session) -> Option<Holding> {
        self.holdings.get(&session).copied()
    }

    /// Every holding, by session.
    pub fn holdings(&self) -> impl Iterator<Item = (Session, Holding)> {
        self.holdings
            .iter()
            .map(|(session, holding)| (*session, *holding))
    }

    /// What all sessions have used.
    pub fn posted(&self) -> i64 {
        let posted = self.holdings.values().map(|holding| holding.posted);
        posted.fold(0, i64::saturating_add)
    }

    /// What counts against the limit.
    pub fn committed(&self, terms: Terms<'_>) -> i64 {
        let held = self.holdings.values().map(|holding| holding.committed());
        let standing = self.untouched(terms).map(|(_, standing)| standing);
        held.chain(standing).fold(0, i64::saturating_add)
    }

    /// Standing leases of sessions that have not been heard of here.
    fn untouched(&self, terms: Terms<'_>) -> impl Iterator<Item = (Session, i64)> {
        terms
            .sessions
            .keys()
            .filter(|session| !self.holdings.contains_key(session))
            .map(move |session| (*session, terms.standing(*session)))
    }

    /// Who holds something that is not spent.
    pub fn holders(&self, terms: Terms<'_>) -> impl Iterator<Item = Session> {
        let holdings = self
            .holdings()
            .map(|(session, holding)| (session, holding.unspent()));
        holdings
            .chain(self.untouched(terms))
            .filter(|(_, unspent)| *unspent > 0)
            .map(|(session, _)| session)
    }

    /// A session joins, and is about to be counted with `divisor`. False: its standing lease does not
    /// fit, so it has none in this window (a holding of nothing), and has to be told so before it uses any.
    pub fn join(&mut self, session: Session, divisor: u32, terms: Terms<'_>) -> bool {
        let joined = self
            .committed(terms)
            .saturating_add(standing(terms.base, divisor));
        let fits = joined <= terms.max;
        if !fits {
            self.holdings.entry(session).or_default();
        }
        fits
    }

    /// Answers a session. Far from the limit it is lent more than it wants, so that it need not come
    /// again soon; near the limit exactly that. What is not enough is not lent: two that hold half of what
    /// they need would keep it from each other.
    pub fn ask(&mut self, ask: Ask, terms: Terms<'_>) -> Answer {
        /// The part of what is available that one session is lent ahead of its need, at most.
        const SHARE: i64 = 4;
        /// A session is lent so many times what it wants, at most.
        const AHEAD: i64 = 16;
        /// A limit of which less than this part is available is tight, and one that does for fewer requests
        /// than this.
        const TIGHT: i64 = 16;

        let holding = self.touch(ask.session, terms);
        holding.lent = holding.lent.max(ask.lent);
        holding.returned = holding.returned.max(ask.returned);
        // What it used beyond what it held counts already: covering that takes nothing more.
        let held = holding.lent.saturating_sub(holding.returned);
        let overdrawn = holding.posted.saturating_sub(held).max(0);
        let available = terms
            .max
            .saturating_sub(self.committed(terms))
            .max(0)
            .saturating_add(overdrawn);
        let want = ask.want.max(0);
        let sharers = i64::try_from(terms.sessions.len())
            .unwrap_or(i64::MAX)
            .max(1);
        let share = available
            .checked_div(SHARE.saturating_mul(sharers))
            .unwrap_or_default();
        let short = ask.waits && want > available;
        let granted = match (ask.waits, short) {
            (true, true) => 0,
            (true, false) => share.min(want.saturating_mul(AHEAD)).max(want),
            (false, _) => share.min(want),
        };
        let holding = self.touch(ask.session, terms);
        holding.lent = holding.lent.saturating_add(granted);
        let lent = holding.lent;
        let committed = self.committed(terms);
        let left = terms.max.saturating_sub(committed);
        let is_near = left < terms.max.checked_div(TIGHT).unwrap_or_default()
            || (ask.waits && left < want.saturating_mul(TIGHT));
        Answer {
            lent,
            tight: short || (is_near && !terms.comes_back),
            recall: short && self.holders(terms).next().is_some(),
            posted: self.posted(),
            committed,
        }
    }

    /// A session has used `amount`, according to a record that is counted once.
    pub fn post(&mut self, session: Session, amount: i64, terms: Terms<'_>) {
        let holding = self.touch(session, terms);
        holding.posted = holding.posted.saturating_add(amount.max(0));
    }

    /// Takes from a session that is over what it has not spent. Gives that amount.
    pub fn release(&mut self, session: Session) -> i64 {
        let Some(holding) = self.holdings.get_mut(&session) else {
            return 0;
        };
        let unspent = holding.unspent();
        holding.returned = holding.returned.saturating_add(unspent);
        unspent
    }

    fn touch(&mut self, session: Session, terms: Terms<'_>) -> &mut Holding {
        self.holdings.entry(session).or_insert_with(|| Holding {
            lent: terms.standing(session),
            ..Holding::default()
        })
    }
}
