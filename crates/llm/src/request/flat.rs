//! Bodies with everything at the top: OpenAI's, Anthropic's and Cohere's.

use std::ops::Range;

use super::member_name::{FLAT, Meaning};
use super::values::{Bound, boolean, bound, choices, fallbacks, model};
use super::{Facts, ModelSlot, RequestError, UsageSlot, inside, judge, object_start, stored_items};
use crate::json::{self, Kind, Value};
use crate::{Endpoint, ServiceTier};

/// The numbers of interest, before they are put together.
#[derive(Default)]
struct Bounds {
    max_tokens: Option<Bound>,
    max_completion_tokens: Option<Bound>,
    max_output_tokens: Option<Bound>,
    n: Option<u32>,
    best_of: Option<u32>,
    prompts: Option<u64>,
}

pub(super) fn read(endpoint: Endpoint, text: &str) -> Result<Facts<'_>, RequestError> {
    let mut facts = Facts {
        usage_slot: UsageSlot::NewMember(object_start(text)),
        ..Facts::default()
    };
    let mut bounds = Bounds::default();
    let mut members = json::strict_members(text);
    let mut others = 0_usize;
    while let Some(member) = inside::next(&mut members, endpoint.home())? {
        // For the gateway alone; anywhere else it is forbidden.
        if member.key == "fallbacks" {
            facts.fallbacks = fallbacks(&member.value)?;
            facts.fallbacks_span = Some(member.span);
            continue;
        }
        others = others.saturating_add(1);
        let Meaning::Governed(name) = judge(&FLAT, &member.key)? else {
            continue;
        };
        let value = &member.value;
        match name {
            "model" => facts.model = Some((model(value)?, ModelSlot::Json(value.span.clone()))),
            "stream" => facts.stream = boolean(name, value)?.unwrap_or(false),
            "stream_options" => read_stream_options(value, &mut facts)?,
            "max_tokens" => bounds.max_tokens = bound(name, value)?,
            "max_completion_tokens" => bounds.max_completion_tokens = bound(name, value)?,
            "max_output_tokens" => bounds.max_output_tokens = bound(name, value)?,
            "service_tier" => facts.service_tier = ServiceTier::read(value),
            "n" => bounds.n = choices(name, value)?,
            "best_of" => bounds.best_of = choices(name, value)?,
            "prompt" if endpoint == Endpoint::Completions => {
                bounds.prompts = Some(count_prompts(value));
            }
            "previous_response_id" | "conversation" if value.kind != Kind::Null => {
                return Err(RequestError::StoredObject { field: name });
            }
            "documents" if value.kind == Kind::Array => {
                // The value was read before, so it has no errors left.
                let documents = json::elements(value).map_while(Result::ok).count();
                facts.documents = documents.try_into().unwrap_or(u64::MAX);
            }
            "input" if endpoint == Endpoint::Speech => facts.characters = characters(name, value)?,
            "input" if endpoint == Endpoint::Responses => stored_items::refuse(value)?,
            // A prompt that is kept at the provider. (For completions and images it is the prompt.)
            "prompt" if endpoint == Endpoint::Responses && value.kind != Kind::Null => {
                return Err(RequestError::StoredObject { field: name });
            }
            // An answer that is made when nobody is there to meter it. (For images it is a colour.)
            "background"
                if endpoint == Endpoint::Responses && boolean(name, value)? == Some(true) =>
            {
                return Err(RequestError::StoredObject { field: name });
            }
            // The content: governed against disguises, read by whoever inspects content.
            _ => {}
        }
    }
    if let Some(span) = facts.fallbacks_span.take() {
        if others == 0 {
            return Err(RequestError::Invalid {
                field: "fallbacks",
                expected: "accompanied by a request",
            });
        }
        facts.fallbacks_span = Some(with_a_comma(text, span));
    }
    let answers = bounds.n.unwrap_or(1).max(bounds.best_of.unwrap_or(1));
    facts.choices = u64::from(answers).saturating_mul(bounds.prompts.unwrap_or(1).max(1));
    for bound in bounds.of(endpoint)? {
        facts.max_output_tokens = Some(bound.tokens);
        facts.output_slots.push(bound.span);
    }
    Ok(facts)
}

fn read_stream_options<'b>(value: &Value<'b>, facts: &mut Facts<'b>) -> Result<(), RequestError> {
    match value.kind {
        Kind::Null => {
            facts.usage_slot = UsageSlot::InsteadOfNull(value.span.clone());
            return Ok(());
        }
        Kind::Object => {}
        _ => {
            return Err(RequestError::Invalid {
                field: "stream_options",
                expected: "an object or null",
            });
        }
    }
    let mut slot = UsageSlot::InObject {
        at: value.span.start.saturating_add(1),
        empty: true,
    };
    for member in value.members() {
        let member = member?;
        if judge(&FLAT, &member.key)? == Meaning::Governed("include_usage") {
            facts.include_usage = boolean("stream_options.include_usage", &member.value)?;
            slot = UsageSlot::Value(member.value.span);
        } else if let UsageSlot::InObject { empty, .. } = &mut slot {
            *empty = false;
        }
    }
    facts.usage_slot = slot;
    Ok(())
}

/// A member of several, with the comma behind it or, if it is the last, the one in front.
fn with_a_comma(text: &str, member: Range<usize>) -> Range<usize> {
    let behind = text.get(member.end..).unwrap_or_default().trim_start();
    if let Some(rest) = behind.strip_prefix(',') {
        return member.start..text.len().saturating_sub(rest.len());
    }
    let before = text.get(..member.start).unwrap_or_default().trim_end();
    before.len().saturating_sub(1)..member.end
}

/// What is to be spoken is billed by its length.
fn characters(field: &'static str, value: &Value<'_>) -> Result<u64, RequestError> {
    match value.kind {
        Kind::String(text) => Ok(text.decode().chars().count().try_into().unwrap_or(u64::MAX)),
        _ => Err(RequestError::Invalid {
            field,
            expected: "a string",
        }),
    }
}

/// The prompts of a request for completions: each string or list of tokens in a list is one.
fn count_prompts(value: &Value<'_>) -> u64 {
    if value.kind != Kind::Array {
        return 1;
    }
    // The value was read before, so it has no errors left.
    let prompts = json::elements(value)
        .map_while(Result::ok)
        .filter(|element| element.starts_with(['"', '[']));
    prompts.count().try_into().unwrap_or(u64::MAX)
}

impl Bounds {
    /// Those that count for this API; they agree.
    fn of(self, endpoint: Endpoint) -> Result<Vec<Bound>, RequestError> {
        let counting = match endpoint {
            Endpoint::ChatCompletions => [self.max_tokens, self.max_completion_tokens],
            Endpoint::Responses => [self.max_output_tokens, None],
            Endpoint::Completions | Endpoint::Messages | Endpoint::CohereChat => {
                [self.max_tokens, None]
            }
            _ => [None, None],
        };
        if let [Some(old), Some(new)] = &counting
            && old.tokens != new.tokens
        {
            return Err(RequestError::Conflict {
                field: "max_tokens",
                other: "max_completion_tokens",
            });
        }
        Ok(counting.into_iter().flatten().collect())
    }
}
