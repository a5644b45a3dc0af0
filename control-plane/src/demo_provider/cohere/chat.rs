//! `POST /v2/chat`.

use std::iter;

use serde_json::{Value, json};

use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::fields::Fields;
use crate::demo_provider::objects::merged;
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text::Answer;

/// Answers a call with one text.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let prompt = read_prompt(fields)?;
    let most = fields.number("max_tokens", u32::MAX)?;
    let stream = fields.flag("stream")?;
    let answer = call.answer(model, &prompt.last_text, most);

    let id = call.id("chat");
    let usage = usage(call, prompt.tokens, answer.len());
    let content = if stream {
        Content::sse(events(&id, answer, &usage))
    } else {
        let body = json!({
            "id": id, "finish_reason": finish_reason(&answer), "usage": usage,
            "message": {
                "role": "assistant", "content": [{"type": "text", "text": answer.text()}],
            },
        });
        Content::json(body, answer.len())
    };
    Ok(Reply::new(model, prompt.tokens, content))
}

fn read_prompt(fields: &Fields) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    for message in fields.messages()? {
        prompt.add(message);
    }
    prompt.add_verbatim(fields.get("documents"));
    prompt.add_verbatim(fields.get("tools"));
    Ok(prompt)
}

/// What is billed and what was there are the same here. Only what a cache had is named, as at the
/// vendor.
fn usage(call: &Call<'_>, input: u64, output: u64) -> Value {
    let tokens = json!({"input_tokens": input, "output_tokens": output});
    let mut usage = json!({"billed_units": tokens, "tokens": tokens});
    let cached = input.min(call.steering.cached_tokens.into());
    if cached > 0 {
        usage = merged(usage, json!({"cached_tokens": cached}));
    }
    call.usage(usage)
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.truncated {
        "MAX_TOKENS"
    } else {
        "COMPLETE"
    }
}

fn events(id: &str, answer: Answer, usage: &Value) -> impl Iterator<Item = Event> + use<> {
    let message = json!({
        "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [],
    });
    let part = json!({"message": {"content": {"type": "text", "text": ""}}});
    let opening = [
        (
            "message-start",
            json!({"id": id, "delta": {"message": message}}),
        ),
        ("content-start", json!({"index": 0, "delta": part})),
    ];
    let end = json!({"finish_reason": finish_reason(&answer), "usage": usage});
    let closing = [
        ("content-end", json!({"index": 0})),
        ("message-end", json!({"delta": end})),
    ];
    let said = answer.tokens.into_iter().map(|token| {
        let delta = json!({"message": {"content": {"text": token}}});
        Event::typed("content-delta", json!({"index": 0, "delta": delta}), 1)
    });
    let framing = |(name, data)| Event::typed(name, data, 0);
    let events = opening.into_iter().map(framing).chain(said);
    let events = events.chain(closing.into_iter().map(framing));
    events.chain(iter::once(Event::done()))
}
