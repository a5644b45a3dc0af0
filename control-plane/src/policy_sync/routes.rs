//! `/api/nodes`

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::entries::Position;
use crate::app::App;
use crate::auth::Admin;
use crate::error::Error;
use crate::http::reply::Ok as Reply;
use crate::http::timestamp::Timestamp;

/// The routes of nodes.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// An Envoy that is connected.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
struct View {
    /// Envoy's node id.
    node_id: String,
    /// This life of the Envoy process.
    boot_id: String,
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_heard_at: Timestamp,
    /// The version of policy it has in force; null: none that this process has published.
    applied_version: Option<u64>,
    /// Whether that is the version that is published.
    up_to_date: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeList)]
struct ListView {
    nodes: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// The version of policy that is published; it counts from the start of this process. Null:
    /// nothing is yet.
    published_version: Option<u64>,
}

/// List the Envoys that are connected to this process of the control plane.
#[utoipa::path(
    get, path = "/api/nodes", tag = "Nodes",
    responses((status = 200, body = ListView)),
)]
async fn list(_: Admin, State(app): State<Arc<App>>) -> Result<Reply<ListView>, Error> {
    let published = app.policy_sync.position();
    let nodes: Vec<View> = app
        .policy_sync
        .nodes
        .list()
        .into_iter()
        .map(|(boot, state)| View {
            node_id: boot.node_id,
            boot_id: boot.boot_id,
            connected_at: Timestamp(state.since_ms),
            last_heard_at: Timestamp(state.heard_ms),
            applied_version: in_epoch(state.applied, published),
            up_to_date: Some(state.applied) == published,
        })
        .collect();
    let published_version = published.map(|position| position.version);
    Ok(Reply(ListView {
        count: nodes.len(),
        nodes,
        published_version,
    }))
}

/// Versions of another epoch cannot be compared.
fn in_epoch(applied: Position, published: Option<Position>) -> Option<u64> {
    (published?.epoch == applied.epoch).then_some(applied.version)
}
