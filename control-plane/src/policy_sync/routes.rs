//! `/api/nodes`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::entries::Position;
use crate::ads::nodes::NodeState;
use crate::app::App;
use crate::auth::Admin;
use crate::error::Error;
use crate::http::reply::Ok as Reply;
use crate::http::timestamp::Timestamp;

/// The routes of nodes.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// An Envoy that is connected: its filter, its configuration stream, or, as it should be, both.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
struct View {
    /// Envoy's node id.
    node_id: String,
    /// This life of the Envoy process; null: its filter is not connected.
    boot_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_heard_at: Timestamp,
    /// The version of policy it has in force; null: none that this process has published.
    applied_version: Option<u64>,
    /// Whether that is the version that is published, and its configuration is the newest too.
    up_to_date: bool,
    /// How it is configured; null: it does not get its configuration from this process.
    configuration: Option<ConfigurationView>,
}

/// How far an Envoy is with what it is configured with: clusters, secrets, routes and filters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeConfiguration)]
struct ConfigurationView {
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    /// The newest version that it has accepted as a whole; null: none of this process.
    accepted_version: Option<u64>,
    /// For how long it has not been at the version that is published, milliseconds.
    lag_ms: i64,
    /// What it has refused; it goes on with what it had before.
    rejected: Vec<RejectedView>,
}

/// A part of its configuration that an Envoy has refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeRejection)]
struct RejectedView {
    /// `clusters`, `secrets`, `routes` or `filters`.
    resources: &'static str,
    /// The version since which they are as they are.
    version: u64,
    /// What Envoy says about it.
    error: String,
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
    /// The version of Envoy's configuration that is published; it counts from the start of this
    /// process.
    published_configuration_version: Option<u64>,
}

/// List the Envoys that are connected to this process of the control plane.
#[utoipa::path(
    get, path = "/api/nodes", tag = "Nodes",
    responses((status = 200, body = ListView)),
)]
async fn list(_: Admin, State(app): State<Arc<App>>) -> Result<Reply<ListView>, Error> {
    let now_ms = app.clock.now_ms();
    let published = app.policy_sync.position();
    let served = app.ads.snapshot().map(|snapshot| snapshot.version());
    // Of several streams of one name the newest counts.
    let mut configured: BTreeMap<String, NodeState> = app.ads.connected().into_iter().collect();
    let filters = app.policy_sync.nodes.list();
    let mut nodes: Vec<View> = filters
        .into_iter()
        .map(|(boot, state)| {
            let of_node = configured.get(&boot.node_id);
            let is_current = of_node.is_none_or(|it| it.accepted == served);
            View {
                configuration: of_node.map(|it| configuration(it, served, now_ms)),
                node_id: boot.node_id,
                boot_id: Some(boot.boot_id),
                connected_at: Timestamp(state.since_ms),
                last_heard_at: Timestamp(state.heard_ms),
                applied_version: in_epoch(state.applied, published),
                up_to_date: Some(state.applied) == published && is_current,
            }
        })
        .collect();
    for view in &nodes {
        configured.remove(&view.node_id);
    }
    nodes.extend(configured.into_iter().map(|(node_id, state)| View {
        configuration: Some(configuration(&state, served, now_ms)),
        node_id,
        boot_id: None,
        connected_at: Timestamp(state.since_ms),
        last_heard_at: Timestamp(state.heard_ms),
        applied_version: None,
        up_to_date: false,
    }));
    nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    Ok(Reply(ListView {
        count: nodes.len(),
        nodes,
        published_version: published.map(|position| position.version),
        published_configuration_version: served,
    }))
}

fn configuration(state: &NodeState, served: Option<u64>, now_ms: i64) -> ConfigurationView {
    let behind_since_ms = state.behind_since_ms.filter(|_| state.accepted != served);
    ConfigurationView {
        connected_at: Timestamp(state.since_ms),
        accepted_version: state.accepted,
        lag_ms: behind_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms).max(0)),
        rejected: state
            .rejected
            .iter()
            .map(|rejected| RejectedView {
                resources: rejected.of.as_str(),
                version: rejected.version,
                error: rejected.error.clone(),
            })
            .collect(),
    }
}

/// Versions of another epoch cannot be compared.
fn in_epoch(applied: Position, published: Option<Position>) -> Option<u64> {
    (published?.epoch == applied.epoch).then_some(applied.version)
}
