//! What one worker's VM holds of limits, in its own memory: the usual request reserves here and asks
//! nobody.
//!
//! A block that is not used for a while goes back to the process's pool, and what the pool holds beyond
//! its standing lease goes back to the control plane. When there is too little, the worker says what to
//! [ask](Want) for.

mod answers;
mod known;
mod postponed;

use std::collections::{BTreeMap, BTreeSet};

use super::pools::{self, Of, Pools};
use super::{Block, LeaseId, Need, Pool, Refused, Taken, Want, emergency_allowance, standing};
use crate::limit::{Exceeded, Limit, Metric};

/// A request asks so often for what it lacks. Whoever finds every time that others were faster is refused.
const MOST_ASKS: u32 = 3;
/// A block that was not used for so many ticks goes back.
const IDLE_TICKS: u32 = 10;
/// The same of slots, of which nothing stands ready without having been asked for.
const IDLE_TICKS_OF_SLOTS: u32 = 100;
/// What was not answered for so many ticks is said again.
const UNANSWERED_TICKS: u32 = 20;
/// So many wants of one limit are remembered as unanswered.
const MOST_OPEN: usize = 64;
/// How long a limit that had nothing left is not asked for again.
const DRY_MS: i64 = 200;

/// See the module.
#[derive(Debug, Default)]
pub struct Worker {
    /// In order, so that a simulation is replayed by its seed.
    limits: BTreeMap<String, Held>,
}

/// Of one limit.
#[derive(Debug, Default)]
struct Held {
    now: Block,
    /// Of leases that are over, for as long as requests that reserved from them are in flight.
    before: Vec<Block>,
    /// What may be used of the limit unasked.
    standing: i64,
    /// A block is never larger than what is reserved in it; see [`Pool::take_exactly`].
    exactly: bool,
    /// The limit, as the last request saw it.
    max: i64,
    /// More may be lent than that: it was lowered.
    is_over: bool,
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
    /// Something was asked for, and nothing was said since all was quiet. The control plane may have lent it
    /// once more, to a want that came late or twice, and that answer be lost.
    in_doubt: bool,
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
        needs: &[Need<'_>],
        asked: u32,
        now_ms: i64,
    ) -> Result<Vec<Taken>, Refused> {
        if needs.iter().any(|need| need.tenure.session == 0) {
            return Err(Refused::Unavailable);
        }
        // Look first: a request that one limit refuses must take nothing of another.
        let mut short = Vec::new();
        for (index, need) in needs.iter().enumerate() {
            let held = self.open(*need, now_ms);
            if held.exactly && asked == 0 {
                held.heed_lowering(pools, need.limit);
            }
            // What is held of a limit that was lowered since is not to be used up first.
            let is_possible = held.is_possible(need);
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
            let held = self.open(*need, now_ms);
            if let Err(refused) = held.cover(pools, &need.limit.id, need.amount) {
                self.drop_slots(pools, needs);
                return Err(refused);
            }
        }
        let mut all = Vec::with_capacity(needs.len());
        for need in needs {
            let held = self.open(*need, now_ms);
            held.now.reserve(need.amount);
            all.push(Taken {
                lease: held.now.id,
                used: held.used(),
            });
        }
        Ok(all)
    }

