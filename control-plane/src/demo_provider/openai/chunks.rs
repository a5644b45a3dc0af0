//! What chat completions and the older text completions have in common: their usage, and the chunks
//! of a stream.

use std::iter;

use serde_json::{Value, json};

use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::Content;
use crate::demo_provider::text::Answer;

/// Why an answer ends.
pub(super) fn finish_reason(answer: &Answer) -> &'static str {
    if answer.truncated { "length" } else { "stop" }
}

/// The usage of an answer with `output` tokens, `reasoning` of which are thoughts.
pub(super) fn usage(call: &Call<'_>, input: u64, output: u64, reasoning: u64) -> Value {
    let cached = input.min(call.steering.cached_tokens.into());
    call.usage(json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    }))
}

/// Whether a stream is to report its usage: the request asks for it, and the steering lets it.
pub(super) fn with_usage(call: &Call<'_>, fields: &Fields, stream: bool) -> Result<bool, Refusal> {
    let asked = match fields.get("stream_options") {
        None => false,
        Some(_) if !stream => {
            return Err(invalid(
                "stream_options",
                "is only allowed when `stream` is true",
            ));
        }
        Some(options) => match options.get("include_usage") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(include)) => *include,
            Some(_) => {
                return Err(invalid(
                    "stream_options.include_usage",
                    "must be true or false",
                ));
            }
        },
    };
    Ok(asked && !call.steering.usage.is_absent())
}

/// A stream: one chunk for each choice with its tokens, then the usage if there is any.
pub(super) fn stream(
    base: Value,
    choices: impl Iterator<Item = (Value, u64)> + Send + 'static,
    usage: Option<Value>,
) -> Content {
    let with_usage = usage.is_some();
    let chunk = move |choices: Value, usage: Option<Value>| {
        // With usage every chunk has the field, and the last one a value.
        let more = if with_usage {
            json!({"choices": choices, "usage": usage})
        } else {
            json!({"choices": choices})
        };
        merged(base.clone(), more)
    };
    let last = usage.map(|usage| Event::data(chunk(json!([]), Some(usage)), 0));
    let chunks =
        choices.map(move |(choice, tokens)| Event::data(chunk(json!([choice]), None), tokens));
    Content::sse(chunks.chain(last).chain(iter::once(Event::done())))
}
