//! An error in the caller's dialect, so that its SDK raises the right exception, with Bifrost's
//! members beside it, so that its users' tooling keeps working.
//!
//! Bifrost puts its type into a top-level `type`. In Anthropic's dialect that member must say
//! `error`, so there it is called `error_type`.

use crate::WireFormat;
use crate::json::{ObjectWriter, Scalar};

/// An error to show to a caller.
#[derive(Clone, Copy, Debug)]
pub struct ErrorBody<'a> {
    /// HTTP status, repeated in the body as `status_code`.
    pub status: u16,
    /// The machine-readable reason, such as `budget_exceeded`.
    pub error_type: &'a str,
    /// What happened and what to do, for people.
    pub message: &'a str,
    /// A finer reason, if there is one.
    pub code: Option<&'a str>,
    /// The request's member or header at fault, if it is one.
    pub param: Option<&'a str>,
    /// To find the request in the logs.
    pub request_id: &'a str,
    /// Further top-level members. Their names must differ from the ones above.
    pub extra: &'a [(&'a str, Scalar<'a>)],
}

/// Writes the error; the content type is `application/json`.
///
/// | dialect | members |
/// |---|---|
/// | OpenAI | `error.message`, `error.type`, `error.param`, `error.code`, `type` |
/// | Anthropic | `type` = `error`, `error.type`, `error.message`, `error_type` |
/// | Gemini | `error.code`, `error.message`, `error.status`, `error.details`, `type` |
/// | Bedrock | `message`, `type`; the exception's name is in a header ([`error_header`]) |
/// | Cohere | `message`, `id`, `type` |
///
/// All have `status_code` and `request_id`; `param` and `code` are there when they are given.
pub fn render_error(dialect: WireFormat, error: &ErrorBody<'_>) -> Vec<u8> {
    let body = match dialect {
        WireFormat::OpenAi => openai(error),
        WireFormat::Anthropic => anthropic(error),
        WireFormat::Gemini => gemini(error),
        WireFormat::Bedrock => with_param_and_code(typed(message(error), error), error),
        WireFormat::Cohere => {
            let body = message(error).member("id", Scalar::Text(error.request_id));
            with_param_and_code(typed(body, error), error)
        }
    };
    let body = body
        .member("status_code", Scalar::Integer(error.status.into()))
        .member("request_id", Scalar::Text(error.request_id));
    let body = error
        .extra
        .iter()
        .fold(body, |body, (name, value)| body.member(name, *value));
    body.finish().into_bytes()
}

/// The header field, if any, that tells an SDK of this dialect what an error of this status is.
pub const fn error_header(
    dialect: WireFormat,
    status: u16,
) -> Option<(&'static str, &'static str)> {
    match dialect {
        WireFormat::Bedrock => Some(("x-amzn-errortype", bedrock_exception(status))),
        _ => None,
    }
}

fn message(error: &ErrorBody<'_>) -> ObjectWriter {
    ObjectWriter::new().member("message", Scalar::Text(error.message))
}

fn typed(body: ObjectWriter, error: &ErrorBody<'_>) -> ObjectWriter {
    body.member("type", Scalar::Text(error.error_type))
}

