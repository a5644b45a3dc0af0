//! `/api/governance/explain`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use reeve_exchange::Denial;
use reeve_exchange::chain::{LeftOut, MAX_ATTEMPTS, Reason, Refusal};
use reeve_exchange::credentials;
use reeve_exchange::headers::Headers;
use reeve_exchange::reply;
use reeve_exchange::request::Reservation;
use reeve_llm::WireFormat;
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::money::Nanos;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rules::RuleView;
use super::{Attempt, Outcome, Planned, Request, Room, Step, Verdict, judge, room};
use crate::app::App;
use crate::auth::Admin;
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::number::Number;
use crate::http::reply::Ok as Reply;
use crate::invalid::Invalid;
use crate::limits;
use crate::limits::LimitUsage;
use crate::limits::store::Usage;
use crate::policy_sync::view::Used;
use crate::virtual_keys::KeyValue;
use crate::weight;

/// The route of explanations.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// A request to be judged, as a caller would send it to Envoy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ExplainRequest)]
struct Asked {
    /// Default: `POST`.
    #[serde(default)]
    method: Option<String>,
    /// Path and query.
    #[schema(example = "/v1/chat/completions")]
    path: String,
    /// Header fields: a text for each, or a list of texts for one that is repeated. `content-type` is
    /// `application/json` unless it is given.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: BTreeMap<String, OneOrMany>,
    /// Who asks, instead of a key among the headers.
    #[serde(default)]
    virtual_key_id: Option<String>,
    /// The body: an object, or a text that is taken as it is.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    body: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What would come of it. Nothing is reserved, and nothing is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
struct View {
    /// `forward`; `deny`; `answer`: the filter answers it by itself; `depends`: it is forwarded if
    /// Envoys return what they hold of a limit without needing it.
    decision: &'static str,
    /// In order. After the first that failed, none is reached.
    steps: Vec<StepView>,
    /// Who asks; null: nobody, or the request did not get so far.
    virtual_key: Option<KeyView>,
    /// The routing rules that looked at it, in order.
    routing_rules: Vec<RuleView>,
    /// Where it would go first; null: it did not get so far, or nowhere.
    plan: Option<PlanView>,
    /// Who would be asked, one after another if they fail.
    attempts: Vec<AttemptView>,
    /// Who would not be asked, and why.
    left_out: Vec<LeftOutView>,
    /// Every limit that applies to one of the providers that may be asked, widest first.
    limits: Vec<LimitView>,
    /// What the caller would get.
    denial: Option<DenialView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainStep)]
struct StepView {
    /// `path`, `policy`, `required_headers`, `credential`, `query`, `framing`, `body`, `access`,
    /// `price`, `limits`.
    step: &'static str,
    /// `passed`, `failed`, `not_reached`.
    result: &'static str,
    /// Why it failed.
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainKey)]
struct KeyView {
    id: String,
    name: String,
    team_id: Option<String>,
    /// The team's customer, or the key's own.
    customer_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainPlan)]
struct PlanView {
    /// Which API.
    endpoint: &'static str,
    /// Drawn by weight, where several providers would do: another request may go to another one.
    provider: String,
    /// As the provider calls it.
    model: String,
    /// What the caller called it, where that is an alias; else null.
    alias: Option<String>,
    provider_config_id: Option<String>,
    /// Below the provider's base URL.
    upstream_path: String,
    /// The routing rule that chose them; null: none did.
    routing_rule_id: Option<String>,
    /// The provider gets another body than the caller's: its model's name, or a wish for usage.
    rewrites_body: bool,
    /// US dollars for a million tokens of ordinary input and output; null: it costs nothing.
    price: Option<PriceView>,
    /// The most tokens that its input can be.
    most_input_tokens: u64,
    /// The most that it can cost, US dollars: what is reserved of every budget.
    #[schema(value_type = f64)]
    most_cost: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainAttempt)]
struct AttemptView {
    provider: String,
    model: String,
    /// What the model is called where it is asked for by an alias; else null.
    alias: Option<String>,
    provider_config_id: Option<String>,
    /// Below the provider's base URL.
    upstream_path: String,
    /// Its place among all that were thought of: 0 is the first choice.
    fallback_index: u32,
    /// What is left of its configured weight while it fails, refuses or is slow; 1: all of it.
    #[schema(value_type = f64)]
    share_factor: Number,
    /// The most that it can cost, US dollars.
    #[schema(value_type = f64)]
    most_cost: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainLeftOut)]
struct LeftOutView {
    provider: String,
    model: String,
    /// The type of the denial of a request for it alone, or `no_weight`, `not_listed`, `named_twice`
    /// or `too_many_attempts`.
    r#type: &'static str,
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainPrice)]
struct PriceView {
    #[schema(value_type = f64)]
    input_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    output_cost_per_million_tokens: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainLimit)]
