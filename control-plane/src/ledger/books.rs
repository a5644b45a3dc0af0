//! The writer's memory: accounts and terms as the database has them, for as long as nobody else
//! changes them, and what a transaction has changed so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use reeve_policy::lease::{Account, Holding, Session, Terms};
use reeve_policy::limit::Limit;

use super::accounts::{self, Changed, Stored};
use super::spending::{Change, Spending};
use super::transfers::{self, Kind, Transfer};
use super::{Key, sessions, slots};
use crate::db::{Error, Tx};
use crate::usage::spent;
use crate::virtual_keys::{self, in_flight};
use crate::{limits, policy_changes};

/// Accounts that are remembered; with more, all are forgotten.
const MOST_ACCOUNTS: usize = 400_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Of the holdings that are remembered.
    revision: i64,
    /// Of the limits that are remembered.
    policy_sequence: i64,
    sessions: BTreeMap<Session, u32>,
    /// Sessions of slots; nothing stands ready for any.
    slots: BTreeMap<Session, u32>,
    /// Of each the session of its process.
    processes: BTreeMap<Session, Session>,
    limits: HashMap<String, Option<Limit>>,
    accounts: HashMap<Key, Remembered>,
    /// Accounts that this transaction has changed.
    touched: Vec<Key>,
    /// Sessions that this transaction releases, and who does it.
    released: BTreeMap<Session, Option<&'static str>>,
}

/// What a transaction has stored.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Somebody has less to spend than before.
    pub(super) is_freed: bool,
    /// `None`: no holding has changed.
    pub(super) spending: Option<Spending>,
}

#[derive(Debug, Default)]
struct Remembered {
    /// As it is stored.
    stored: Account,
    account: Account,
    added: i64,
}

impl Books {
    /// Begins a transaction: forgets what others have changed since the last one.
    pub(super) async fn open(&mut self, tx: &mut Tx) -> Result<(), Error> {
        self.touched.clear();
        self.released.clear();
        let policy_sequence = policy_changes::latest(tx).await?;
        let revision = spent::latest(tx).await?;
        if policy_sequence != self.policy_sequence {
            self.limits.clear();
        }
        let stale = policy_sequence != self.policy_sequence || revision != self.revision;
        if stale || self.accounts.len() > MOST_ACCOUNTS {
            self.accounts.clear();
        }
        self.policy_sequence = policy_sequence;
        self.revision = revision;
        self.sessions = sessions::counted(tx).await?;
        self.processes = slots::counted(tx).await?;
        self.slots = self.processes.keys().map(|session| (*session, 0)).collect();
        Ok(())
    }

