//! Looks which keys need a token, and gets it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::client;
use super::held::Held;
use crate::ads::load::ca_bundle;
use crate::app::App;
use crate::error::Error;
use crate::providers::key_config::{Grant, Holder, KeyConfig};
use crate::providers::{self, Provider, store};
use crate::secrets::Secret;

/// How long a change of another replica can stay unseen, and a token that is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A key that needs a token.
struct Wanted {
    id: String,
    provider: Provider,
    sealed: String,
    grant: Result<Grant, String>,
}

/// Keeps tokens fresh until the process stops.
pub async fn run(app: Arc<App>) {
    let refresh = async {
        loop {
            let _ = tokio::time::timeout(LOOK_EVERY, app.tokens.wake.notified()).await;
            if let Err(error) = once(&app).await {
                tracing::error!(%error, "cannot look which tokens are due; trying again");
            }
        }
    };
    tokio::select! {
        () = refresh => {}
        () = app.stopped() => {}
    }
}

/// One look at all keys. When it returns, each has its token, or the reason why not.
pub async fn once(app: &App) -> Result<(), Error> {
    let (known, due) = look(app).await?;
    let now_ms = app.clock.now_ms();
    let ended = app.tokens.with(|held| {
        let count = held.len();
        held.retain(|id, _| known.contains(id));
        let ended = held
            .values_mut()
            .filter_map(|it| it.end(now_ms).then_some(()));
        ended.count() > 0 || held.len() != count
    });
    let mut changed = ended;
    for (wanted, result) in join_all(due.into_iter().map(|wanted| ask(app, wanted))).await {
        let mut chance = [0];
        app.random.fill(&mut chance)?;
        let [chance] = chance;
        let now_ms = app.clock.now_ms();
        app.tokens.with(|held| {
            let blank = || Held::new(wanted.sealed.clone(), now_ms);
            let of_it = held.entry(wanted.id.clone()).or_insert_with(blank);
            of_it.ask(wanted.sealed);
            match result {
                Ok((token, lives_ms)) => {
                    of_it.received(token, lives_ms, now_ms, chance);
                    changed = true;
                }
                Err(error) => {
                    tracing::warn!(
                        provider = wanted.provider.name,
                        key = wanted.id,
                        error,
                        "no token"
                    );
                    of_it.failed(error, now_ms, chance);
                }
            }
        });
    }
    if changed {
        app.tokens.changed();
        app.policy_changed.notify_one();
    }
    Ok(())
}

/// Ids of the keys that need tokens; and those whose is due.
async fn look(app: &App) -> Result<(HashSet<String>, Vec<Wanted>), Error> {
    let mut tx = app.db.begin_read().await?;
    let mut keys = store::active_keys_of_parts(&mut tx).await?;
    keys.retain(|key| key.config.as_ref().is_some_and(KeyConfig::needs_token));
    let now_ms = app.clock.now_ms();
    let is_due = |id: &str, sealed: &str| {
        let held_and_fresh = |held: &Held| !held.is_due(sealed, now_ms);
        !app.tokens
            .with(|held| held.get(id).is_some_and(held_and_fresh))
    };
    let mut known = HashSet::new();
    let mut due = Vec::new();
    for key in keys {
        // What is shown of it goes into the request as well.
        let sealed = key.fingerprint();
        if is_due(&key.id, &sealed)
            && let Some(provider) = store::find(&mut tx, &key.provider).await?
        {
            due.push(Wanted {
                id: key.id.clone(),
                provider,
                sealed,
                grant: grant(app, &key, now_ms),
            });
        }
        known.insert(key.id);
    }
    Ok((known, due))
}

fn grant(app: &App, key: &store::ActiveKey, now_ms: i64) -> Result<Grant, String> {
    let place = providers::key::place(&key.id);
    let opened = app.sealing_key.open(place, &key.sealed);
    let opened = opened.map_err(|error| error.to_string())?;
    let config = key.config.as_ref();
    let grant = config.and_then(|config| config.grant(&opened, now_ms).transpose());
    grant
        .unwrap_or(Err(providers::key_config::Unreadable))
        .map_err(|error| error.to_string())
}

async fn ask(app: &App, wanted: Wanted) -> (Wanted, Result<(Secret, i64), String>) {
    let asked = async {
        let grant = wanted.grant.as_ref().map_err(Clone::clone)?;
        // The list may have become shorter since it was written.
        let holder = Holder::of(app, &wanted.provider);
        let endpoint = holder.endpoint(&grant.url);
        let endpoint = endpoint.map_err(|error| format!("the token endpoint {error}"))?;
        let egress = holder.private.egress(&endpoint);
        let asked = client::ask(grant, &endpoint, &egress, &ca_bundle()).await;
        asked.map_err(|error| error.to_string())
    };
    let result = asked.await;
    (wanted, result)
}
