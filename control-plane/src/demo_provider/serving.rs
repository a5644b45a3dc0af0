//! The way of one call through the demo provider, from the first byte to the answer.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::call::Call;
use super::refusal::{Dialect, Refusal};
use super::reply::Reply;
use super::server::CloseConnection;
use super::steering::{Fault, Steering};
use super::{Demo, sending};

/// Largest body that is read. More than any gateway in front should let through.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Headers that a credential may come in.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// How a vendor's module answers a call.
pub(super) type Answer = fn(&Call<'_>) -> Result<Reply, Refusal>;
/// What stands in the variable part of a path.
pub(super) type InPath = Result<RawPathParams, RawPathParamsRejection>;

/// Serves one call of a model.
pub(super) async fn call(
    State(demo): State<Arc<Demo>>,
    dialect: Dialect,
    answer: Answer,
    path: InPath,
    request: Request,
) -> Response {
    demo.stats.received();
    let mut encoding = None;
    let answered = async {
        let (parts, body) = receive(&demo, request).await?;
        let steering = Steering::read(&parts.headers, &demo.name)?;
        encoding = steering.encoding;
        let in_path = in_path(path)?;
        require_credential(&parts.headers, dialect)?;
        serve(&demo, answer, &parts, &body, &in_path, steering).await
    };
    let answered = answered.await;
    let id = demo.request_id();
    let mut response = answered.unwrap_or_else(|refusal: Refusal| {
        let (status, message) = (refusal.status.as_u16(), &refusal.message);
        tracing::info!(status, "refused: {message}");
        refusal.into_response(dialect, &id, encoding)
    });
    // The SDKs show this id to their users; each vendor has its own name for it.
    let name = match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere => "x-request-id",
        Dialect::Anthropic => "request-id",
        Dialect::Bedrock => "x-amzn-requestid",
    };
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(name, id);
    }
    response
}

async fn serve(
    demo: &Arc<Demo>,
    answer: Answer,
    parts: &Parts,
    body: &Bytes,
    in_path: &str,
    steering: Steering,
) -> Result<Response, Refusal> {
    match steering.fault {
        None | Some(Fault::Cut(_)) => {}
        Some(fault) => {
            tokio::time::sleep(steering.delay).await;
            return fail(fault).await;
        }
    }
    let reply = answer(&Call {
        parts,
        body,
        in_path,
        steering: &steering,
        provider: &demo.name,
        number: demo.next_number(),
        now: demo.now(),
    })?;
    demo.stats.accepted(&reply.model, reply.input_tokens);
    tokio::time::sleep(steering.delay).await;
    sending::respond(reply, demo, steering).map_err(|error| {
        let message = format!("the answer could not be compressed: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })
}

/// The decoded variable part of a path, empty when it has none.
fn in_path(path: InPath) -> Result<String, Refusal> {
    let parameters = path.map_err(|_| Refusal::invalid("the path is not UTF-8"))?;
    let first = parameters.iter().next();
    Ok(first.map(|(_, value)| value.to_owned()).unwrap_or_default())
}

/// Reads a request to its end and remembers it.
pub(super) async fn receive(demo: &Demo, request: Request) -> Result<(Parts, Bytes), Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|error| {
        // The two ways to fail: over the limit, or broken off by the client, who won't see this.
        let message = format!("the body could not be read: {error}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    demo.last.record(&parts, &body);
    Ok((parts, body))
}

/// Any credential will do, but there must be one: a gateway that forgot it must be found out. OpenAI's
/// format wants it where OpenAI or Azure do, and so do the vendors that serve that format beside their own.
pub(super) fn require_credential(headers: &HeaderMap, dialect: Dialect) -> Result<(), Refusal> {
    let names: &[&str] = match dialect {
        Dialect::OpenAi => &["authorization", "api-key"],
        _ => &CREDENTIALS,
    };
    let given = names.iter().any(|name| {
        let value = headers.get(*name).map_or(&b""[..], HeaderValue::as_bytes);
        let key = value.strip_prefix(b"Bearer").unwrap_or(value);
        !key.trim_ascii().is_empty()
    });
    if given {
        return Ok(());
    }
    let message = format!(
        "no credential: send any key in one of the headers {}",
        names.join(", ")
    );
    Err(Refusal::new(StatusCode::UNAUTHORIZED, message))
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
