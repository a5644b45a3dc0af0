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
/// OpenAI: `{"error":{"message","type","param","code"},"type","status_code","request_id",...}`.
/// Anthropic: `{"type":"error","error":{"type","message"},"error_type","status_code","request_id",...}`,
/// with `param` and `code` inside `error` when they are given.
pub fn render_error(dialect: WireFormat, error: &ErrorBody<'_>) -> Vec<u8> {
    let body = match dialect {
        WireFormat::OpenAi => openai(error),
        WireFormat::Anthropic => anthropic(error),
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
    let mut inner = ObjectWriter::new()
        .member("type", Scalar::Text(anthropic_type(error.status)))
        .member("message", Scalar::Text(error.message));
    for (name, value) in [("param", error.param), ("code", error.code)] {
        if let Some(value) = value {
            inner = inner.member(name, Scalar::Text(value));
        }
    }
    ObjectWriter::new()
        .member("type", Scalar::Text("error"))
        .object("error", inner)
        .member("error_type", Scalar::Text(error.error_type))
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
    fn no_message_can_break_out_of_the_body() {
        let message = "\",\"type\":\"x\"}\u{0}\n\\";
        let body = rendered(WireFormat::OpenAi, &ErrorBody { message, ..ERROR });
        assert_eq!(body["error"]["message"], message);
        assert_eq!(body["type"], "budget_exceeded");
    }
}