struct LimitView {
    /// `customer`, `team`, `virtual_key` or `provider_config`.
    level: &'static str,
    owner_id: String,
    id: String,
    /// `usd`, `requests`, `tokens` or `requests_in_flight`.
    unit: &'static str,
    reset_duration: String,
    usage: LimitUsage,
    /// What this request would reserve. Of a token limit it needs one; its tokens are charged when they
    /// are known.
    #[schema(value_type = f64)]
    reserves: Number,
    /// `yes`, `no`, or `if_returned`: only when Envoys return what they hold and do not need.
    room: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainDenial)]
struct DenialView {
    status: u16,
    r#type: &'static str,
    message: String,
    /// In the caller's dialect.
    #[schema(value_type = Object)]
    body: Option<Box<RawValue>>,
}

/// Explain what the filter would decide about a request, and why.
#[utoipa::path(
    post, path = "/api/governance/explain", tag = "Explain",
    request_body = Asked,
    responses((status = 200, body = View), (status = 400, body = Problem)),
)]
async fn explain(
    _: Admin,
    State(app): State<Arc<App>>,
    Json(asked): Json<Asked>,
) -> Result<Reply<View>, Error> {
    let now_ms = app.clock.now_ms();
    let mut seed = [0; 8];
    app.random.fill(&mut seed)?;
    let draw = u64::from_ne_bytes(seed);
    // Nobody knows the value of a stored key. One that nobody has stands for it.
    let stand_in = KeyValue::generate(&app.random)?;
    let key_id = asked.virtual_key_id.clone();
    let request = request(asked, &stand_in)?;
    let judged = |used: &Used| {
        app.policy_sync.look(|view| {
            let view = view.with_used(used);
            match &key_id {
                None => Ok(judge(view, &request, now_ms, draw)),
                Some(id) if view.key_of(id).is_none() => Err(Invalid::field(
                    "virtual_key_id",
                    "no such virtual key is in force",
                )),
                Some(id) => {
                    let view = view.with_key(stand_in.digest(), id);
                    Ok(judge(view, &request, now_ms, draw))
                }
            }
        })
    };
    // Routing rules may look at limits, and may look at others when they know of those.
    let mut used = Used::default();
    let verdict = loop {
        let verdict = judged(&used)?;
        let asked = used.take_asked();
        if asked.is_empty() {
            break verdict;
        }
        let limits: Vec<&Limit> = asked.iter().collect();
        let mut tx = app.db.begin_read().await?;
        let usage = limits::store::usage(&mut tx, &limits, now_ms).await?;
        for limit in &asked {
            let of = usage.of(&limit.id);
            used.know(limit.id.clone(), of.used.saturating_add(of.suspense));
        }
    };
    let usage = match &verdict.outcome {
        Outcome::Planned(plan) => {
            let reservations = plan.reservations();
            let limits: Vec<&Limit> = reservations.iter().map(|of| &of.limit).collect();
            let mut tx = app.db.begin_read().await?;
            limits::store::usage(&mut tx, &limits, now_ms).await?
        }
        Outcome::Denied(..) | Outcome::Answered(_) => Usage::default(),
    };
    Ok(Reply(view(verdict, &usage, now_ms)))
}

fn request(asked: Asked, stand_in: &KeyValue) -> Result<Request, Invalid> {
    let mut headers = Vec::new();
    for (name, values) in asked.headers {
        let values = match values {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(values) => values,
        };
        let name = name.to_ascii_lowercase();
        headers.extend(
            values
                .into_iter()
                .map(|value| (name.clone(), value.into_bytes())),
        );
    }
    if asked.virtual_key_id.is_some() {
        if credentials::presented(Headers::new(&headers)) != Ok(None) {
            let message = "give it, or a key among `headers`, not both";
            return Err(Invalid::field("virtual_key_id", message));
        }
        headers.push(("x-bf-vk".into(), stand_in.expose().into()));
    }
    if !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".into(), b"application/json".to_vec()));
    }
    let body = match asked.body.as_deref().map(RawValue::get) {
        None => Vec::new(),
        Some(text) => match serde_json::from_str::<String>(text) {
            Ok(literal) => literal.into_bytes(),
            Err(_) => text.as_bytes().to_vec(),
        },
    };
    Ok(Request {
        method: asked.method.unwrap_or_else(|| "POST".into()),
        path: asked.path,
        headers,
        body,
    })
}

