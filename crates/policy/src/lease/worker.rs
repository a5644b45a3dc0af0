//! What one worker's VM holds of limits, in its own memory: the usual request reserves here and asks
//! nobody.
//!
//! A block that is not used for a while goes back to the process's pool, and what the pool holds beyond
//! its standing lease goes back to the control plane. When there is too little, the worker says what to
//! [ask](Want) for.

mod known;

use std::collections::{BTreeSet, HashMap};

use super::pools::{self, Of, Pools};
use super::{Block, LeaseId, Pool, Session, standing};
use crate::limit::{Exceeded, Limit};

/// A request asks so often for what it lacks. Whoever finds every time that others were faster is refused.
const MOST_ASKS: u32 = 3;
/// A block that was not used for so many ticks goes back.
const IDLE_TICKS: u32 = 10;
/// What was not answered for so many ticks is said again.
const UNANSWERED_TICKS: u32 = 20;
/// So many wants of one limit are remembered as unanswered.
const MOST_OPEN: usize = 64;
/// How long a limit that had nothing left is not asked for again.
const DRY_MS: i64 = 200;

/// Under which what is held is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tenure {
    /// The session; 0: none yet.
    pub session: Session,
    /// Its divisor; see [`standing`].
    pub divisor: u32,
}

/// What a request needs of a limit.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// How much, in its unit.
    pub amount: i64,
}

/// A reservation that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Of which lease.
    pub lease: LeaseId,
    /// All that counts against the limit in that window now, as far as it is known here.
    pub used: i64,
}

/// Why nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is too little here: ask for this.
    Short(Vec<Want>),
    /// The need at this index cannot be met.
    Exceeded(usize, Exceeded),
    /// A limit has no pool, or no session has begun: the policy is not whole.
    Unavailable,
}

/// What is wanted of a limit, or only said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The limit.
    pub limit_id: String,
    /// Which lease.
    pub lease: LeaseId,
    /// Lent in all, as it is known here.
    pub lent: i64,
    /// Given back in all.
    pub returned: i64,
    /// How much is missing; 0: nothing, this only tells.
    pub missing: i64,
    /// A request waits for it.
    pub waits: bool,
    /// The how many-th of this worker about this limit.
    number: u64,
}

/// What the control plane answers to a [`Want`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    /// In all.
    pub total: i64,
    /// Little is left.
    pub tight: bool,
    /// Used by all sessions.
    pub posted: i64,
    /// What counts against the limit.
    pub committed: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Worker {
    limits: HashMap<String, Held>,
}

/// Of one limit.
#[derive(Debug, Default)]
struct Held {
    now: Block,
    /// Of leases that are over, for as long as requests that reserved from them are in flight.
    before: Vec<Block>,
    /// What may be used of the limit unasked.
    standing: i64,
    tight: bool,
    /// The recalls of the pool that have been seen to.
    recalls: i64,
    /// What everyone else, and everyone else in this process, has used or holds.
    elsewhere: i64,
    idle_ticks: u32,
    /// The pool ran low: ask for so much more.
    ahead: i64,
    /// What the control plane last told somebody who waits.
    told: Option<Told>,
    /// How many wants there have been.
    said: u64,
    /// Of those before the last, which have not been answered.
    open: BTreeSet<u64>,
    /// For so many ticks the last of them has not been answered: the control plane may have lent something,
    /// or not know what was returned.
    unanswered_ticks: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    lease: LeaseId,
    posted: i64,
    committed: i64,
    /// For so much there was too little, and there is until then.
    dry: Option<(i64, i64)>,
}