    /// A transaction has failed: nothing of it is true.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn sessions(&self) -> &BTreeMap<Session, u32> {
        &self.sessions
    }

    /// A session is counted from now on.
    pub(super) fn count(&mut self, session: Session, divisor: u32) {
        self.sessions.insert(session, divisor);
    }

    /// A session of slots is counted from now on.
    pub(super) fn count_slots(&mut self, session: Session, process: Session) {
        self.processes.insert(session, process);
        self.slots.insert(session, 0);
    }

    /// May it hold anything?
    pub(super) fn is_counted(&self, session: Session) -> bool {
        self.sessions.contains_key(&session) || self.slots.contains_key(&session)
    }

    /// The session of the process that holds something under this one.
    pub(super) fn process_of(&self, session: Session) -> Session {
        self.processes.get(&session).copied().unwrap_or(session)
    }

    /// A session is not counted any more.
    pub(super) fn release(&mut self, session: Session, actor: Option<&'static str>) {
        self.sessions.remove(&session);
        self.slots.remove(&session);
        self.processes.remove(&session);
        self.released.insert(session, actor);
    }

    /// Reads what is not remembered of these, all at once.
    pub(super) async fn fetch(&mut self, tx: &mut Tx, keys: &[&Key]) -> Result<(), Error> {
        let unknown = keys.iter().filter(|key| !self.accounts.contains_key(**key));
        let unknown: BTreeSet<&Key> = unknown.copied().collect();
        let unknown: Vec<&Key> = unknown.into_iter().collect();
        let stored = accounts::load(tx, &unknown, &self.slots).await?;
        for (key, Stored { account, added }) in stored {
            let remembered = Remembered {
                account: account.clone(),
                stored: account,
                added,
            };
            self.accounts.insert(key, remembered);
        }
        let unknown = keys.iter().map(|key| key.limit_id.as_str());
        let unknown: BTreeSet<&str> = unknown
            .filter(|id| !self.limits.contains_key(*id))
            .collect();
        let unknown: Vec<&str> = unknown.into_iter().collect();
        let mut found = limits::store::find_all(tx, &unknown).await?;
        for key_id in unknown.iter().filter_map(|id| in_flight::key_of(id)) {
            let max = virtual_keys::store::max_in_flight(tx, key_id).await?;
            found.extend(max.map(|max| in_flight::limit(key_id, max)));
        }
        let none = unknown.iter().map(|id| ((*id).to_owned(), None));
        self.limits.extend(none);
        let found = found
            .into_iter()
            .map(|limit| (limit.id.clone(), Some(limit)));
        self.limits.extend(found);
        Ok(())
    }

    /// The limit as it is configured; `None`: there is none of this id, or it was not fetched.
    pub(super) fn limit(&self, id: &str) -> Option<&Limit> {
        self.limits.get(id).and_then(Option::as_ref)
    }

    /// Accounts that sessions hold something of, in windows that are not over. What this transaction has
    /// touched is not stored yet.
    pub(super) async fn current(&self, tx: &mut Tx, now_ms: i64) -> Result<BTreeSet<Key>, Error> {
        let mut keys = accounts::current(tx, now_ms).await?;
        keys.extend(self.touched(now_ms).cloned());
        Ok(keys)
    }

    /// Where a session has no standing lease, in windows that are not over.
    pub(super) async fn withheld(
        &self,
        tx: &mut Tx,
        session: Session,
        now_ms: i64,
    ) -> Result<BTreeSet<Key>, Error> {
        let mut keys = accounts::withheld(tx, session, now_ms).await?;
        for key in self.touched(now_ms) {
            let account = self.accounts.get(key).map(|it| &it.account);
            match account.and_then(|account| account.holding(session)) {
                Some(Holding { lent: 0, .. }) => keys.insert(key.clone()),
                _ => keys.remove(key),
            };
        }
        Ok(keys)
    }

    /// Accounts that this transaction has touched, in windows that are not over.
    fn touched(&self, now_ms: i64) -> impl Iterator<Item = &Key> {
        self.touched.iter().filter(move |key| {
            // Of slots nothing stands ready.
            in_flight::key_of(&key.limit_id).is_none()
                && self
                    .limit(&key.limit_id)
                    .is_some_and(|limit| key.window_start_ms >= limit.window(now_ms).start_ms)
        })
    }

    /// Does something with an account, by its terms.
    pub(super) async fn with<T>(
        &mut self,
        tx: &mut Tx,
        key: &Key,
        change: impl FnOnce(&mut Account, Terms<'_>) -> T,
    ) -> Result<T, Error> {
        self.fetch(tx, &[key]).await?;
        let limit = self.limit(&key.limit_id);
        let base = limit.map_or(0, |limit| limit.max);
        let max = limit.map_or(0, |limit| limit.max_in(key.window_start_ms));
        let remembered = self.accounts.entry(key.clone()).or_default();
        let comes_back = in_flight::key_of(&key.limit_id).is_some();
        let terms = Terms {
            max: max.saturating_add(remembered.added),
            base,
            sessions: if comes_back {
                &self.slots
            } else {
                &self.sessions
            },
            comes_back,
        };
        let result = change(&mut remembered.account, terms);
        self.touched.push(key.clone());
        Ok(result)
    }

    /// Stores what has changed.
    pub(super) async fn save(&mut self, tx: &mut Tx, now_ms: i64) -> Result<Saved, Error> {
        self.touched.sort_unstable();
        self.touched.dedup();
        let mut changed = Vec::new();
        let mut moved = Vec::new();
        let mut saved = Saved::default();
        let mut changes = Vec::new();
        for key in &self.touched {
            let Some(remembered) = self.accounts.get(key) else {
                continue;
            };
            let mut posted_by = Vec::new();
            for (session, holding) in remembered.account.holdings() {
                let before = remembered.stored.holding(session);
                if before == Some(holding) {
                    continue;
                }
                changed.push(Changed {
                    key,
                    session,
                    holding,
                });
                let before = before.unwrap_or_default();
                // A standing lease that comes back unused was never a holding before.
                saved.is_freed |=
                    holding.unspent() < before.unspent() || holding.returned > before.returned;
                // What comes and goes with every request is no movement of anything that is used up.
                if in_flight::key_of(&key.limit_id).is_some() {
                    continue;
                }
                if holding.posted != before.posted {
                    posted_by.push(session);
                }
                let (back, actor) = match self.released.get(&session) {
                    Some(actor) => (Kind::Release, *actor),
                    None => (Kind::Return, None),
                };
                let amounts = [
                    (Kind::Lend, grown(before, holding, |holding| holding.lent)),
                    (back, grown(before, holding, |holding| holding.returned)),
                ];
                moved.extend(amounts.into_iter().filter(|(_, amount)| *amount > 0).map(
                    |(kind, amount)| Transfer {
                        kind,
                        key,
                        session: Some(session),
                        amount,
                        actor,
                        reason: None,
                    },
                ));
            }
            let limit = self.limit(&key.limit_id);
            if !posted_by.is_empty()
                && limit.is_some_and(|limit| limit.window(now_ms).start_ms == key.window_start_ms)
            {
                changes.push(Change::new(key, &remembered.account, posted_by));
            }
        }
        if !changed.is_empty() {
            let revision = self.revision.saturating_add(1);
            accounts::save(tx, &changed, revision).await?;
            transfers::insert(tx, &moved, now_ms).await?;
            self.revision = revision;
            saved.spending = Some(Spending { revision, changes });
        }
        for key in self.touched.drain(..) {
            if let Some(remembered) = self.accounts.get_mut(&key) {
                remembered.stored.clone_from(&remembered.account);
            }
        }
        Ok(saved)
    }
}

fn grown(before: Holding, after: Holding, amount: impl Fn(Holding) -> i64) -> i64 {
    amount(after).saturating_sub(amount(before))
}
