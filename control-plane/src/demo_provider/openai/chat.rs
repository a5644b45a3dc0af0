//! `POST /v1/chat/completions`.

use serde_json::{Value, json};

use super::chunks;
use super::tool_call::{self, ToolCall};
use crate::demo_provider::call::Call;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::objects::merged;
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text::Answer;

/// Most answers to one request.
const MOST_CHOICES: u32 = 128;

/// Answers a call; every one of its `n` choices has the same text.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let prompt = read_prompt(fields)?;
    let choices = fields.number("n", MOST_CHOICES)?.unwrap_or(1);
    let stream = fields.flag("stream")?;
    let with_usage = chunks::with_usage(call, fields, stream)?;
    let tool = ToolCall::asked_for(call, fields)?;
    let answer = call.thought_out(model, &prompt.last_text, most_tokens(fields)?);

    let times = |tokens: u64| tokens.saturating_mul(choices.into());
    let (shown, hidden) = (times(answer.shown()), times(answer.reasoning));
    let usage = chunks::usage(call, prompt.tokens, times(answer.len()), hidden);
    let base = json!({
        "id": call.id("chatcmpl"), "created": call.now, "model": model,
        "object": if stream { "chat.completion.chunk" } else { "chat.completion" },
        "service_tier": call.service_tier(fields, "default"), "system_fingerprint": format!("fp_{}", call.provider),
    });
    let content = if stream {
        let said = said(answer, choices, tool);
        chunks::stream(base, said, with_usage.then_some(usage))
    } else {
        Content::json(
            completion(base, &answer, tool.as_ref(), choices, &usage),
            shown,
        )
    };
    Ok(Reply::new(model, prompt.tokens, content).hiding(hidden))
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

fn completion(
    base: Value,
    answer: &Answer,
    tool: Option<&ToolCall>,
    choices: u32,
    usage: &Value,
) -> Value {
    let message = match tool {
        Some(tool) => tool.message(answer),
        None => json!({
            "role": "assistant", "content": answer.text(), "refusal": null, "annotations": [],
        }),
    };
    let choices: Vec<Value> = (0..choices)
        .map(|index| {
            json!({
                "index": index,
                "message": message,
                "logprobs": null,
                "finish_reason": finish_reason(answer, tool.is_some()),
            })
        })
        .collect();
    merged(base, json!({"choices": choices, "usage": usage}))
}

fn finish_reason(answer: &Answer, calls_a_tool: bool) -> &'static str {
    match chunks::finish_reason(answer) {
        "stop" if calls_a_tool => "tool_calls",
        reason => reason,
    }
}

/// The choices of a stream, chunk by chunk: each opens, they take turns token by token, each closes.
fn said(
    answer: Answer,
    choices: u32,
    tool: Option<ToolCall>,
) -> impl Iterator<Item = (Value, u64)> {
    let calls_a_tool = tool.is_some();
    let finish = finish_reason(&answer, calls_a_tool);
    let (first, last) = match tool {
        Some(tool) => (tool.opening(), tool_call::closing_delta(&answer)),
        None => (
            json!({"role": "assistant", "content": "", "refusal": null}),
            json!({}),
        ),
    };
    let opening = (0..choices).map(move |choice| (choice, first.clone(), Value::Null, 0));
    let said = answer.tokens.into_iter().flat_map(move |token| {
        let delta = if calls_a_tool {
            tool_call::delta(&token)
        } else {
            json!({"content": token})
        };
        (0..choices).map(move |choice| (choice, delta.clone(), Value::Null, 1))
    });
    let closing = (0..choices).map(move |choice| (choice, last.clone(), json!(finish), 0));
    opening
        .chain(said)
        .chain(closing)
        .map(|(index, delta, finish, tokens)| {
            let choice = json!({
                "index": index, "delta": delta, "logprobs": null, "finish_reason": finish,
            });
            (choice, tokens)
        })
}
