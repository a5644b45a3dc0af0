//! Errors of the admin API, and the only place that knows their HTTP statuses.
//!
//! A handler returns [`Error`]. [`render`], the outermost layer, turns it into
//! `application/problem+json` (RFC 9457), adds the request id and logs faults of ours once. What
//! went wrong inside is never told outside.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db;
use crate::http::request_id::RequestId;
use crate::invalid::Invalid;
use crate::random::RandomError;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No credential, or none that we know.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller may not do this from where it is.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// The resource in words, e.g. `virtual key`.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// There is nothing at this path.
    #[error("there is nothing at this path; GET /api/openapi.json lists every path")]
    NoSuchPath,
    /// The path does not offer this method.
    #[error("this path does not offer the method; the header `allow` lists those it does")]
    NoSuchMethod,
    /// The state of things forbids it.
    #[error(transparent)]
    Conflict(Invalid),
    /// The key of a request that was done came with another one.
    #[error(
        "this `Idempotency-Key` was used for another request; send the same request again, or take a new \
         key"
    )]
    IdempotencyKeyReused,
    /// The body is larger than is accepted.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// Largest accepted size, bytes.
        limit: usize,
    },
    /// The body came too slowly.
    #[error("the body did not arrive within {seconds} s")]
    TooSlow {
        /// How long we wait, seconds.
        seconds: u64,
    },
    /// The body is not what the endpoint reads.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// The caller has failed too often.
    #[error(
        "too many keys that do not exist came from this address; try again in {retry_after_s} s"
    )]
    TooManyFailures {
        /// When it may try again, seconds.
        retry_after_s: i64,
    },
    /// Something this process needs does not answer now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault of ours; the source is logged, never shown.
    #[error("something went wrong on our side; the log has the cause under the request id")]
    Internal(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A fault of ours.
    pub fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Arc::new(cause))
    }

    /// Status, the last part of the problem's `type`, and its title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid(_) => (
                StatusCode::BAD_REQUEST,
                "invalid-request",
                "Invalid request",
            ),
            Self::Unauthenticated(_) => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Authentication required",
            ),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotFound { .. } | Self::NoSuchPath => {
                (StatusCode::NOT_FOUND, "not-found", "Not found")
            }
            Self::NoSuchMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency key reused",
            ),
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload-too-large",
                "Payload too large",
            ),
            Self::TooSlow { .. } => (
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "Request timeout",
            ),
            Self::UnsupportedMediaType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
            ),
            Self::TooManyFailures { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
            ),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
            ),
        }
    }
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Busy(_) => Self::Unavailable("the database is busy; try again"),
            other => Self::internal(other),
        }
    }
}

impl From<RandomError> for Error {
    fn from(error: RandomError) -> Self {
        Self::internal(error)
    }
}

/// The body of an error answer (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Identifies the kind of problem; stable.
    #[schema(example = "urn:reeve:problem:invalid-request")]
    r#type: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: String,
    /// The field at fault, as a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "provider_configs[0].weight")]
    field: Option<String>,
    /// Names this request in the logs.
    request_id: String,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind();
        let mut response = status.into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1 demands a challenge; RFC 6750 section 3 names it.
            let challenge = HeaderValue::from_static("Bearer realm=\"reeve\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Self::TooManyFailures { retry_after_s } = &self {
            let seconds = HeaderValue::from(*retry_after_s);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The outermost layer: writes the body of every error answer.
pub async fn render(request: Request, next: Next) -> Response {
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_default();
    let mut response = next.run(request).await;
    let status = response.status();
    let error = response.extensions_mut().remove::<Arc<Error>>();
    let (kind, title, detail, field) = match error.as_deref() {
        Some(error) => {
            let (_, kind, title) = error.kind();
            let (detail, field) = match error {
                Error::Invalid(fault) | Error::Conflict(fault) => {
                    (fault.message.clone(), fault.field.clone())
                }
                other => (other.to_string(), None),
            };
            (kind, title, detail, field)
        }
        // An answer that axum made by itself, such as for a path that is not UTF-8.
        None if status.is_client_error() => (
            "invalid-request",
            "Invalid request",
            "the request is malformed".to_owned(),
            None,
        ),
        None => return response,
    };
    if let Some(Error::Internal(cause)) = error.as_deref() {
        tracing::error!(
            request_id = request_id.as_str(),
            cause = chain(&**cause),
            "request failed"
        );
    }
    let problem = Problem {
        r#type: format!("urn:reeve:problem:{kind}"),
        title,
        status: status.as_u16(),
        detail,
        field,
        request_id: request_id.as_str().to_owned(),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, body.into())
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
