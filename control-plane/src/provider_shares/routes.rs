//! `/api/governance/provider-shares`

use std::sync::Arc;

use axum::extract::State;
use reeve_policy::shares::judge::{Judged, Reason};
use reeve_policy::view::PolicyView as _;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Admin;
use crate::error::Error;
use crate::http::number::Number;
use crate::http::reply::Ok as Reply;
use crate::weight;

/// The routes of shares.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderShareList)]
struct ListView {
    /// Whether the factors are in force. While they are not, they are what they would be.
    adaptive_routing: bool,
    /// Those that were asked in the last ten minutes, or have less than their whole share; by name.
    providers: Vec<ProviderView>,
    /// Entries in this answer.
    count: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderShare)]
struct ProviderView {
    provider: String,
    #[serde(flatten)]
    share: ShareView,
    keys: Vec<KeyView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKeyShare)]
struct KeyView {
    key_id: String,
    #[serde(flatten)]
    share: ShareView,
}

/// What is left of a share, why, and what came of the attempts that it was judged by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Share)]
struct ShareView {
    /// By which the configured weight is multiplied, 0.05 to 1.
    #[schema(value_type = f64)]
    factor: Number,
    /// `healthy`, `errors`, `rate_limited`, `slow`, `no_better_peer` (it fails, but so do all others), or
    /// `recovering`: it has recovered, and its share rises.
    reason: &'static str,
    /// The reason in a sentence.
    message: String,
    /// How many of the last seconds these figures are of.
    window_seconds: i64,
    attempts: u64,
    /// It said that it has failed, or is overloaded.
    failed: u64,
    /// No connection, or no answer in time.
    unanswered: u64,
    /// The answer began and was not finished.
    broken_off: u64,
    /// It said 401 or 402.
    key_refused: u64,
    /// It said 429.
    rate_limited: u64,
    /// Until good answers began; null: there was none.
    average_first_byte_ms: Option<u64>,
}

/// List what providers and their keys keep of their shares, and why. It is what this process knows from the
/// Envoys that are connected to it.
#[utoipa::path(
    get, path = "/api/governance/provider-shares", tag = "Providers",
    responses((status = 200, body = ListView)),
)]
async fn list(_: Admin, State(app): State<Arc<App>>) -> Result<Reply<ListView>, Error> {
    let judged = app.provider_shares.judged(app.clock.now_ms());
    let settings = app.policy_sync.look(|view| view.settings());
    let settings = settings.as_deref();
    let mut providers: Vec<ProviderView> = Vec::new();
    for of in judged {
        // What has been deleted is remembered for a while.
        if settings.is_none_or(|settings| settings.provider(&of.target.provider).is_none()) {
            continue;
        }
        let share = ShareView::from(&of);
        match (of.target.key_id, providers.last_mut()) {
            (None, _) => providers.push(ProviderView {
                provider: of.target.provider,
                share,
                keys: Vec::new(),
            }),
            (Some(key_id), Some(provider)) => provider.keys.push(KeyView { key_id, share }),
            // Each provider stands before its keys.
            (Some(_), None) => {}
        }
    }
    Ok(Reply(ListView {
        adaptive_routing: settings.is_some_and(|settings| settings.adaptive_routing),
        count: providers.len(),
        providers,
    }))
}

impl From<&Judged> for ShareView {
    fn from(of: &Judged) -> Self {
        let counts = of.evidence;
        Self {
            factor: weight::number(of.factor_ppm),
            reason: word(of.reason),
            message: message(of.reason),
            window_seconds: of.evidence_s,
            attempts: counts.attempts,
            failed: counts.failed,
            unanswered: counts.unanswered,
            broken_off: counts.broken_off,
            key_refused: counts.key_refused,
            rate_limited: counts.rate_limited,
            average_first_byte_ms: counts.mean_first_byte_ms(),
        }
    }
}

const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Healthy => "healthy",
        Reason::Errors { .. } => "errors",
        Reason::RateLimited { .. } => "rate_limited",
        Reason::Slow { .. } => "slow",
        Reason::NoBetterPeer { .. } => "no_better_peer",
        Reason::Recovering => "recovering",
    }
}

fn message(reason: Reason) -> String {
    /// Parts per million in a percent.
    const PERCENT: u32 = 10_000;
    match reason {
        Reason::Healthy => "nothing speaks against it".into(),
        Reason::Errors { rate_ppm } => {
            format!("{} % of its attempts fail", rate_ppm / PERCENT)
        }
        Reason::RateLimited { rate_ppm } => {
            format!("it answers 429 to {} % of its attempts", rate_ppm / PERCENT)
        }
        Reason::Slow {
            first_byte_ms,
            peers_ms,
        } => {
            format!("its answers begin after {first_byte_ms} ms, those of others after {peers_ms}")
        }
        Reason::NoBetterPeer { rate_ppm } => format!(
            "{} % of its attempts fail or are refused, and no other does better",
            rate_ppm / PERCENT
        ),
        Reason::Recovering => "what spoke against it has ended, and its share rises".into(),
    }
}