    /// Gives back what was taken for a request that does not go on: no block of slots is larger than what is
    /// in use.
    fn drop_slots(&mut self, pools: &impl Pools, needs: &[Need<'_>]) {
        for need in needs {
            let held = self.limits.get_mut(&need.limit.id);
            if let Some(held) = held.filter(|held| held.exactly) {
                let (lease, spare) = (held.now.id, held.now.shrink(0));
                pools::change(pools, &need.limit.id, |pool| pool.give_back(lease, spare));
            }
        }
    }

    /// What is held of a limit, in the window of now.
    fn open(&mut self, need: Need<'_>, now_ms: i64) -> &mut Held {
        let Need { limit, tenure, .. } = need;
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
        held.exactly = limit.metric == Metric::InFlight;
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
        let spare = if (held.tight || held.exactly) && held.now.id == lease {
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

    /// Forgets a reservation that somebody else has given back to the pool.
    pub fn write_off(&mut self, limit_id: &str, lease: LeaseId, amount: i64) {
        if let Some(block) = self
            .limits
            .get_mut(limit_id)
            .and_then(|held| held.block(lease))
        {
            block.write_off(amount);
        }
    }

    /// Makes room for what is needed though the control plane cannot be asked, each limit by no more than so
    /// much of it, in all workers of the process together. Slots have no such allowance.
    pub fn draw(&mut self, pools: &impl Pools, needs: &[Need<'_>], percent: u32, now_ms: i64) {
        for need in needs {
            let most = emergency_allowance(need.limit, percent);
            let held = self.open(*need, now_ms);
            let (of, missing) = (held.of(&need.limit.id), held.now.missing(need.amount));
            pools::change(pools, &need.limit.id, |pool| {
                let pool = pool.at(of.lease, of.standing);
                pool.draw(missing, most).unwrap_or(pool)
            });
        }
    }

    /// Others need what this process does not use of a limit. Gives what the control plane is to be told;
    /// every other worker of the process has to [look](Self::tick).
    pub fn recall(&mut self, pools: &impl Pools, of: Of<'_>) -> Option<Want> {
        let pool = pools::recall(pools, of)?;
        let held = self.limits.entry(of.limit_id.to_owned()).or_default();
        held.standing = of.standing;
        held.exactly = of.exactly;
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
            let is_idle = held.idle_ticks > held.most_idle_ticks();
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
            let is_over = is_idle && is_at_rest && held.unanswered_ticks.is_none();
            // The last word, when nothing can be under way any more: its answer says all that was lent.
            if is_over
                && held.in_doubt
                && let Some(pool) = pools::look(pools, held.of(limit_id))
            {
                if held.idle_ticks > UNANSWERED_TICKS {
                    wants.push(held.say(limit_id, pool, 0, false));
                }
                return true;
            }
            !is_over
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
            exactly: self.exactly,
        }
    }

    const fn most_idle_ticks(&self) -> u32 {
        if self.exactly {
            IDLE_TICKS_OF_SLOTS
        } else {
            IDLE_TICKS
        }
    }

    /// What was lent under a higher limit must not go round and round: a slot never expires. It goes back
    /// as it becomes free, and the control plane is asked for each.
    fn heed_lowering(&mut self, pools: &impl Pools, limit: &Limit) {
        let before = std::mem::replace(&mut self.max, limit.max);
        self.is_over |= limit.max < before;
        if self.is_over {
            pools::recall(pools, self.of(&limit.id));
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

    /// Does the limit allow so much at all?
    fn is_possible(&self, need: &Need<'_>) -> bool {
        need.amount <= need.limit.max_in(self.now.id.window_start_ms)
    }

    /// Is there no point in asking? More than the limit allows at all, or there was too little a moment
    /// ago.
    fn is_hopeless(&self, need: &Need<'_>, missing: i64, now_ms: i64) -> bool {
        let is_dry = self
            .told
            .filter(|told| told.lease == self.now.id)
            .and_then(|told| told.dry)
            .is_some_and(|(too_much, until_ms)| missing >= too_much && now_ms < until_ms);
        is_dry || !self.is_possible(need)
    }

    /// What a caller is told who is refused.
    fn exceeded(&self, limit: &Limit, pool: Pool) -> Exceeded {
        let told = self.told.filter(|told| told.lease == self.now.id);
        let committed = told.map_or(0, |told| told.committed);
        // What is held here and too little for this request is used by nobody.
        let spare = pool.free().saturating_add(self.now.slack());
        let used = committed.saturating_sub(spare).max(self.used());
        Exceeded {
            max: limit.max_in(self.now.id.window_start_ms),
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
        let before = pools::look(pools, self.of(limit_id))?.returned;
        let pool = pools::change(pools, limit_id, |pool| {
            if pool.id == lease {
                pool.give_back(lease, spare).return_beyond(keep)
            } else {
                pool
            }
        })?;
        self.see(pool);
        let has_returned = pool.id == lease && pool.returned > before;
        has_returned.then(|| self.say(limit_id, pool, 0, false))
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
        if missing > 0 {
            self.in_doubt = true;
        } else if self.idle_ticks > UNANSWERED_TICKS {
            self.in_doubt = false;
        }
        Want {
            limit_id: limit_id.to_owned(),
            lease: pool.id,
            lent: pool.lent,
            returned: pool.returned,
            // What was drawn is to be covered, too.
            missing: if missing > 0 {
                missing.saturating_add(pool.emergency)
            } else {
                0
            },
            waits,
            number: self.said,
        }
    }
}
