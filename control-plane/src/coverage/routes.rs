//! `/api/governance/coverage`

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Coverage, coverage};
use crate::app::App;
use crate::auth::Admin;
use crate::http::reply::Ok as Reply;

/// The routes of coverage.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(show))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CoverageTable)]
struct ShowView {
    coverage: Vec<Coverage>,
}

/// Show every path of the data plane and how requests there are governed. Any other path is
/// refused.
#[utoipa::path(
    get, path = "/api/governance/coverage", tag = "Coverage",
    responses((status = 200, body = ShowView)),
)]
async fn show(_: Admin) -> Reply<ShowView> {
    Reply(ShowView {
        coverage: coverage(),
    })
}
