//! For load balancers and supervisors: is the process up, and is it ready? No login, no detail.

use std::sync::Arc;

use axum::extract::State;

use crate::app::App;
use crate::error::Error;

/// `GET /healthz`: the process is up.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the database answers, and policy has been compiled since the start.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Error> {
    if let Err(error) = app.db.ping().await {
        tracing::warn!(%error, "database does not answer");
        return Err(Error::Unavailable("the database does not answer"));
    }
    if !app.policy_published() {
        return Err(Error::Unavailable("policy is not compiled yet"));
    }
    Ok("ready\n")
}
