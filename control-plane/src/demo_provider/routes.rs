//! Every URL of the demo provider, and the way of one call through it.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::fields::Fields;
use super::refusal::{Dialect, Refusal};
use super::reply::Reply;
use super::server::CloseConnection;
use super::steering::{Fault, Steering};
use super::text::Subject;
use super::{Demo, anthropic, openai};

/// Largest body that is read. More than any gateway in front should let through.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Everything a vendor's module needs to answer one call.
pub(super) struct Call<'a> {
    pub(super) fields: &'a Fields,
    pub(super) steering: &'a Steering,
    /// Name of this instance.
    pub(super) provider: &'a str,
    /// Distinguishes answers; unique within this process.
    pub(super) number: u64,
    /// Seconds since the Unix epoch.
    pub(super) now: i64,
}

impl Call<'_> {
    /// An id such as `chatcmpl-demo-7`.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}-{}-{}", self.provider, self.number)
    }

    /// What the answer's text is derived from.
    pub(super) fn subject<'a>(&'a self, model: &'a str, asked: &'a str) -> Subject<'a> {
        Subject {
            provider: self.provider,
            model,
            asked,
        }
    }
}

/// How a vendor's module answers a call.
type Answer = fn(&Call<'_>) -> Result<Reply, Refusal>;

/// See [`super::router`].
pub(super) fn router(demo: Demo) -> Router {
    let openai = |answer| post(move |state, request| call(state, Dialect::OpenAi, answer, request));
    let anthropic =
        |answer| post(move |state, request| call(state, Dialect::Anthropic, answer, request));
    Router::new()
        .route("/v1/chat/completions", openai(openai::chat::answer))
        .route("/v1/responses", openai(openai::responses::answer))
        .route("/v1/embeddings", openai(openai::embeddings::answer))
        .route("/v1/messages", anthropic(anthropic::answer))
        .route("/v1/models", get(models))
        .route("/_demo/stats", get(stats))
        .route("/_demo/last", get(last))
        .route("/_demo/reset", post(reset))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(Arc::new(demo))
}

async fn call(
    State(demo): State<Arc<Demo>>,
    dialect: Dialect,
    answer: Answer,
    request: Request,
) -> Response {
    demo.stats.received();
    let mut response = match serve(&demo, answer, request).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::info!(
                status = refusal.status.as_u16(),
                "refused: {}",
                refusal.message
            );
            refusal.into_response(dialect)
        }
    };
    // The SDKs show this id to their users; each vendor has its own name for it.
    let name = match dialect {
        Dialect::OpenAi => "x-request-id",
        Dialect::Anthropic => "request-id",
    };
    if let Ok(id) = format!("req-{}-{}", demo.name, demo.next_answer()).parse() {
        response.headers_mut().insert(name, id);
    }
    response
}

async fn serve(demo: &Arc<Demo>, answer: Answer, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = receive(demo, request).await?;
    let steering = Steering::read(&parts.headers, &demo.name)?;
    require_credential(&parts.headers)?;
    match steering.fault {
        None | Some(Fault::Cut(_)) => {}
        Some(fault) => {
            tokio::time::sleep(steering.delay).await;
            return fail(fault).await;
        }
    }
    let fields = Fields::parse(&body)?;
    let reply = answer(&Call {
        fields: &fields,
        steering: &steering,
        provider: &demo.name,
        number: demo.next_answer(),
        now: demo.now(),
    })?;
    demo.stats.accepted(&reply.model, reply.input_tokens);
    tokio::time::sleep(steering.delay).await;
    Ok(reply.into_response(demo, &steering))
}

/// Reads a request to its end and remembers it.
async fn receive(demo: &Demo, request: Request) -> Result<(Parts, Bytes), Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|error| {
        // The two ways to fail: over the limit, or broken off by the client, who won't see this.
        let message = format!("the body could not be read: {error}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    demo.last.record(&parts, &body);
    Ok((parts, body))
}

/// Any credential will do, but there must be one: a gateway that forgot it must be found out.
fn require_credential(headers: &HeaderMap) -> Result<(), Refusal> {
    let bearer = headers.get(header::AUTHORIZATION).map(|value| {
        let value = value.as_bytes();
        value.strip_prefix(b"Bearer").unwrap_or(value)
    });
    let key = headers.get("x-api-key").map(HeaderValue::as_bytes);
    if [bearer, key]
        .into_iter()
        .flatten()
        .any(|value| !value.trim_ascii().is_empty())
    {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNAUTHORIZED,
        "no credential: send `authorization: Bearer <key>` or `x-api-key: <key>`; any key will do",
    ))
}

async fn fail(fault: Fault) -> Result<Response, Refusal> {
    match fault {
        Fault::Status(status) => Err(Refusal::new(
            status,
            format!("`x-demo-fault` asked for status {}", status.as_u16()),
        )),
        Fault::Hang => std::future::pending().await,
        Fault::Close | Fault::Cut(_) => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(CloseConnection);
            Ok(response)
        }
    }
}

async fn models(State(demo): State<Arc<Demo>>, request: Request) -> Response {
    let listed = async {
        let (parts, _) = receive(&demo, request).await?;
        require_credential(&parts.headers)?;
        Ok(Json(openai::models(demo.now())).into_response())
    };
    listed
        .await
        .unwrap_or_else(|refusal: Refusal| refusal.into_response(Dialect::OpenAi))
}

async fn unknown(State(demo): State<Arc<Demo>>, request: Request) -> Response {
    let refusal = match receive(&demo, request).await {
        Ok((parts, _)) => {
            let (method, path) = (parts.method, parts.uri.path().to_owned());
            let message = format!("the demo provider does not serve {method} {path}");
            Refusal::new(StatusCode::NOT_FOUND, message)
        }
        Err(refusal) => refusal,
    };
    refusal.into_response(Dialect::OpenAi)
}

async fn stats(State(demo): State<Arc<Demo>>) -> Response {
    Json(demo.stats.read()).into_response()
}

async fn last(State(demo): State<Arc<Demo>>) -> Response {
    match demo.last.read() {
        Some(received) => Json(received).into_response(),
        None => {
            let body = json!({"error": {"message": "no request has arrived yet"}});
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

async fn reset(State(demo): State<Arc<Demo>>) -> StatusCode {
    demo.stats.reset();
    demo.last.reset();
    StatusCode::NO_CONTENT
}
