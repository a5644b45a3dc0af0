//! `/api/governance/virtual-keys/quota`: what a virtual key's holder may know of its limits. The key is
//! the credential.
//!
//! Of a team or a customer it shows their limits and what all of theirs have used together, as the
//! headers of the data plane do; no name, no id, and no other key.
//!
//! An address from which many keys came that do not exist has to wait for a minute.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, HeaderMap};
use reeve_exchange::Denial;
use reeve_exchange::credentials;
use reeve_exchange::headers::Headers;
use reeve_policy::key_format::checksum_is_plausible;
use reeve_policy::limit::{Level, Limit};
use reeve_policy::virtual_key::KeyDigest;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{VirtualKey, in_flight, store};
use crate::app::App;
use crate::db::{self, Tx};
use crate::error::{Error, Problem};
use crate::http::caller;
use crate::http::number::Number;
use crate::http::reply::Ok as Reply;
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::limits::store::Usage;
use crate::limits::{Budget, RateLimit};
use crate::{customers, limits, teams};

const HOW: &str = "present a virtual key that exists, as on the data plane: `x-bf-vk`, \
                   `authorization: Bearer`, `x-api-key`, `x-goog-api-key` or `api-key`";

/// The route of quotas.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(quota))
}

/// Every limit that applies to the key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VirtualKeyQuota)]
struct View {
    virtual_key_name: String,
    is_active: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Of every level; each request must fit all of them.
    budgets: Vec<BudgetView>,
    /// Of every level; each request must fit all of them.
    rate_limits: Vec<RateLimitView>,
    /// How many requests of the key may be under way at once; null: any number.
    max_in_flight: Option<i64>,
    /// Of these, held by Envoys: by requests that are under way, and ready for the next ones.
    in_flight: Option<i64>,
    /// What is limited for single providers besides.
    provider_configs: Vec<ConfigView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QuotaBudget)]
struct BudgetView {
    /// Whose budget: `customer`, `team` or `virtual_key`.
    source: &'static str,
    /// US dollars: `usage.remaining`, by Bifrost's name.
    #[schema(value_type = f64)]
    remaining: Number,
    #[serde(flatten)]
    budget: Budget,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QuotaRateLimit)]
struct RateLimitView {
    /// Whose rate limit: `customer`, `team` or `virtual_key`.
    source: &'static str,
    #[serde(flatten)]
    rate_limit: RateLimit,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QuotaProviderConfig)]
struct ConfigView {
    provider: String,
    budgets: Vec<Budget>,
    rate_limit: Option<RateLimit>,
}

