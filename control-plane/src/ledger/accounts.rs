//! SQL of accounts: what sessions hold of a limit in a window, and what was added to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use reeve_policy::lease::{Account, Holding, Session};

use super::Key;
use crate::db::{Error, Query, Tx, Values};
use crate::limits;
use crate::virtual_keys::in_flight;

/// A holding that has changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed<'a> {
    pub(super) key: &'a Key,
    pub(super) session: Session,
    pub(super) holding: Holding,
}

#[derive(sqlx::FromRow)]
struct CurrentRow {
    #[sqlx(flatten)]
    limit: limits::store::Row,
    window_start_ms: i64,
}

static UPSERT: Values = Values::new(
    "INSERT INTO holdings (limit_id, window_start_ms, session_id, lent, returned, posted, revision)",
    7,
    "ON CONFLICT (limit_id, window_start_ms, session_id) DO UPDATE
     SET lent = excluded.lent, returned = excluded.returned, posted = excluded.posted,
         revision = excluded.revision",
);

/// An account as it is stored.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) account: Account,
    /// What was added to the limit for this window.
    pub(super) added: i64,
}

/// The accounts of limits' windows; empty where nothing is known. `slots`: the sessions of slots that are
/// counted; those that have ended hold nothing, and nothing was used under them.
pub(super) async fn load(
    tx: &mut Tx,
    keys: &[&Key],
    slots: &BTreeMap<Session, u32>,
) -> Result<HashMap<Key, Stored>, Error> {
    static HOLDINGS: Values = Values::new(
        "SELECT limit_id, window_start_ms, session_id, lent, returned, posted FROM holdings
         WHERE (limit_id, window_start_ms) IN (",
        2,
        ")",
    );
    static ADDITIONS: Values = Values::new(
        "SELECT limit_id, window_start_ms, amount FROM limit_additions
         WHERE (limit_id, window_start_ms) IN (",
        2,
        ")",
    );
    let mut holdings: HashMap<Key, Vec<(Session, Holding)>> = HashMap::new();
    for (statement, run) in HOLDINGS.runs(keys) {
        let rows: Vec<(String, i64, Session, i64, i64, i64)> =
            bind(tx.values(statement), run).fetch_all().await?;
        for (limit_id, window_start_ms, session, lent, returned, posted) in rows {
            let key = Key {
                limit_id,
                window_start_ms,
            };
            if in_flight::key_of(&key.limit_id).is_some() && !slots.contains_key(&session) {
                continue;
            }
            let holding = Holding {
                lent,
                returned,
                posted,
            };
            holdings.entry(key).or_default().push((session, holding));
        }
    }
    let mut stored: HashMap<Key, Stored> = HashMap::new();
    for key in keys.iter().copied() {
        let account = Account::from_holdings(holdings.remove(key).unwrap_or_default());
        stored.insert(key.clone(), Stored { account, added: 0 });
    }
    for (statement, run) in ADDITIONS.runs(keys) {
        let rows: Vec<(String, i64, i64)> = bind(tx.values(statement), run).fetch_all().await?;
        for (limit_id, window_start_ms, amount) in rows {
            let key = Key {
                limit_id,
                window_start_ms,
            };
            stored.entry(key).or_default().added = amount;
        }
    }
    Ok(stored)
}

fn bind<'t>(query: Query<'t>, keys: &[&Key]) -> Query<'t> {
    keys.iter().fold(query, |query, key| {
        query.bind(key.limit_id.as_str()).bind(key.window_start_ms)
    })
}

/// Accounts of which a session holds something that it has not spent.
pub(super) async fn held_by(tx: &mut Tx, session: Session) -> Result<Vec<Key>, Error> {
    let rows: Vec<(String, i64)> = tx
        .query(
            "SELECT limit_id, window_start_ms FROM holdings
             WHERE session_id = $1 AND lent - returned > posted
             ORDER BY limit_id, window_start_ms",
        )
        .bind(session)
        .fetch_all()
        .await?;
    let key = |(limit_id, window_start_ms)| Key {
        limit_id,
        window_start_ms,
    };
    Ok(rows.into_iter().map(key).collect())
}

/// Accounts that sessions hold something of, in windows that are not over.
pub(super) async fn current(tx: &mut Tx, now_ms: i64) -> Result<BTreeSet<Key>, Error> {
    let rows = tx
        .query(
            "SELECT l.*, h.window_start_ms
             FROM (SELECT DISTINCT limit_id, window_start_ms FROM holdings) h
             JOIN limits l ON l.id = h.limit_id",
        )
        .fetch_all()
        .await?;
    not_over(rows, now_ms)
}

/// Accounts of which a session was never lent anything, in windows that are not over.
pub(super) async fn withheld(
    tx: &mut Tx,
    session: Session,
    now_ms: i64,
) -> Result<BTreeSet<Key>, Error> {
    let rows = tx
        .query(
            "SELECT l.*, h.window_start_ms FROM holdings h JOIN limits l ON l.id = h.limit_id
             WHERE h.session_id = $1 AND h.lent = 0",
        )
        .bind(session)
        .fetch_all()
        .await?;
    not_over(rows, now_ms)
}

fn not_over(rows: Vec<CurrentRow>, now_ms: i64) -> Result<BTreeSet<Key>, Error> {
    let mut keys = BTreeSet::new();
    for row in rows {
        let limit = row.limit.into_limit()?;
        if row.window_start_ms >= limit.window(now_ms).start_ms {
            keys.insert(Key {
                limit_id: limit.id,
                window_start_ms: row.window_start_ms,
            });
        }
    }
    Ok(keys)
}

/// Stores holdings.
pub(super) async fn save(tx: &mut Tx, changed: &[Changed<'_>], revision: i64) -> Result<(), Error> {
    for (statement, run) in UPSERT.runs(changed) {
        let mut upsert = tx.values(statement);
        for Changed {
            key,
            session,
            holding,
        } in run
        {
            upsert = upsert
                .bind(key.limit_id.as_str())
                .bind(key.window_start_ms)
                .bind(*session)
                .bind(holding.lent)
                .bind(holding.returned)
                .bind(holding.posted)
                .bind(revision);
        }
        upsert.execute().await?;
    }
    Ok(())
}
