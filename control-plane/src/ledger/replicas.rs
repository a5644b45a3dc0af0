//! Several replicas on one database: recalls for sessions that are connected to another one, and news of
//! what was returned there. So a request that waits here gets what an Envoy over there holds.
//!
//! A recall is a row, written in the transaction that found it necessary. Each replica looks for new rows
//! ten times a second while there are others, which is several times within the patience of a request, and
//! once a second while it is alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reeve_policy::lease::Session;

use super::sessions::{self, GONE_AFTER_MS};
use super::{Holder, Key, Recall};
use crate::app::App;
use crate::db::{Error, Tx, Values};
use crate::policy_sync::retry::until_ok;
use crate::usage::spent;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_EVERY_ALONE: Duration = Duration::from_secs(1);

static UPSERT: Values = Values::new(
    "INSERT INTO recalls (limit_id, window_start_ms, session_id, process_id, base, sequence, at)",
    7,
    "ON CONFLICT (limit_id, window_start_ms, session_id) DO UPDATE
     SET base = excluded.base, sequence = excluded.sequence, at = excluded.at",
);

/// How far has been looked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// In `recalls`.
    sequence: i64,
    /// In `holdings`.
    revision: i64,
    /// No session is connected to another replica.
    is_alone: bool,
}

/// Works until the application stops.
pub async fn run(app: Arc<App>) {
    let follow = async {
        let mut seen = until_ok("read recalls", || begin(&app)).await;
        loop {
            let pause = if seen.is_alone {
                LOOK_EVERY_ALONE
            } else {
                LOOK_EVERY
            };
            tokio::time::sleep(pause).await;
            seen = until_ok("read recalls", || look(&app, seen)).await;
        }
    };
    tokio::select! {
        () = follow => {}
        () = app.stopped() => {}
    }
}

/// What was recalled before this replica was there is asked for again by who still needs it.
pub(super) async fn begin(app: &App) -> Result<Seen, Error> {
    let mut tx = app.db.begin_read().await?;
    Ok(Seen {
        sequence: latest(&mut tx).await?,
        revision: spent::latest(&mut tx).await?,
        is_alone: elsewhere(app, &mut tx).await?.is_empty(),
    })
}

/// Tells what is new: who is to give back something, and who waits that something was given back.
pub(super) async fn look(app: &App, seen: Seen) -> Result<Seen, Error> {
    let mut tx = app.db.begin_read().await?;
    let rows: Vec<(String, i64, Session, Session, i64, i64)> = tx
        .query(
            "SELECT limit_id, window_start_ms, session_id, process_id, base, sequence FROM recalls
             WHERE sequence > $1 ORDER BY sequence",
        )
        .bind(seen.sequence)
        .fetch_all()
        .await?;
    let revision = spent::latest(&mut tx).await?;
    let is_alone = elsewhere(app, &mut tx).await?.is_empty();
    let mut sequence = seen.sequence;
    for (limit_id, window_start_ms, session, process, base, number) in rows {
        sequence = number;
        app.policy_sync.recall(Recall {
            holder: Some(Holder { session, process }),
            key: Key {
                limit_id,
                window_start_ms,
            },
            base,
        });
    }
    // Of what our own writer changed it has told already, but whose change it was is not known: an Envoy may
    // have returned something elsewhere, and be connected here by now.
    if revision != seen.revision {
        app.ledger.freed.send_replace(());
    }
    Ok(Seen {
        sequence,
        revision,
        is_alone,
    })
}

/// Notes recalls of sessions that are connected to another replica.
pub(super) async fn pass_on(
    app: &App,
    tx: &mut Tx,
    recalls: &BTreeSet<Recall>,
    now_ms: i64,
) -> Result<(), Error> {
    if recalls.is_empty() {
        return Ok(());
    }
    let elsewhere = elsewhere(app, tx).await?;
    let far = recalls.iter().filter_map(|recall| {
        let holder = recall.holder?;
        elsewhere
            .contains(&holder.process)
            .then_some((holder, recall))
    });
    let next = latest(tx).await?.saturating_add(1);
    let numbered: Vec<(i64, (Holder, &Recall))> = (next..).zip(far).collect();
    for (statement, run) in UPSERT.runs(&numbered) {
        let mut upsert = tx.values(statement);
        for (sequence, (holder, recall)) in run {
            upsert = upsert
                .bind(recall.key.limit_id.as_str())
                .bind(recall.key.window_start_ms)
                .bind(holder.session)
                .bind(holder.process)
                .bind(recall.base)
                .bind(*sequence)
                .bind(now_ms);
        }
        upsert.execute().await?;
    }
    Ok(())
}

/// Sessions that live and are not connected here.
async fn elsewhere(app: &App, tx: &mut Tx) -> Result<BTreeSet<Session>, Error> {
    let heard_ms = app.clock.now_ms().saturating_sub(GONE_AFTER_MS);
    let connected = app.policy_sync.connected();
    let live = sessions::heard_since(tx, heard_ms).await?;
    let others = live
        .into_iter()
        .filter(|(_, boot)| !connected.contains(boot));
    Ok(others.map(|(session, _)| session).collect())
}

async fn latest(tx: &mut Tx) -> Result<i64, Error> {
    let (latest,): (i64,) = tx
        .query("SELECT COALESCE(MAX(sequence), 0) FROM recalls")
        .fetch_one()
        .await?;
    Ok(latest)
}