/// Show what is left to a virtual key. The credential is the key itself, in any header that the data
/// plane takes it from; an admin token is of no use here.
#[utoipa::path(
    get, path = "/api/governance/virtual-keys/quota", tag = "Virtual keys",
    security(("virtual_key" = [])),
    responses(
        (status = 200, body = View),
        (status = 400, body = Problem, description = "Two different keys"),
        (status = 401, body = Problem, description = "No key, or none that exists"),
        (status = 429, body = Problem, description = "Too many keys that do not exist; see retry-after"),
    ),
)]
async fn quota(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<Reply<View>, Error> {
    // What cannot be a key is no guess: nobody has to wait because another client is set up wrong.
    let digest = presented(&headers)?;
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let address = caller::address(peer.map(|peer| peer.0), &headers);
    let now_ms = app.clock.now_ms();
    let guesses = || app.guesses.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = guesses().wait_s(address, now_ms);
    if let Some(retry_after_s) = wait {
        return Err(Error::TooManyFailures { retry_after_s });
    }
    let mut tx = app.db.begin_read().await?;
    let Some(stored) = store::find_by_digest(&mut tx, &digest).await? else {
        guesses().failed(address, now_ms);
        return Err(Error::Unauthenticated(HOW));
    };
    Ok(Reply(view(&mut tx, stored.key, now_ms).await?))
}

/// The key that is presented, by the data plane's own rules.
fn presented(headers: &HeaderMap) -> Result<KeyDigest, Error> {
    let fields: Vec<(String, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    match credentials::presented(Headers::new(&fields)) {
        // What cannot be a key is not looked up.
        Ok(Some(value)) if checksum_is_plausible(value) => Ok(KeyDigest::of(value)),
        Err(Denial::AmbiguousCredentials) => Err(Invalid::whole(
            "more than one credential is presented: send one virtual key, in one header",
        )
        .into()),
        Ok(_) | Err(_) => Err(Error::Unauthenticated(HOW)),
    }
}

async fn view(tx: &mut Tx, key: VirtualKey, now_ms: i64) -> Result<View, db::Error> {
    let team = match &key.team_id {
        Some(id) => teams::store::find(tx, id).await?,
        None => None,
    };
    let of_team = team.as_ref().and_then(|team| team.customer_id.as_ref());
    let customer = match of_team.or(key.customer_id.as_ref()) {
        Some(id) => customers::store::find(tx, id).await?,
        None => None,
    };
    let levels = [
        (
            Level::Customer,
            customer.map_or_else(Vec::new, |customer| customer.limits),
        ),
        (Level::Team, team.map_or_else(Vec::new, |team| team.limits)),
        (Level::VirtualKey, key.limits),
    ];
    let configs = &key.provider_configs;
    let slots = key.max_in_flight.map(|max| in_flight::limit(&key.id, max));
    let all: Vec<&Limit> = levels
        .iter()
        .flat_map(|(_, limits)| limits)
        .chain(&slots)
        .chain(configs.iter().flat_map(|config| &config.limits))
        .collect();
    let usage = limits::store::usage(tx, &all, now_ms).await?;
    let of = |limits: &[Limit]| parts(limits, &usage, now_ms);
    let mut budgets = Vec::new();
    let mut rate_limits = Vec::new();
    for (level, limits) in &levels {
        let source = level.as_str();
        let (of_level, rate_limit) = of(limits);
        budgets.extend(of_level.into_iter().map(|budget| BudgetView {
            source,
            remaining: budget.remaining(),
            budget,
        }));
        rate_limits.extend(rate_limit.map(|rate_limit| RateLimitView { source, rate_limit }));
    }
    let provider_configs = configs
        .iter()
        .map(|config| {
            let (budgets, rate_limit) = of(&config.limits);
            ConfigView {
                provider: config.provider.clone(),
                budgets,
                rate_limit,
            }
        })
        .collect();
    Ok(View {
        virtual_key_name: key.name,
        is_active: key.is_active,
        expires_at: key.expires_at_ms.map(Timestamp),
        budgets,
        rate_limits,
        max_in_flight: key.max_in_flight,
        in_flight: slots.map(|limit| in_flight::held(usage.of(&limit.id))),
        provider_configs,
    })
}

fn parts(limits: &[Limit], usage: &Usage, now_ms: i64) -> (Vec<Budget>, Option<RateLimit>) {
    (
        Budget::all_of(limits, usage, now_ms),
        RateLimit::of(limits, usage, now_ms),
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::http::Request;
    use serde_json::json;

    use crate::db::testing::on_every_database;
    use crate::ledger::testing::post;
    use crate::testing::{Answer, Api, START_MS, configure_providers};
    use crate::usage::tests::{boot, charge, record};

    async fn ask(api: &Api, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().uri("/api/governance/virtual-keys/quota");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        api.send(request.body(Body::empty()).unwrap()).await
    }

    on_every_database! {
        async fn a_key_sees_every_limit_that_applies_to_it_and_nothing_of_others(db: Db) {
            let api = Api::new(db.clone()).await;
            configure_providers(&api.app, &["openai"]).await;
            let make = async |path: &str, body: String| {
                let answer = api.post(&format!("/api/governance/{path}"), &body).await;
                answer.ok(201).clone()
            };
            let id = |made: &serde_json::Value, kind: &str| made[kind]["id"].as_str().unwrap().to_owned();
            let budget = r#""budget": {"max_limit": 10, "reset_duration": "1d"}"#;
            let customer = make("customers", format!(r#"{{"name": "secret-customer", {budget}}}"#)).await;
            let team = make("teams", format!(
                r#"{{"name": "secret-team", "customer_id": "{}", {budget},
                    "rate_limit": {{"token_max_limit": 500, "token_reset_duration": "1h"}}}}"#,
                id(&customer, "customer")
            )).await;
            let key = make("virtual-keys", format!(
                r#"{{"name": "mine", "team_id": "{}", "max_in_flight": 4,
                    "budgets": [{{"max_limit": 3, "reset_duration": "1h"}}],
                    "rate_limit": {{"request_max_limit": 7, "request_reset_duration": "1m"}},
                    "provider_configs": [{{"provider": "openai", {budget}}}]}}"#,
                id(&team, "team")
            )).await;
            let other = make("virtual-keys", r#"{"name": "other-key"}"#.into()).await;
            let limit_id = key["virtual_key"]["budgets"][0]["id"].as_str().unwrap();
            let mut used = record(1);
            used.charges = vec![charge(limit_id, START_MS, 1_250_000_000)];
            post(&db, &boot("envoy", "b1"), vec![used]).await;

            let value = key["virtual_key"]["value"].as_str().unwrap();
            let bearer = format!("Bearer {value}");
            let mut answers = Vec::new();
            for (name, value) in [
                ("x-bf-vk", value), ("authorization", &bearer), ("x-api-key", value),
                ("x-goog-api-key", value), ("api-key", value),
            ] {
                answers.push(ask(&api, &[(name, value)]).await);
            }
            for answer in &answers {
                assert_eq!(answer.ok(200), answers[0].ok(200));
            }
            let quota = answers[0].ok(200);
            assert_eq!(quota["virtual_key_name"], "mine");
            assert_eq!((&quota["max_in_flight"], &quota["in_flight"]), (&json!(4), &json!(0)));
            let sources: Vec<_> = quota["budgets"].as_array().unwrap().iter()
                .map(|budget| (&budget["source"], &budget["remaining"])).collect();
            assert_eq!(sources, [
                (&json!("customer"), &json!(10)),
                (&json!("team"), &json!(10)),
                (&json!("virtual_key"), &json!(1.75)),
            ]);
            assert_eq!(quota["budgets"][2]["usage"]["used"], 1.25);
            assert_eq!(quota["budgets"][2]["usage"]["resets_at"], "2026-01-01T01:00:00.000Z");
            assert_eq!(quota["rate_limits"][0]["token_usage"]["remaining"], 500);
            assert_eq!(quota["rate_limits"][1]["request_usage"]["limit"], 7);
            assert_eq!(quota["provider_configs"][0]["budgets"][0]["usage"]["remaining"], 10);
            for secret in ["secret", "other-key", value, &id(&team, "team"), &id(&other, "virtual_key")] {
                assert!(!answers[0].text.contains(secret), "{secret}");
            }
        }

        async fn who_guesses_has_to_wait(db: Db) {
            let api = Api::new(db).await;
            let made = api.post("/api/governance/virtual-keys", r#"{"name": "k"}"#).await;
            let value = made.ok(201)["virtual_key"]["value"].as_str().unwrap();
            let mut misspelt = value.to_owned();
            misspelt.replace_range(20..21, if value.as_bytes()[20] == b'a' { "b" } else { "a" });
            // What cannot be read, or cannot be a key, is no guess.
            for _ in 0..40 {
                let two = [("x-bf-vk", value), ("x-api-key", "sk-bf-another")];
                ask(&api, &two).await.problem(400);
                ask(&api, &[]).await.problem(401);
                ask(&api, &[("x-bf-vk", &misspelt)]).await.problem(401);
                ask(&api, &[("authorization", "Bearer of-an-administrator")]).await.problem(401);
            }
            for _ in 0..30 {
                ask(&api, &[("x-bf-vk", value)]).await.ok(200);
                ask(&api, &[("x-bf-vk", "sk-bf-guess")]).await.problem(401);
            }
            let refused = ask(&api, &[("x-bf-vk", value)]).await;
            refused.problem(429);
            assert_eq!(refused.headers["retry-after"], "60");
            api.advance(Duration::from_mins(1));
            ask(&api, &[("x-bf-vk", value)]).await.ok(200);
        }

        async fn behind_envoy_nobody_waits_for_anothers_guesses(db: Db) {
            let api = Api::new(db).await;
            let made = api.post("/api/governance/virtual-keys", r#"{"name": "k"}"#).await;
            let value = made.ok(201)["virtual_key"]["value"].as_str().unwrap();
            let from = async |forwarded_for: String, value: &str| {
                let request = Request::builder()
                    .uri("/api/governance/virtual-keys/quota")
                    .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000))))
                    .header("x-forwarded-for", forwarded_for)
                    .header("x-bf-vk", value);
                api.send(request.body(Body::empty()).unwrap()).await
            };
            for number in 0..30 {
                // What the caller writes there itself makes nobody else of it.
                let forwarded_for = format!("203.0.113.{number}, 192.0.2.1");
                from(forwarded_for, "sk-bf-guess").await.problem(401);
            }
            from("203.0.113.200, 192.0.2.1".into(), value).await.problem(429);
            from("192.0.2.2".into(), value).await.ok(200);
        }

        async fn only_a_key_that_exists_is_told_anything(db: Db) {
            let api = Api::new(db.clone()).await;
            let made = api.post("/api/governance/virtual-keys", r#"{"name": "k"}"#).await;
            let id = made.ok(201)["virtual_key"]["id"].as_str().unwrap().to_owned();
            let value = made.ok(201)["virtual_key"]["value"].as_str().unwrap().to_owned();
            let mut wrong = value.clone();
            wrong.replace_range(20..21, if value.as_bytes()[20] == b'a' { "b" } else { "a" });
            let admin = format!("Bearer {}", crate::testing::TOKEN);
            for headers in [
                &[][..],
                &[("x-bf-vk", "sk-bf-nonsense")],
                &[("x-bf-vk", wrong.as_str())],
                &[("x-bf-vk", "")],
                &[("authorization", admin.as_str())],
            ] {
                ask(&api, headers).await.problem(401);
            }
            let two = ask(&api, &[("x-bf-vk", &value), ("x-api-key", "sk-bf-other")]).await;
            two.problem(400);
            // One that is switched off may know why; one that was rotated or deleted may not.
            let path = format!("/api/governance/virtual-keys/{id}");
            api.put(&path, r#"{"is_active": false}"#).await.ok(200);
            assert_eq!(ask(&api, &[("x-bf-vk", &value)]).await.ok(200)["is_active"], false);
            api.post(&format!("{path}/rotate"), "").await.ok(200);
            ask(&api, &[("x-bf-vk", &value)]).await.problem(401);
        }
    }
}
