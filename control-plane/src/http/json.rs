//! JSON bodies, strictly: one value, no unknown field, no field twice, and an error names the field.
//!
//! Types that are read here carry `#[serde(deny_unknown_fields)]`; maps with free keys are not
//! accepted anywhere, so that no key can be given twice unnoticed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::objects::Objects;
use crate::error::Error;
use crate::invalid::Invalid;

/// Largest body of an admin request, bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Extractor: the body as `T`.
pub struct Json<T>(pub T);

/// Extractor: the body as `T`, or `None` if there is none.
pub struct OptionalJson<T>(pub Option<T>);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        check_headers(request.headers())?;
        let body = read(request.into_body()).await?;
        Ok(Self(parse(&body)?))
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let headers = check_headers(request.headers());
        let body = read(request.into_body()).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        headers?;
        Ok(Self(Some(parse(&body)?)))
    }
}

/// Whether the headers announce plain JSON.
fn check_headers(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Error::UnsupportedMediaType(
            "send the body without `content-encoding`",
        ));
    }
    if is_json(headers) {
        Ok(())
    } else {
        Err(Error::UnsupportedMediaType(
            "send JSON with `content-type: application/json`",
        ))
    }
}

/// Whether `content-type` is `application/json`, with or without parameters.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn read(body: Body) -> Result<Bytes, Error> {
    let collect = Limited::new(body, MAX_BODY).collect();
    let Ok(outcome) = tokio::time::timeout(PATIENCE, collect).await else {
        return Err(Error::TooSlow {
            seconds: PATIENCE.as_secs(),
        });
    };
    match outcome {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge { limit: MAX_BODY }),
        Err(_) => Err(Invalid::whole("the body ended before it was complete").into()),
    }
}

/// Reads one JSON value.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let objects = Objects(&mut deserializer);
    let value = serde_path_to_error::deserialize(objects).map_err(|error| {
        let path = error.path().to_string();
        describe(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| describe(".", &error))?;
    Ok(value)
}

fn describe(path: &str, error: &serde_json::Error) -> Invalid {
    let text = error.to_string();
    if error.classify() != Category::Data {
        return Invalid::whole(format_args!("the body is not valid JSON: {text}"));
    }
    // The position says less than the path does.
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = text.strip_suffix(&position).unwrap_or(&text);
    // These two are noticed at the object, not at the field.
    for (start, remedy) in [
        ("missing field `", "is required"),
        ("duplicate field `", "is given twice; give it once"),
    ] {
        let field = message
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(field) = field {
            let fault = Invalid::field(field, remedy);
            return if path == "." {
                fault
            } else {
                fault.within(path)
            };
        }
    }
    if path == "." {
        Invalid::whole(message)
    } else {
        Invalid::field(path, message)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::http::field::Field;
    use crate::http::number::Number;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object")]
    struct Thing {
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object")]
    struct Part {
        size: Number,
        #[serde(default)]
        note: Field<String>,
    }

    fn fault(body: &str) -> (String, String) {
        let fault = parse::<Thing>(body.as_bytes()).unwrap_err();
        (fault.field.unwrap_or_default(), fault.message)
    }

    #[test]
    fn what_is_well_formed_is_read() {
        let thing: Thing =
            parse(br#"{"parts": [{"size": 1.50, "note": null}, {"size": 2}]}"#).unwrap();
        assert_eq!(thing.parts[0].size.as_str(), "1.50");
        assert_eq!(thing.parts[0].note, Field::Null);
        assert_eq!(thing.parts[1].note, Field::Absent);
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        let (field, message) = fault(r#"{"parts": [{"size": 1}, {"size": 1, "colour": 2}]}"#);
        assert_eq!(field, "parts[1].colour");
        assert!(message.contains("unknown field `colour`"), "{message}");
    }

    #[test]
    fn a_field_given_twice_is_named() {
        let (field, message) = fault(r#"{"parts": [{"size": 1, "size": 2}]}"#);
        assert_eq!(
            (field.as_str(), message.as_str()),
            ("parts[0].size", "is given twice; give it once")
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        let (field, message) = fault(r#"{"parts": [{"note": "x"}]}"#);
        assert_eq!(
            (field.as_str(), message.as_str()),
            ("parts[0].size", "is required")
        );
    }

    #[test]
    fn a_wrong_type_is_named_without_rust_words() {
        let (field, message) = fault(r#"{"parts": [{"size": "1"}]}"#);
        assert_eq!(
            (field.as_str(), message.as_str()),
            ("parts[0].size", "must be a number, without quotes")
        );
        let (field, message) = fault(r#"{"parts": ["a"]}"#);
        assert_eq!(field, "parts[0]");
        assert!(message.contains("expected an object"), "{message}");
    }

    #[test]
    fn an_array_is_not_an_object() {
        for (body, at) in [
            ("[]", ""),
            (r#"[[{"size": 1}]]"#, ""),
            (r#"{"parts": [[1, null]]}"#, "parts[0]"),
            ("null", ""),
            ("7", ""),
        ] {
            let (field, message) = fault(body);
            assert_eq!(field, at, "{body}");
            assert!(message.contains("expected an object"), "{body}: {message}");
        }
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for body in [
            "",
            "{",
            "{}{}",
            "{\"parts\":[]} x",
            "\u{feff}{}",
            "{\"parts\":nul}",
        ] {
            let (field, message) = fault(body);
            assert_eq!(field, "", "{body:?}");
            assert!(
                message.starts_with("the body is not valid JSON"),
                "{body:?}: {message}"
            );
        }
        assert!(parse::<Thing>(b"{\"parts\": [{\"note\": \"\xff\"}]}").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"parts\": {}", "[".repeat(100_000));
        let (_, message) = fault(&deep);
        assert!(!message.is_empty());
    }
}