impl Worker {
    /// Takes everything that is needed, or nothing. `asked`: how often this request has asked for it.
    pub fn reserve_all(
        &mut self,
        pools: &impl Pools,
        tenure: Tenure,
        needs: &[Need<'_>],
        asked: u32,
        now_ms: i64,
    ) -> Result<Vec<Taken>, Refused> {
        if tenure.session == 0 && !needs.is_empty() {
            return Err(Refused::Unavailable);
        }
        // Look first: a request that one limit refuses must take nothing of another.
        let mut short = Vec::new();
        for (index, need) in needs.iter().enumerate() {
            let held = self.open(tenure, need.limit, now_ms);
            // What is held of a limit that was lowered since is not to be used up first.
            let is_possible = need.amount <= need.limit.max;
            if is_possible && held.now.missing(need.amount) == 0 {
                continue;
            }
            let pool = pools::look(pools, held.of(&need.limit.id)).ok_or(Refused::Unavailable)?;
            held.see(pool);
            let missing = held.now.missing(need.amount).saturating_sub(pool.free());
            if is_possible && missing <= 0 {
                continue;
            }
            if asked >= MOST_ASKS || held.is_hopeless(need, missing, now_ms) {
                return Err(Refused::Exceeded(index, held.exceeded(need.limit, pool)));
            }
            short.push(held.say(&need.limit.id, pool, missing, true));
        }
        if !short.is_empty() {
            return Err(Refused::Short(short));
        }
        for need in needs {
            let held = self.open(tenure, need.limit, now_ms);
            held.cover(pools, &need.limit.id, need.amount)?;
        }
        let mut all = Vec::with_capacity(needs.len());
        for need in needs {
            let held = self.open(tenure, need.limit, now_ms);
            held.now.reserve(need.amount);
            all.push(Taken {
                lease: held.now.id,
                used: held.used(),
            });
        }
        Ok(all)
    }

    /// What is held of a limit, in the window of now.
    fn open(&mut self, tenure: Tenure, limit: &Limit, now_ms: i64) -> &mut Held {
        if !self.limits.contains_key(&limit.id) {
            self.limits.insert(limit.id.clone(), Held::default());
        }
        let held = self.limits.entry(limit.id.clone()).or_default();
        let lease = LeaseId {
            session: tenure.session,
            window_start_ms: limit.window(now_ms).start_ms,
        };
        // A clock that steps back reopens nothing.
        if lease > held.now.id {
            held.turn_to(lease);
        }
        held.standing = standing(limit.max, tenure.divisor);
        held.idle_ticks = 0;
        held
    }

    /// Replaces a reservation by what was used; zero gives it back.
    pub fn settle(
        &mut self,
        pools: &impl Pools,
        limit_id: &str,
        lease: LeaseId,
        reserved: i64,
        used: i64,
    ) {
        let held = self.limits.get_mut(limit_id);
        let Some(held) = held.filter(|held| held.has(lease)) else {
            // Only a reservation of nothing outlives its block.
            pools::change(pools, limit_id, |pool| pool.overdraw(lease, used));
            return;
        };
        let overdrawn = held
            .block(lease)
            .map_or(0, |block| block.settle(reserved, used));
        held.before.retain(|block| block.reserved > 0);
        held.idle_ticks = 0;
        let spare = if held.tight && held.now.id == lease {
            held.now.shrink(0)
        } else {
            0
        };
        if overdrawn == 0 && spare == 0 {
            return;
        }
        let pool = pools::change(pools, limit_id, |pool| {
            pool.give_back(lease, spare).overdraw(lease, overdrawn)
        });
        if let Some(pool) = pool {
            held.see(pool);
        }
    }

    /// What the control plane answers to a want.
    pub fn on_lent(&mut self, pools: &impl Pools, want: &Want, lent: Lent, now_ms: i64) {
        // Who asked may have been the first to look at the pool in this window.
        let pool = pools::change(pools, &want.limit_id, |pool| {
            let pool = pool.at(want.lease, want.lent);
            pool.on_lent(want.lease, lent.total, lent.tight)
        });
        // What was lent is looked after, and returned if nobody uses it.
        let held = self.limits.entry(want.limit_id.clone()).or_default();
        if held.now.id == LeaseId::default() {
            held.turn_to(want.lease);
        }
        held.open.remove(&want.number);
        if want.number == held.said {
            // One that is still under way may be granted after this one was answered: say it once more.
            let others = std::mem::take(&mut held.open);
            held.unanswered_ticks = (!others.is_empty()).then_some(0);
        }
        let got = lent.total.saturating_sub(want.lent);
        if want.waits {
            held.told = Some(Told {
                lease: want.lease,
                posted: lent.posted,
                committed: lent.committed,
                dry: (got < want.missing).then_some((want.missing, now_ms.saturating_add(DRY_MS))),
            });
        }
        if let Some(pool) = pool {
            held.see(pool);
        }
    }

    /// Others need what this process does not use of a limit. Gives what the control plane is to be told;
    /// every other worker of the process has to [look](Self::tick).
    pub fn recall(&mut self, pools: &impl Pools, of: Of<'_>) -> Option<Want> {
        let pool = pools::recall(pools, of)?;
        let held = self.limits.entry(of.limit_id.to_owned()).or_default();
        held.standing = of.standing;
        held.see(pool);
        // Of a window that is over nobody needs anything.
        (pool.id == held.now.id).then(|| {
            held.recalls = pool.recalls;
            let said = held.let_go(pools, of.limit_id, 0);
            said.unwrap_or_else(|| held.say(of.limit_id, pool, 0, false))
        })
    }

    /// What a worker does now and then. `look`: something was recalled. Gives what the control plane is to
    /// be asked and told.
    pub fn tick(&mut self, pools: &impl Pools, look: bool) -> Vec<Want> {
        let mut wants = Vec::new();
        self.limits.retain(|limit_id, held| {
            held.idle_ticks = held.idle_ticks.saturating_add(1);
            let is_idle = held.idle_ticks > IDLE_TICKS;
            let mut is_recalled = false;
            if look && let Some(pool) = pools::look(pools, held.of(limit_id)) {
                held.see(pool);
                is_recalled = held.recalls != pool.recalls && held.now.id == pool.id;
                held.recalls = pool.recalls;
            }
            held.unanswered_ticks = held.unanswered_ticks.map(|ticks| ticks.saturating_add(1));
            let is_unanswered = held
                .unanswered_ticks
                .is_some_and(|ticks| ticks >= UNANSWERED_TICKS);
            let said = if held.tight || is_recalled || is_idle {
                let keep = if held.tight || is_recalled {
                    0
                } else {
                    held.standing
                };
                held.let_go(pools, limit_id, keep)
            } else {
                None
            };
            let ahead = std::mem::take(&mut held.ahead);
            if said.is_some() {
                wants.extend(said);
            } else if (ahead > 0 || is_unanswered)
                && let Some(pool) = pools::look(pools, held.of(limit_id))
            {
                held.see(pool);
                let missing = ahead.saturating_sub(pool.free());
                wants.push(held.say(limit_id, pool, missing, false));
            }
            // What is forgotten here is counted in the pool.
            let is_at_rest = held.now.reserved == 0 && held.before.is_empty();
            !(is_idle && is_at_rest && held.unanswered_ticks.is_none())
        });
        wants
    }
}

impl Held {
    const fn of<'a>(&self, limit_id: &'a str) -> Of<'a> {
        Of {
            limit_id,
            lease: self.now.id,
            standing: self.standing,
        }
    }

    /// Takes from the pool what the block lacks for `amount`.
    fn cover(&mut self, pools: &impl Pools, limit_id: &str, amount: i64) -> Result<(), Refused> {
        loop {
            let missing = self.now.missing(amount);
            if missing == 0 {
                return Ok(());
            }
            match pools::take(pools, self.of(limit_id), missing) {
                Some(Ok((pool, size))) => {
                    self.see(pool);
                    self.now.grow(size);
                    self.elsewhere = self.elsewhere.saturating_sub(size);
                    // What is left may not do for the next one.
                    if !pool.tight && pool.free() < size {
                        self.ahead = size.saturating_mul(2);
                    }
                }
                Some(Err((pool, short))) => {
                    self.see(pool);
                    let want = self.say(limit_id, pool, short.missing, true);
                    return Err(Refused::Short(vec![want]));
                }
                None => return Err(Refused::Unavailable),
            }
        }
    }

    /// What a pool says. Another worker may have seen the window end before this one did.
    fn see(&mut self, pool: Pool) {
        if pool.id < self.now.id {
            return;
        }
        if pool.id > self.now.id {
            self.turn_to(pool.id);
        }
        self.tight = pool.tight;
        let in_process = pool.taken.saturating_sub(self.now.size);
        self.elsewhere = pool.others.saturating_add(in_process);
    }

    fn turn_to(&mut self, lease: LeaseId) {
        let over = std::mem::replace(&mut self.now, Block::empty(lease));
        if over.reserved > 0 {
            self.before.push(over);
        }
        self.tight = false;
        self.recalls = 0;
        self.elsewhere = 0;
        self.ahead = 0;
        self.open.clear();
        self.unanswered_ticks = None;
    }

    fn used(&self) -> i64 {
        self.elsewhere
            .saturating_add(self.now.used)
            .saturating_add(self.now.reserved)
    }

    fn has(&self, lease: LeaseId) -> bool {
        self.now.id == lease || self.before.iter().any(|block| block.id == lease)
    }

    fn block(&mut self, lease: LeaseId) -> Option<&mut Block> {
        if self.now.id == lease {
            return Some(&mut self.now);
        }
        self.before.iter_mut().find(|block| block.id == lease)
    }

    /// Is there no point in asking? More than the limit allows at all, or there was too little a moment
    /// ago.
    fn is_hopeless(&self, need: &Need<'_>, missing: i64, now_ms: i64) -> bool {
        let is_dry = self
            .told
            .filter(|told| told.lease == self.now.id)
            .and_then(|told| told.dry)
            .is_some_and(|(too_much, until_ms)| missing >= too_much && now_ms < until_ms);
        is_dry || need.amount > need.limit.max
    }

    /// What a caller is told who is refused.
    fn exceeded(&self, limit: &Limit, pool: Pool) -> Exceeded {
        let told = self.told.filter(|told| told.lease == self.now.id);
        let committed = told.map_or(0, |told| told.committed);
        // What is held here and too little for this request is used by nobody.
        let spare = pool.free().saturating_add(self.now.slack());
        let used = committed.saturating_sub(spare).max(self.used());
        Exceeded {
            used,
            reserved: told.map_or(self.now.reserved, |told| {
                used.saturating_sub(told.posted).max(0)
            }),
            resets_at_ms: limit.window(self.now.id.window_start_ms).end_ms,
        }
    }

    /// Gives the block's slack back to the pool, and what the pool holds beyond `keep` to the control plane.
    fn let_go(&mut self, pools: &impl Pools, limit_id: &str, keep: i64) -> Option<Want> {
        let lease = self.now.id;
        let spare = self.now.shrink(0);
        let mut returned = 0;
        let before = pools::look(pools, self.of(limit_id))?.returned;
        let pool = pools::change(pools, limit_id, |pool| {
            if pool.id == lease {
                pool.give_back(lease, spare).return_beyond(keep)
            } else {
                pool
            }
        })?;
        if pool.id == lease {
            returned = pool.returned.saturating_sub(before);
        }
        self.see(pool);
        (returned > 0).then(|| self.say(limit_id, pool, 0, false))
    }

    /// Something to say to the control plane, until it is answered.
    fn say(&mut self, limit_id: &str, pool: Pool, missing: i64, waits: bool) -> Want {
        self.said = self.said.saturating_add(1);
        self.open.insert(self.said);
        // What has not been answered for so long will not be.
        if self.open.len() > MOST_OPEN {
            self.open.pop_first();
        }
        self.unanswered_ticks = Some(0);
        Want {
            limit_id: limit_id.to_owned(),
            lease: pool.id,
            lent: pool.lent,
            returned: pool.returned,
            missing: missing.max(0),
            waits,
            number: self.said,
        }
    }
}
