//! `POST /v1/chat/completions`.

use std::iter;

use serde_json::{Value, json};

use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Frame, Frames, Reply};
use crate::demo_provider::routes::Call;
use crate::demo_provider::text::{self, Answer};

/// Most answers to one request.
const MOST_CHOICES: u32 = 128;

/// Answers a call; every one of its `n` choices has the same text.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = call.fields;
    let model = fields.model()?.to_owned();
    let prompt = read_prompt(fields)?;
    let choices = fields.number("n", MOST_CHOICES)?.unwrap_or(1);
    let stream = fields.flag("stream")?;
    let include_usage = include_usage(fields, stream)?;
    let subject = call.subject(&model, &prompt.last_text);
    let answer = text::answer(&subject, call.steering.output_tokens, most_tokens(fields)?);

    let output_tokens = answer.len().saturating_mul(choices.into());
    let usage = usage(prompt.tokens, call.steering.cached_tokens, output_tokens);
    let head = Head {
        id: call.id("chatcmpl"),
        created: call.now,
        model: model.clone(),
        fingerprint: format!("fp_{}", call.provider),
    };
    let content = if stream {
        Content::Events(events(
            head,
            answer,
            choices,
            include_usage.then_some(usage),
        ))
    } else {
        Content::Whole {
            body: completion(&head, &answer, choices, &usage),
            output_tokens,
        }
    };
    Ok(Reply {
        model,
        input_tokens: prompt.tokens,
        content,
    })
}

/// What all objects of one answer have in common.
struct Head {
    id: String,
    created: i64,
    model: String,
    fingerprint: String,
}

fn read_prompt(fields: &Fields) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    for message in fields.messages()? {
        prompt.add(message);
    }
    prompt.add_verbatim(fields.get("tools"));
    Ok(prompt)
}

fn most_tokens(fields: &Fields) -> Result<Option<u32>, Refusal> {
    let old = fields.number("max_tokens", u32::MAX)?;
    let new = fields.number("max_completion_tokens", u32::MAX)?;
    if old.is_some() && new.is_some() {
        return Err(invalid(
            "max_tokens",
            "and `max_completion_tokens` cannot both be set",
        ));
    }
    Ok(new.or(old))
}

fn include_usage(fields: &Fields, stream: bool) -> Result<bool, Refusal> {
    match fields.get("stream_options") {
        None => Ok(false),
        Some(_) if !stream => Err(invalid(
            "stream_options",
            "is only allowed when `stream` is true",
        )),
        Some(options) => match options.get("include_usage") {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(include)) => Ok(*include),
            Some(_) => Err(invalid(
                "stream_options.include_usage",
                "must be true or false",
            )),
        },
    }
}

fn usage(input: u64, cached: u32, output: u64) -> Value {
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": {"cached_tokens": input.min(cached.into()), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.truncated { "length" } else { "stop" }
}

fn completion(head: &Head, answer: &Answer, choices: u32, usage: &Value) -> Value {
    let text = answer.text();
    let choices: Vec<Value> = (0..choices)
        .map(|index| {
            json!({
                "index": index,
                "message": {
                    "role": "assistant", "content": text, "refusal": null, "annotations": [],
                },
                "logprobs": null,
                "finish_reason": finish_reason(answer),
            })
        })
        .collect();
    json!({
        "id": head.id, "object": "chat.completion", "created": head.created, "model": head.model,
        "choices": choices, "usage": usage,
        "service_tier": "default", "system_fingerprint": head.fingerprint,
    })
}

fn events(head: Head, answer: Answer, choices: u32, usage: Option<Value>) -> Frames {
    let finish = finish_reason(&answer);
    let with_usage = usage.is_some();
    // Each choice opens, the choices take turns token by token, each closes.
    let opening = (0..choices).map(|choice| {
        (
            choice,
            json!({"role": "assistant", "content": "", "refusal": null}),
            Value::Null,
            0,
        )
    });
    let said = answer.tokens.into_iter().flat_map(move |token| {
        (0..choices).map(move |choice| (choice, json!({"content": token}), Value::Null, 1))
    });
    let closing = (0..choices).map(move |choice| (choice, json!({}), json!(finish), 0));
    let chunk = move |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": head.id, "object": "chat.completion.chunk", "created": head.created,
            "model": head.model, "service_tier": "default",
            "system_fingerprint": head.fingerprint, "choices": choices,
        });
        // With `include_usage` every chunk has the field, and the last one a value.
        if let (true, Some(chunk)) = (with_usage, chunk.as_object_mut()) {
            chunk.insert("usage".to_owned(), usage.unwrap_or(Value::Null));
        }
        chunk.to_string()
    };
    let last = usage.map(|usage| Frame::data(&chunk(json!([]), Some(usage)), 0));
    let chunks = opening
        .chain(said)
        .chain(closing)
        .map(move |(index, delta, finish, tokens)| {
            let choice = json!({
                "index": index, "delta": delta, "logprobs": null, "finish_reason": finish,
            });
            Frame::data(&chunk(json!([choice]), None), tokens)
        });
    Box::new(
        chunks
            .chain(last)
            .chain(iter::once(Frame::data("[DONE]", 0))),
    )
}
