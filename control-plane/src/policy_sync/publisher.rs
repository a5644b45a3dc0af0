//! Keeps what is published equal to what is committed.
//!
//! A change made by this process wakes the publisher at once; changes of other replicas are seen by
//! looking once a second. Only what a change touches is compiled again, and once a day everything, because
//! entries say when the next windows start: what is sent lasts two weeks (`reeve_policy::calendar`), so
//! filters can do without a control plane for thirteen days before a window of theirs fails to end.
//!
//! A change of a provider is one of Envoy's configuration too, and so is one of a virtual key that is bound
//! to a provider key. A provider is in every Envoy before a filter may choose it, and leaves when none does
//! any more.

use std::sync::Arc;
use std::time::Duration;

use reeve_xds::Input;
use tokio::time::timeout;

use super::entries::Entries;
use super::retry::until_ok;
use super::{in_force, load, lowered};
use crate::ads;
use crate::app::App;
use crate::db::Tx;
use crate::error::Error;
use crate::policy_changes::{self, Change, Kind};
use crate::random::RandomError;
use crate::usage::spent;

/// How long a change of another replica can stay unseen.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often everything is compiled again.
const RENEW_EVERY_MS: u64 = 86_400_000;

/// How long an Envoy that does not answer holds up the others.
const PATIENCE: Duration = Duration::from_millis(300);

/// How far the publisher has read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// In `policy_changes`.
    sequence: i64,
    /// In `holdings`.
    revision: i64,
    /// When everything was compiled last.
    renewed_ms: i64,
    /// Of the tokens that Envoy was configured with.
    tokens: u64,
    /// Envoy's configuration could not be made of it.
    owes_ads: bool,
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
    let tokens = app.tokens.revision();
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin_read().await?;
    let sequence = policy_changes::latest(&mut tx).await?;
    let revision = spent::latest(&mut tx).await?;
    let entries = Entries::new(epoch, load::everything(&mut tx, now_ms).await?);
    let configuration = configuration(&mut tx, app).await;
    let owes_ads = configuration.is_none();
    if let Some(configuration) = configuration {
        app.ads.publish(configuration);
    }
    tracing::info!(entries = entries.len(), "policy compiled");
    app.policy_sync.published.send_replace(Some(entries));
    app.policy_sync.compiled.send_replace(sequence);
    Ok(Seen {
        sequence,
        revision,
        renewed_ms: now_ms,
        tokens,
        owes_ads,
    })
}

/// Not zero, which means "none" on the wire.
fn new_epoch(app: &App) -> Result<u64, RandomError> {
    let mut bytes = [0; 8];
    app.random.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

async fn publish_changes(app: &App, seen: Seen) -> Result<Seen, Error> {
    let tokens = app.tokens.revision();
    let owes_ads = seen.owes_ads || tokens != seen.tokens;
    let mut tx = app.db.begin_read().await?;
    let changes = policy_changes::since(&mut tx, seen.sequence).await?;
    let revision = spent::latest(&mut tx).await?;
    if revision != seen.revision {
        app.policy_sync.seen.send_replace(revision);
    }
    let now_ms = app.clock.now_ms();
    // The clock may have been put back.
    let renew = now_ms.abs_diff(seen.renewed_ms) >= RENEW_EVERY_MS;
    if changes.is_empty() && !renew && !owes_ads {
        return Ok(Seen { revision, ..seen });
    }
    let sequence = changes.last().map_or(seen.sequence, |last| last.sequence);
    // What is gone is nowhere but in the changes.
    let mut changed = load::touched(&mut tx, &changes, now_ms).await?;
    if renew {
        changed.extend(load::everything(&mut tx, now_ms).await?);
    }
    let is_due = owes_ads || is_for_envoy(&changes);
    let configuration = if is_due {
        configuration(&mut tx, app).await
    } else {
        None
    };
    let owes_ads = is_due && configuration.is_none();
    drop(tx);

    if let Some(configuration) = &configuration {
        arrive(app, configuration).await;
    }
    let mut recalls = Vec::new();
    app.policy_sync.published.send_if_modified(|published| {
        published.as_mut().is_some_and(|entries| {
            recalls = lowered::recalls(entries, &changed, now_ms);
            entries.apply(changed)
        })
    });
    if let Some(configuration) = configuration {
        leave(app, configuration).await;
    }
    app.policy_sync.compiled.send_replace(sequence);
    for recall in recalls {
        app.policy_sync.recall(recall);
    }
    Ok(Seen {
        sequence,
        revision,
        renewed_ms: if renew { now_ms } else { seen.renewed_ms },
        tokens,
        owes_ads,
    })
}

/// Is Envoy to be configured otherwise?
fn is_for_envoy(changes: &[Change]) -> bool {
    let is = |change: &Change| matches!(change.kind, Kind::Provider | Kind::Settings);
    changes.iter().any(is)
}

/// Envoy's configuration. Should it fail, policy goes on: a key that cannot be opened must not keep
/// another from being revoked.
async fn configuration(tx: &mut Tx, app: &App) -> Option<Input> {
    match ads::load::input(tx, app).await {
        Ok(input) => Some(input),
        Err(error) => {
            let cause = match &error {
                Error::Internal(cause) => cause.to_string(),
                other => other.to_string(),
            };
            tracing::error!(cause, "Envoy's configuration stays as it was; trying again");
            None
        }
    }
}

/// What is new comes, and nothing goes.
async fn arrive(app: &App, configuration: &Input) {
    let before = app.ads.snapshot();
    let both = before.map_or_else(
        || configuration.clone(),
        |before| configuration.with_those_of(before.input()),
    );
    app.ads.publish(both);
    // An Envoy that hangs gets it when it comes back; its requests come back no sooner.
    let _ = timeout(PATIENCE, app.ads.settled()).await;
}

/// What is to go goes, once no filter chooses it.
async fn leave(app: &App, configuration: Input) {
    let serves = app.ads.snapshot();
    if serves.is_some_and(|serves| *serves.input() == configuration) {
        return;
    }
    // Whoever hangs must not keep a key in use that was taken away.
    let _ = timeout(PATIENCE, in_force::applied(&app.policy_sync)).await;
    app.ads.publish(configuration);
}