fn with_param_and_code(body: ObjectWriter, error: &ErrorBody<'_>) -> ObjectWriter {
    [("param", error.param), ("code", error.code)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .fold(body, |body, (name, value)| {
            body.member(name, Scalar::Text(value))
        })
}

fn openai(error: &ErrorBody<'_>) -> ObjectWriter {
    let inner = ObjectWriter::new()
        .member("message", Scalar::Text(error.message))
        .member("type", Scalar::Text(error.error_type))
        .member("param", error.param.map_or(Scalar::Null, Scalar::Text))
        .member("code", error.code.map_or(Scalar::Null, Scalar::Text));
    ObjectWriter::new()
        .object("error", inner)
        .member("type", Scalar::Text(error.error_type))
}

fn anthropic(error: &ErrorBody<'_>) -> ObjectWriter {
    let inner = ObjectWriter::new()
        .member("type", Scalar::Text(anthropic_type(error.status)))
        .member("message", Scalar::Text(error.message));
    ObjectWriter::new()
        .member("type", Scalar::Text("error"))
        .object("error", with_param_and_code(inner, error))
        .member("error_type", Scalar::Text(error.error_type))
}

fn gemini(error: &ErrorBody<'_>) -> ObjectWriter {
    let info = ObjectWriter::new()
        .member(
            "@type",
            Scalar::Text("type.googleapis.com/google.rpc.ErrorInfo"),
        )
        .member(
            "reason",
            Scalar::Text(error.code.unwrap_or(error.error_type)),
        )
        .member("domain", Scalar::Text("reeve"));
    let inner = ObjectWriter::new()
        .member("code", Scalar::Integer(error.status.into()))
        .member("message", Scalar::Text(error.message))
        .member("status", Scalar::Text(google_status(error.status)))
        .objects("details", [info]);
    with_param_and_code(
        typed(ObjectWriter::new().object("error", inner), error),
        error,
    )
}

/// The error types of Anthropic's API reference, by status.
fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

/// The codes of Google's API errors (google.rpc.Code), by status.
const fn google_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

/// The exceptions of Bedrock's runtime API, by status.
const fn bedrock_exception(status: u16) -> &'static str {
    match status {
        401 => "UnrecognizedClientException",
        402 => "ServiceQuotaExceededException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        504 => "ModelTimeoutException",
        400..=499 => "ValidationException",
        _ => "InternalServerException",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const ERROR: ErrorBody<'static> = ErrorBody {
        status: 402,
        error_type: "budget_exceeded",
        message: "the budget \"team\" is used up",
        code: None,
        param: None,
        request_id: "r-1",
        extra: &[
            ("limit", Scalar::Text("team")),
            ("reset_at_ms", Scalar::Integer(1_700_000)),
        ],
    };

    fn rendered(dialect: WireFormat, error: &ErrorBody<'_>) -> Value {
        serde_json::from_slice(&render_error(dialect, error)).unwrap()
    }

    #[test]
    fn an_openai_sdk_and_a_bifrost_client_find_what_they_look_for() {
        assert_eq!(
            rendered(WireFormat::OpenAi, &ERROR),
            json!({
                "error": {
                    "message": "the budget \"team\" is used up", "type": "budget_exceeded",
                    "param": null, "code": null,
                },
                "type": "budget_exceeded", "status_code": 402, "request_id": "r-1",
                "limit": "team", "reset_at_ms": 1_700_000,
            })
        );
    }

    #[test]
    fn an_anthropic_sdk_finds_its_own_type_and_ours_beside_it() {
        let error = ErrorBody {
            param: Some("model"),
            code: Some("c"),
            ..ERROR
        };
        assert_eq!(
            rendered(WireFormat::Anthropic, &error),
            json!({
                "type": "error",
                "error": {
                    "type": "billing_error", "message": "the budget \"team\" is used up",
                    "param": "model", "code": "c",
                },
                "error_type": "budget_exceeded", "status_code": 402, "request_id": "r-1",
                "limit": "team", "reset_at_ms": 1_700_000,
            })
        );
    }

    #[test]
    fn every_status_has_the_type_that_anthropic_documents() {
        for (status, expected) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (413, "request_too_large"),
            (415, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
        ] {
            let body = rendered(WireFormat::Anthropic, &ErrorBody { status, ..ERROR });
            assert_eq!(body["error"]["type"], expected, "{status}");
        }
    }

    #[test]
    fn a_google_sdk_finds_code_status_and_details() {
        let body = rendered(
            WireFormat::Gemini,
            &ErrorBody {
                status: 403,
                ..ERROR
            },
        );
        assert_eq!(body["error"]["code"], 403);
        assert_eq!(body["error"]["status"], "PERMISSION_DENIED");
        assert_eq!(body["error"]["details"][0]["reason"], "budget_exceeded");
        assert_eq!(
            (&body["type"], &body["status_code"]),
            (&json!("budget_exceeded"), &json!(403))
        );
    }

    #[test]
    fn an_amazon_sdk_finds_the_exception_in_a_header() {
        assert_eq!(
            error_header(WireFormat::Bedrock, 429),
            Some(("x-amzn-errortype", "ThrottlingException"))
        );
        assert_eq!(error_header(WireFormat::OpenAi, 429), None);
        let body = rendered(WireFormat::Bedrock, &ERROR);
        assert_eq!(body["message"], ERROR.message);
        assert_eq!(body["type"], "budget_exceeded");
    }

    #[test]
    fn cohere_has_a_message_and_an_id() {
        let body = rendered(
            WireFormat::Cohere,
            &ErrorBody {
                param: Some("model"),
                ..ERROR
            },
        );
        assert_eq!(
            (&body["message"], &body["id"]),
            (&json!(ERROR.message), &json!("r-1"))
        );
        assert_eq!(body["param"], "model");
    }

    #[test]
    fn no_message_can_break_out_of_the_body() {
        let message = "\",\"type\":\"x\"}\u{0}\n\\";
        let body = rendered(WireFormat::OpenAi, &ErrorBody { message, ..ERROR });
        assert_eq!(body["error"]["message"], message);
        assert_eq!(body["type"], "budget_exceeded");
    }
}
