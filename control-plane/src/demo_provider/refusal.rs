//! A request that is not served, said in the vendor's own shape.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::encoding::Encoding;
use super::sending::{JSON, mark_encoding};

/// Whose wire format a request and its answer are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Bedrock,
    Cohere,
}

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// The field or header at fault.
    pub(super) param: Option<String>,
}

impl Refusal {
    /// Any status, with a sentence for the caller.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
        }
    }

    /// 400.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Names what is at fault.
    pub(super) fn with_param(self, param: &str) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..self
        }
    }

    /// The response to the request `id`, as `dialect`'s SDK expects it.
    pub(super) fn into_response(
        self,
        dialect: Dialect,
        id: &str,
        encoding: Option<Encoding>,
    ) -> Response {
        let body = match dialect {
            Dialect::OpenAi => self.openai(),
            Dialect::Anthropic => self.anthropic(),
            Dialect::Gemini => self.gemini(),
            Dialect::Bedrock => json!({"message": self.message}),
            Dialect::Cohere => json!({"id": id, "message": self.message}),
        };
        let body = body.to_string();
        let compressed = encoding.and_then(|encoding| encoding.compress(body.as_bytes()).ok());
        let encoding = encoding.filter(|_| compressed.is_some());
        let body = compressed.unwrap_or_else(|| body.into());
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        mark_encoding(headers, encoding);
        if dialect == Dialect::Bedrock {
            headers.insert(
                "x-amzn-errortype",
                HeaderValue::from_static(self.exception()),
            );
        }
        response
    }

    fn openai(&self) -> Value {
        let (kind, code) = match self.status {
            StatusCode::UNAUTHORIZED => ("invalid_request_error", Some("invalid_api_key")),
            StatusCode::TOO_MANY_REQUESTS => ("requests", Some("rate_limit_exceeded")),
            status if status.is_server_error() => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        json!({"error": {
            "message": self.message, "type": kind, "param": self.param, "code": code,
        }})
    }

    fn anthropic(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": self.message}})
    }

    fn gemini(&self) -> Value {
        let status = match self.status.as_u16() {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ABORTED",
            429 => "RESOURCE_EXHAUSTED",
            499 => "CANCELLED",
            501 => "UNIMPLEMENTED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            500.. => "INTERNAL",
            _ => "INVALID_ARGUMENT",
        };
        let code = self.status.as_u16();
        json!({"error": {"code": code, "message": self.message, "status": status}})
    }

    /// What AWS calls it.
    fn exception(&self) -> &'static str {
        match self.status.as_u16() {
            401 | 403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            408 => "ModelTimeoutException",
            424 => "ModelErrorException",
            429 => "ThrottlingException",
            503 => "ServiceUnavailableException",
            500.. => "InternalServerException",
            _ => "ValidationException",
        }
    }
}
