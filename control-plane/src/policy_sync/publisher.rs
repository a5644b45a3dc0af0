//! Keeps what is published equal to what is committed.
//!
//! A change made by this process wakes the publisher at once; changes of other replicas are seen by
//! looking once a second. Only what a change touches is compiled again, and once a day everything, because
//! entries say when the next windows start: what is sent lasts two weeks (`reeve_policy::calendar`), so
//! filters can do without a control plane for thirteen days before a window of theirs fails to end.

use std::sync::Arc;
use std::time::Duration;

use super::entries::Entries;
use super::retry::until_ok;
use super::{load, lowered};
use crate::app::App;
use crate::error::Error;
use crate::policy_changes;
use crate::random::RandomError;
use crate::usage::spent;

/// How long a change of another replica can stay unseen.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often everything is compiled again.
const RENEW_EVERY_MS: u64 = 86_400_000;

/// How far the publisher has read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// In `policy_changes`.
    sequence: i64,
    /// In `holdings`.
    revision: i64,
    /// When everything was compiled last.
    renewed_ms: i64,
}

/// Publishes until the process stops.
pub async fn run(app: Arc<App>) {
    let publish = async {
        let mut seen = until_ok("compile policy", || publish_everything(&app)).await;
        app.set_policy_published();
        loop {
            // Either way there is a look at the database; which one it was does not matter.
            let _ = tokio::time::timeout(LOOK_EVERY, app.policy_changed.notified()).await;
            seen = until_ok("publish policy", || publish_changes(&app, seen)).await;
        }
    };
    tokio::select! {
        () = publish => {}
        () = app.stopped() => {}
    }
}

async fn publish_everything(app: &App) -> Result<Seen, Error> {
    let epoch = new_epoch(app)?;
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin_read().await?;
    let sequence = policy_changes::latest(&mut tx).await?;
    let revision = spent::latest(&mut tx).await?;
    let entries = Entries::new(epoch, load::everything(&mut tx, now_ms).await?);
    tracing::info!(entries = entries.len(), "policy compiled");
    app.policy_sync.published.send_replace(Some(entries));
    app.policy_sync.compiled.send_replace(sequence);
    Ok(Seen {
        sequence,
        revision,
        renewed_ms: now_ms,
    })
}

/// Not zero, which means "none" on the wire.
fn new_epoch(app: &App) -> Result<u64, RandomError> {
    let mut bytes = [0; 8];
    app.random.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

async fn publish_changes(app: &App, seen: Seen) -> Result<Seen, Error> {
    let mut tx = app.db.begin_read().await?;
    let changes = policy_changes::since(&mut tx, seen.sequence).await?;
    let revision = spent::latest(&mut tx).await?;
    if revision != seen.revision {
        app.policy_sync.seen.send_replace(revision);
    }
    let now_ms = app.clock.now_ms();
    // The clock may have been put back.
    let renew = now_ms.abs_diff(seen.renewed_ms) >= RENEW_EVERY_MS;
    if changes.is_empty() && !renew {
        return Ok(Seen { revision, ..seen });
    }
    let sequence = changes.last().map_or(seen.sequence, |last| last.sequence);
    // What is gone is nowhere but in the changes.
    let mut changed = load::touched(&mut tx, &changes, now_ms).await?;
    if renew {
        changed.extend(load::everything(&mut tx, now_ms).await?);
    }
    let mut recalls = Vec::new();
    app.policy_sync.published.send_if_modified(|published| {
        published.as_mut().is_some_and(|entries| {
            recalls = lowered::recalls(entries, &changed, now_ms);
            entries.apply(changed)
        })
    });
    app.policy_sync.compiled.send_replace(sequence);
    for recall in recalls {
        app.policy_sync.recall(recall);
    }
    Ok(Seen {
        sequence,
        revision,
        renewed_ms: if renew { now_ms } else { seen.renewed_ms },
    })
}
