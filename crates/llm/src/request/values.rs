//! The values of governed members, each read in one form only: what two parsers may read differently
//! (`1.0`, `"100"`, `1e3`) is refused.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};

use super::{MAX_CHOICES, RequestError};
use crate::is_model_name;
use crate::json::{self, Kind, Token, Tokens, Value};

/// Fallbacks that one request may name.
const MAX_FALLBACKS: usize = 16;

const MODEL: RequestError = RequestError::Invalid {
    field: "model",
    expected: "a string of 1 to 160 letters, digits and . _ : / @ + -",
};

pub(super) fn model<'b>(value: &Value<'b>) -> Result<Cow<'b, str>, RequestError> {
    match value.kind {
        Kind::String(text) => Some(text.decode()),
        _ => None,
    }
    .filter(|name| is_model_name(name))
    .ok_or(MODEL)
}

/// Models to try instead, each with its provider in front; `null` is no list.
pub(super) fn fallbacks(value: &Value<'_>) -> Result<Option<Vec<String>>, RequestError> {
    const FALLBACKS: RequestError = RequestError::Invalid {
        field: "fallbacks",
        expected: "a list of at most 16 texts like `provider/model`, or null",
    };
    match value.kind {
        Kind::Null => return Ok(None),
        Kind::Array => {}
        _ => return Err(FALLBACKS),
    }
    let mut names = Vec::new();
    for element in json::elements(value) {
        let name = match Tokens::new(element?).read()? {
            Some(Token::String(text)) => text.decode(),
            _ => return Err(FALLBACKS),
        };
        if names.len() >= MAX_FALLBACKS || !is_model_name(&name) || !name.contains('/') {
            return Err(FALLBACKS);
        }
        names.push(name.into_owned());
    }
    Ok(Some(names))
}

/// A model's name in a form.
pub(super) fn form_model(value: &[u8]) -> Result<&str, RequestError> {
    let name = str::from_utf8(value).ok();
    name.filter(|name| is_model_name(name)).ok_or(MODEL)
}

/// `null` is the same as absent, as all vendors have it.
pub(super) fn boolean(
    field: &'static str,
    value: &Value<'_>,
) -> Result<Option<bool>, RequestError> {
    match value.kind {
        Kind::Boolean(flag) => Ok(Some(flag)),
        Kind::Null => Ok(None),
        _ => Err(RequestError::Invalid {
            field,
            expected: "true, false or null",
        }),
    }
}

/// A number of tokens; `null` is none.
fn token_count(field: &'static str, value: &Value<'_>) -> Result<Option<u64>, RequestError> {
    whole_number(value, 0..=u32::MAX)
        .map(|count| count.map(u64::from))
        .ok_or(RequestError::Invalid {
            field,
            expected: "a whole number from 0 to 4294967295, or null",
        })
}

/// A bound of the output, and where its number stands.
pub(super) struct Bound {
    pub(super) tokens: u64,
    pub(super) span: Range<usize>,
}

/// A bound of the output; `null` is none.
pub(super) fn bound(field: &'static str, value: &Value<'_>) -> Result<Option<Bound>, RequestError> {
    let tokens = token_count(field, value)?;
    Ok(tokens.map(|tokens| Bound {
        tokens,
        span: value.span.clone(),
    }))
}

/// A number of answers; `null` is none.
pub(super) fn choices(field: &'static str, value: &Value<'_>) -> Result<Option<u32>, RequestError> {
    whole_number(value, 1..=MAX_CHOICES).ok_or(RequestError::Invalid {
        field,
        expected: "a whole number from 1 to 128, or null",
    })
}

/// Outer `None`: not a number in the range. Inner `None`: `null`.
#[expect(
    clippy::option_option,
    reason = "bad, null and a number are three answers"
)]
fn whole_number(value: &Value<'_>, range: RangeInclusive<u32>) -> Option<Option<u32>> {
    if value.kind == Kind::Null {
        return Some(None);
    }
    let number = u32::try_from(value.as_u64()?).ok()?;
    range.contains(&number).then_some(Some(number))
}
