//! Adaptive shares: judges providers and their keys by what Envoys report of attempts, once a second, and
//! publishes the factors as an entry of policy of its own when they have changed.
//!
//! How it is judged is `reeve_policy::shares`. All of it is in memory: a control plane that starts anew gives
//! everybody the whole share and learns again within seconds. Each replica judges by what the Envoys report that
//! are connected to it, and for these.

pub mod routes;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_policy::shares::Totals;
use reeve_policy::shares::judge::{Judge, Judged};
use reeve_policy::view::PolicyView as _;
use reeve_proto::v1::Observed;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;

/// How often it is judged, and published at most.
const EVERY: Duration = Duration::from_secs(1);
/// Longest name of a provider or key that is listened to, bytes.
const MAX_NAME: usize = 256;

/// What is known of providers and keys.
#[derive(Debug, Default)]
pub struct ProviderShares(Mutex<Judge>);

/// What one stream has told so far. Its first message is only what the next ones are compared with, so nothing
/// counts twice when a process comes with another stream.
#[derive(Debug, Default)]
pub struct Told(Option<Totals>);

impl Told {
    /// What is new since the message before.
    fn news(&mut self, totals: Totals) -> Totals {
        let Some(before) = self.0.replace(totals.clone()) else {
            return Totals::new();
        };
        let news = totals.into_iter().map(|(target, of)| {
            let before = before.get(&target).copied().unwrap_or_default();
            (target, of.since(before))
        });
        news.collect()
    }
}

impl ProviderShares {
    /// An Envoy has told what came of its attempts.
    pub fn on_observed(&self, told: &mut Told, observed: Observed, now_ms: i64) {
        let mut totals = observed.totals();
        totals.retain(|target, _| {
            let key_length = target.key_id.as_ref().map_or(0, String::len);
            !target.provider.is_empty() && target.provider.len().max(key_length) <= MAX_NAME
        });
        let news = told.news(totals);
        self.judge().observe(&news, now_ms);
    }

    /// Everybody who was asked lately, each provider before its keys.
    pub fn judged(&self, now_ms: i64) -> Vec<Judged> {
        self.judge().judged(now_ms).collect()
    }

    /// What a panic elsewhere leaves is judged anew with the next tick.
    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges until the process stops.
pub async fn run(app: Arc<App>) {
    let judge = async {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            step(&app);
        }
    };
    tokio::select! {
        () = judge => {}
        () = app.stopped() => {}
    }
}

/// Judges once, and publishes what comes of it if that is wanted.
fn step(app: &App) {
    let is_wanted = app.policy_sync.look(|view| {
        let settings = view.settings();
        settings.is_some_and(|settings| settings.adaptive_routing)
    });
    let shares = {
        let mut judge = app.provider_shares.judge();
        judge.tick(app.clock.now_ms());
        // While it is off, what was published last does not count, and stays.
        is_wanted.then(|| judge.publish()).flatten()
    };
    if let Some(shares) = shares {
        for (target, factor_ppm) in shares.factors() {
            let key_id = target.key_id.as_deref();
            tracing::info!(
                provider = target.provider,
                key_id,
                factor_ppm,
                "share lowered"
            );
        }
        if shares.is_empty() {
            tracing::info!("every provider has its whole share");
        }
        app.policy_sync.publish_shares(&shares);
    }
}
