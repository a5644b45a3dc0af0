//! Every URL, on one page.

use std::any::Any;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::auth::Admin;
use crate::error::{self, Error};
use crate::http::{request_id, unread_body};
use crate::{
    coverage, customers, explain, health, ledger, model_configs, models, policy_sync,
    pricing_overrides, provider_shares, providers, routing_rules, settings, teams, usage,
    virtual_keys,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Reeve admin API",
        description = "Governance of LLM traffic through Envoy.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    security(("admin_token" = [])),
)]
struct Api;

/// The documented API.
fn api() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Api::openapi())
        // /api/config
        .merge(settings::routes::routes())
        // /api/governance/virtual-keys, /{id}, /{id}/rotate
        .merge(virtual_keys::routes::routes())
        // /api/governance/virtual-keys/quota
        .merge(virtual_keys::quota::routes())
        // /api/governance/teams, /{id}
        .merge(teams::routes::routes())
        // /api/governance/customers, /{id}
        .merge(customers::routes::routes())
        // /api/governance/model-configs, /{id}
        .merge(model_configs::routes::routes())
        // /api/governance/providers, /{name}
        .merge(model_configs::provider_routes::routes())
        // /api/providers, /{name}, /{name}/keys, /{name}/keys/{id}
        .merge(providers::routes::routes())
        // /api/governance/provider-shares
        .merge(provider_shares::routes::routes())
        // /api/models, /{provider}/{model}
        .merge(models::routes::routes())
        // /api/governance/pricing-overrides, /{id}
        .merge(pricing_overrides::routes::routes())
        // /api/governance/routing-rules, /api/governance/routing-rules/{id}
        .merge(routing_rules::routes::routes())
        // /api/governance/usage, /records, /rejected
        .merge(usage::routes::routes())
        // /api/governance/sessions, /{id}/release
        .merge(ledger::routes::routes())
        // /api/governance/limits/{id}/top-up, /reset
        .merge(ledger::limit_routes::routes())
        // /api/governance/limits/{id}/override, /virtual-keys/{id}/budgets/{budget_id}/override
        .merge(ledger::override_routes::routes())
        // /api/governance/coverage
        .merge(coverage::routes::routes())
        // /api/governance/explain
        .merge(explain::routes::routes())
        // /api/nodes
        .merge(policy_sync::routes::routes())
}

/// The OpenAPI 3.1 document: made from the code, kept in `openapi.json`.
pub fn openapi() -> Document {
    let mut document = api().into_openapi();
    // A parameter that takes the rest of the path is `{*name}` to axum; OpenAPI knows `{name}` only.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme(
            "admin_token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    document
        .components
        .get_or_insert_default()
        .add_security_scheme(
            "virtual_key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-bf-vk"))),
        );
    document
}

/// The server: the API, the health checks, and what every request passes through.
pub fn router(app: Arc<App>) -> Router {
    let (api, _) = api().split_for_parts();
    let document = Arc::new(openapi());
    api.route(
        "/api/openapi.json",
        get(move |_: Admin, State(_): State<Arc<App>>| async move { Json(document).into_response() }),
    )
    .route("/healthz", get(health::healthz))
    .route("/readyz", get(health::readyz))
    .fallback(|| async { Error::NoSuchPath })
    .method_not_allowed_fallback(|| async { Error::NoSuchMethod })
    // The last layer is the outermost one.
    .layer(CatchPanicLayer::custom(panicked))
    .layer(middleware::from_fn(error::render))
    .layer(middleware::from_fn_with_state(Arc::clone(&app), request_id::assign))
    .layer(middleware::from_fn(unread_body::announce_close))
    .with_state(app)
}

#[derive(Debug, thiserror::Error)]
#[error("panic: {0}")]
struct Panicked(String);

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that tower-http calls"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no message)");
    Error::internal(Panicked(message.to_owned())).into_response()
}

#[cfg(test)]
mod tests;
