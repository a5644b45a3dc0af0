//! Gemini's bodies: protobuf's JSON, in which a member has two spellings.
//!
//! The model stands in the path. Some bodies repeat it (`generateContentRequest.model`,
//! `requests[].model`); a repetition that differs is refused, for nobody knows which one counts.

use super::member_name::{GEMINI, Meaning};
use super::values::{bound, choices};
use super::{Facts, RequestError, inside, judge};
use crate::WireFormat;
use crate::json::{self, Kind, Members, Value};

pub(super) fn read<'b>(path_model: &str, text: &'b str) -> Result<Facts<'b>, RequestError> {
    let mut facts = Facts::default();
    let mut top = Once::new(json::strict_members(text));
    while let Some((name, value)) = top.next()? {
        match name {
            "model" => check_model(path_model, &value)?,
            "generationConfig" => read_generation_config(&value, &mut facts)?,
            "generateContentRequest" => read_repetition(path_model, &value)?,
            "requests" => read_requests(path_model, &value)?,
            "cachedContent" if value.kind != Kind::Null => {
                return Err(RequestError::StoredObject { field: name });
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// The governed members of an object, each in one of its spellings.
struct Once<'b> {
    members: Members<'b>,
    seen: Vec<&'static str>,
}

impl<'b> Once<'b> {
    const fn new(members: Members<'b>) -> Self {
        Self {
            members,
            seen: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<Option<(&'static str, Value<'b>)>, RequestError> {
        while let Some(member) = inside::next(&mut self.members, WireFormat::Gemini)? {
            if let Meaning::Governed(field) = judge(&GEMINI, &member.key)? {
                if self.seen.contains(&field) {
                    return Err(RequestError::TwoSpellings { field });
                }
                self.seen.push(field);
                return Ok(Some((field, member.value)));
            }
        }
        Ok(None)
    }
}

fn read_generation_config(value: &Value<'_>, facts: &mut Facts<'_>) -> Result<(), RequestError> {
    if value.kind == Kind::Null {
        return Ok(());
    }
    let mut config = Once::new(object("generationConfig", value)?);
    while let Some((name, value)) = config.next()? {
        match name {
            "maxOutputTokens" => facts.bound_output(bound(name, &value)?),
            "candidateCount" => {
                facts.choices = choices(name, &value)?.map_or(1, u64::from);
            }
            // At Vertex AI it chooses another model.
            "routingConfig" if value.kind != Kind::Null => {
                return Err(RequestError::Forbidden { field: name });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A whole request inside another one.
fn read_repetition(path_model: &str, value: &Value<'_>) -> Result<(), RequestError> {
    let mut inner = Once::new(object("generateContentRequest", value)?);
    while let Some((name, value)) = inner.next()? {
        match name {
            "model" => check_model(path_model, &value)?,
            "cachedContent" if value.kind != Kind::Null => {
                return Err(RequestError::StoredObject { field: name });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The requests of a batch of embeddings.
fn read_requests(path_model: &str, value: &Value<'_>) -> Result<(), RequestError> {
    if value.kind != Kind::Array {
        return Err(RequestError::Invalid {
            field: "requests",
            expected: "a list of objects",
        });
    }
    for element in json::elements(value) {
        let mut request = Once::new(json::members(element?));
        while let Some((name, value)) = request.next()? {
            if name == "model" {
                check_model(path_model, &value)?;
            }
        }
    }
    Ok(())
}

fn object<'b>(field: &'static str, value: &Value<'b>) -> Result<Members<'b>, RequestError> {
    if value.kind == Kind::Object {
        Ok(value.members())
    } else {
        Err(RequestError::Invalid {
            field,
            expected: "an object",
        })
    }
}

/// `models/gemini-2.5-pro` or `gemini-2.5-pro`.
fn check_model(path_model: &str, value: &Value<'_>) -> Result<(), RequestError> {
    let Kind::String(text) = value.kind else {
        return Err(RequestError::Invalid {
            field: "model",
            expected: "a string",
        });
    };
    let named = text.decode();
    if named.strip_prefix("models/").unwrap_or(&named) == path_model {
        Ok(())
    } else {
        Err(RequestError::ModelConflict)
    }
}
