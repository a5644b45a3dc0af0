//! `/api/governance/sessions`

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Unavailable;
use super::sessions::{self, Counted, GONE_AFTER_MS};
use crate::app::App;
use crate::auth::Admin;
use crate::error::{Error, Problem};
use crate::http::json::OptionalJson;
use crate::http::reply::Ok as Reply;
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;

/// Who releases, in the ledger.
const ACTOR: &str = "admin";

/// The routes of sessions.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(release))
}

/// One life of an Envoy process, as far as it holds parts of limits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct View {
    session_id: i64,
    /// Envoy's node id.
    node_id: String,
    /// This life of the Envoy process.
    boot_id: String,
    /// `connected`, or `gone`: not connected for 30 s. What it holds is then in suspense.
    state: &'static str,
    /// Limits of which it holds something that it has not used.
    holds: i64,
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
    /// At most 10 s late.
    #[schema(value_type = String, format = DateTime)]
    last_heard_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionList)]
struct ListView {
    /// By age.
    sessions: Vec<View>,
    /// Entries in this answer.
    count: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionReleased)]
struct ReleasedView {
    message: &'static str,
    session_id: i64,
    /// Limits that have it back.
    released: i64,
}

/// A release; there is nothing to say about it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = SessionRelease)]
struct Release {}

/// List the lives of Envoy processes that hold parts of limits.
#[utoipa::path(
    get, path = "/api/governance/sessions", tag = "Sessions",
    responses((status = 200, body = ListView)),
)]
async fn list(_: Admin, State(app): State<Arc<App>>) -> Result<Reply<ListView>, Error> {
    let connected = app.policy_sync.connected();
    let gone_before_ms = app.clock.now_ms().saturating_sub(GONE_AFTER_MS);
    let mut tx = app.db.begin_read().await?;
    let counted = sessions::list(&mut tx, None).await?;
    let sessions: Vec<View> = counted
        .into_iter()
        .map(|session| {
            let lives = session.heard_at >= gone_before_ms
                || connected
                    .iter()
                    .any(|boot| boot.node_id == session.node_id && boot.boot_id == session.boot_id);
            view(session, if lives { "connected" } else { "gone" })
        })
        .collect();
    Ok(Reply(ListView {
        count: sessions.len(),
        sessions,
    }))
}

/// Release what an Envoy that has gone holds. Do it when you know that its process has ended: one that
/// still runs behind a broken network may be using it.
#[utoipa::path(
    post, path = "/api/governance/sessions/{id}/release", tag = "Sessions",
    params(("id" = String, Path)),
    request_body(content = Option<Release>, description = "May be left out"),
    responses(
        (status = 200, body = ReleasedView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It is connected"),
    ),
)]
async fn release(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    OptionalJson(_release): OptionalJson<Release>,
) -> Result<Reply<ReleasedView>, Error> {
    let session = find(&app, &id).await?;
    let is_here = app
        .policy_sync
        .connected()
        .iter()
        .any(|boot| boot.node_id == session.node_id && boot.boot_id == session.boot_id);
    let gone_before_ms = app.clock.now_ms().saturating_sub(GONE_AFTER_MS);
    let is_released = !is_here
        && app
            .ledger
            .release_one(session.id, gone_before_ms, ACTOR)
            .await?;
    if !is_released {
        // It may have been released by somebody else meanwhile.
        let session = find(&app, &id).await?;
        return Err(Error::Conflict(Invalid::whole(format_args!(
            "Envoy `{}` is connected, or was less than 30 s ago, and may use what it holds; stop it, \
             and release this 30 s later",
            session.node_id
        ))));
    }
    Ok(Reply(ReleasedView {
        message: "Session released",
        session_id: session.id,
        released: session.holds,
    }))
}

async fn find(app: &App, id: &str) -> Result<Counted, Error> {
    let mut tx = app.db.begin_read().await?;
    let found = match id.parse() {
        Ok(number) => sessions::list(&mut tx, Some(number)).await?.pop(),
        Err(_) => None,
    };
    found.ok_or_else(|| Error::NotFound {
        what: "session that holds anything",
        id: id.to_owned(),
    })
}

fn view(session: Counted, state: &'static str) -> View {
    View {
        session_id: session.id,
        node_id: session.node_id,
        boot_id: session.boot_id,
        state,
        holds: session.holds,
        joined_at: Timestamp(session.joined_at),
        last_heard_at: Timestamp(session.heard_at),
    }
}

impl From<Unavailable> for Error {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable("the ledger cannot be written now; try again")
    }
}