fn view(verdict: Verdict, usage: &Usage, now_ms: i64) -> View {
    let dialect = verdict.dialect;
    let routing_rules = verdict.rules.into_iter().map(RuleView::from).collect();
    match verdict.outcome {
        Outcome::Denied(step, Refusal { denial, left_out }) => View {
            decision: "deny",
            steps: steps(Some((step, &denial))),
            virtual_key: None,
            routing_rules,
            plan: None,
            attempts: Vec::new(),
            left_out: left_out.iter().map(left_out_view).collect(),
            limits: Vec::new(),
            denial: Some(denial_view(&denial, dialect, now_ms)),
        },
        Outcome::Answered(_) => View {
            decision: "answer",
            steps: steps(None),
            virtual_key: None,
            routing_rules,
            plan: None,
            attempts: Vec::new(),
            left_out: Vec::new(),
            limits: Vec::new(),
            denial: None,
        },
        Outcome::Planned(mut plan) => {
            let limits = plan
                .reservations()
                .iter()
                .map(limit_view(usage, now_ms))
                .collect();
            let denial = plan.leave_out_what_has_no_room(usage, now_ms).err();
            let depends =
                |of: &Reservation| room(of, usage.of(&of.limit.id), now_ms) == Room::IfReturned;
            let decision = match &denial {
                Some(_) => "deny",
                None if plan.reservations().iter().any(depends) => "depends",
                None => "forward",
            };
            View {
                decision,
                steps: steps(
                    denial
                        .as_ref()
                        .map(|denial| (Step::of(denial, true), denial)),
                ),
                virtual_key: plan.key.take().map(|key| KeyView {
                    id: key.id,
                    name: key.name,
                    team_id: key.team_id,
                    customer_id: key.customer_id,
                }),
                routing_rules,
                attempts: plan.attempts.iter().map(attempt_view).collect(),
                left_out: plan.left_out.iter().map(left_out_view).collect(),
                plan: plan_view(*plan),
                limits,
                denial: denial.map(|denial| denial_view(&denial, dialect, now_ms)),
            }
        }
    }
}

fn limit_view(usage: &Usage, now_ms: i64) -> impl Fn(&Reservation) -> LimitView {
    move |reservation| {
        let limit = &reservation.limit;
        let used = usage.of(&limit.id);
        LimitView {
            level: reservation.level.as_str(),
            owner_id: reservation.owner_id.clone(),
            id: limit.id.clone(),
            unit: match limit.metric {
                Metric::Cost => "usd",
                Metric::Requests => "requests",
                Metric::Tokens => "tokens",
                Metric::InFlight => "requests_in_flight",
            },
            reset_duration: limit.period.to_string(),
            usage: LimitUsage::of(limit, used, now_ms),
            reserves: limits::amount_of(limit.metric, reservation.amount),
            room: match room(reservation, used, now_ms) {
                Room::Yes => "yes",
                Room::IfReturned => "if_returned",
                Room::No => "no",
            },
        }
    }
}

fn attempt_view(attempt: &Attempt) -> AttemptView {
    AttemptView {
        provider: attempt.provider.clone(),
        model: attempt.model.clone(),
        alias: attempt.alias.clone(),
        provider_config_id: attempt.provider_config_id.clone(),
        upstream_path: attempt.upstream_path.clone(),
        fallback_index: attempt.fallback_index,
        share_factor: weight::number(attempt.share_ppm),
        most_cost: Number::from_display(Nanos::new(attempt.cost_bound_nanos)),
    }
}

fn left_out_view(left_out: &LeftOut) -> LeftOutView {
    let (r#type, reason) = match &left_out.reason {
        Reason::Denied(denial) | Reason::NoRoom(denial) => {
            (reply::kind(denial), reply::message(denial))
        }
        Reason::NoWeight => (
            "no_weight",
            "its provider config has no weight: it is asked only by its name".into(),
        ),
        Reason::Unlisted => (
            "not_listed",
            "its own API is another, its config admits every name, and neither the catalogue nor an \
             alias knows this one as its model: it is asked only by its name"
                .into(),
        ),
        Reason::Twice => ("named_twice", "it is asked before".into()),
        Reason::TooMany => (
            "too_many_attempts",
            format!("a request has {MAX_ATTEMPTS} attempts at most"),
        ),
    };
    LeftOutView {
        provider: left_out.provider.clone(),
        model: left_out.model.clone(),
        r#type,
        reason,
    }
}

fn steps(failed: Option<(Step, &Denial)>) -> Vec<StepView> {
    let steps = Step::ALL.into_iter().map(|step| {
        let (result, reason) = match failed {
            Some((at, denial)) if step == at => ("failed", Some(reply::message(denial))),
            Some((at, _)) if step > at => ("not_reached", None),
            _ => ("passed", None),
        };
        StepView {
            step: step.as_str(),
            result,
            reason,
        }
    });
    steps.collect()
}

/// Of the first attempt.
fn plan_view(plan: Planned) -> Option<PlanView> {
    let dollars = |nanos| Number::from_display(Nanos::new(nanos));
    let first = plan.attempts.into_iter().next()?;
    Some(PlanView {
        endpoint: plan.endpoint,
        provider: first.provider,
        model: first.model,
        alias: first.alias,
        provider_config_id: first.provider_config_id,
        upstream_path: first.upstream_path,
        routing_rule_id: plan.routing_rule_id,
        rewrites_body: first.rewrites_body,
        price: first.price.map(|price| PriceView {
            input_cost_per_million_tokens: dollars(price.input),
            output_cost_per_million_tokens: dollars(price.output),
        }),
        most_input_tokens: first.input_bound,
        most_cost: dollars(first.cost_bound_nanos),
    })
}

fn denial_view(denial: &Denial, dialect: WireFormat, now_ms: i64) -> DenialView {
    let rendered = reply::render(denial, dialect, b"", now_ms);
    let body = String::from_utf8(rendered.body).ok();
    DenialView {
        status: rendered.status,
        r#type: reply::kind(denial),
        message: reply::message(denial),
        body: body.and_then(|body| RawValue::from_string(body).ok()),
    }
}
