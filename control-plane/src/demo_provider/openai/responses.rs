//! `POST /v1/responses`.

use serde_json::{Value, json};

use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::objects::merged;
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text::Answer;

/// Answers a call with one message.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let prompt = read_prompt(fields)?;
    let most = fields.number("max_output_tokens", u32::MAX)?;
    let stream = fields.flag("stream")?;
    let answer = call.thought_out(model, &prompt.last_text, most);

    let (shown, hidden) = (answer.shown(), answer.reasoning);
    let draft = Draft {
        base: base(call, fields, model),
        item_id: call.id("msg"),
        usage: usage(call, prompt.tokens, &answer),
        pending_usage: call.steering.usage.pending(),
    };
    let content = if stream {
        events(&draft, answer)
    } else {
        Content::json(draft.finished(&answer), shown)
    };
    Ok(Reply::new(model, prompt.tokens, content).hiding(hidden))
}

fn read_prompt(fields: &Fields) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    if let Some(instructions) = fields.get("instructions") {
        prompt.add(instructions);
    }
    match fields.required("input")? {
        Value::Array(items) if items.is_empty() => {
            return Err(invalid("input", "must have at least one entry"));
        }
        input @ (Value::String(_) | Value::Array(_)) => prompt.add(input),
        _ => return Err(invalid("input", "must be a string or a list")),
    }
    prompt.add_verbatim(fields.get("tools"));
    Ok(prompt)
}

fn usage(call: &Call<'_>, input: u64, answer: &Answer) -> Value {
    call.usage(json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": input.min(call.steering.cached_tokens.into())},
        "output_tokens": answer.len(),
        "output_tokens_details": {"reasoning_tokens": answer.reasoning},
        "total_tokens": input.saturating_add(answer.len()),
    }))
}

/// The response object without what changes while it is being made.
fn base(call: &Call<'_>, fields: &Fields, model: &str) -> Value {
    let or = |name: &str, default: Value| fields.get(name).cloned().unwrap_or(default);
    json!({
        "id": call.id("resp"), "object": "response", "created_at": call.now, "model": model,
        "error": null,
        "instructions": fields.echo("instructions"),
        "max_output_tokens": fields.echo("max_output_tokens"),
        "metadata": or("metadata", json!({})),
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "previous_response_id": fields.echo("previous_response_id"),
        "reasoning": {"effort": null, "summary": null},
        "service_tier": call.service_tier(fields, "default"),
        // Nothing is kept, whatever the request would like.
        "store": false,
        "temperature": or("temperature", json!(1.0)),
        "text": {"format": {"type": "text"}},
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_p": or("top_p", json!(1.0)),
        "truncation": or("truncation", json!("disabled")),
        "user": fields.echo("user"),
    })
}

/// A response in the making.
struct Draft {
    base: Value,
    item_id: String,
    usage: Value,
    /// What stands for it before it is known.
    pending_usage: Value,
}

impl Draft {
    fn with(&self, status: &str, incomplete: &Value, output: &Value, usage: &Value) -> Value {
        let state = json!({
            "status": status, "incomplete_details": incomplete, "output": output, "usage": usage,
        });
        merged(self.base.clone(), state)
    }

    fn begun(&self) -> Value {
        self.with("in_progress", &Value::Null, &json!([]), &self.pending_usage)
    }

    fn finished(&self, answer: &Answer) -> Value {
        let incomplete = if answer.truncated {
            json!({"reason": "max_output_tokens"})
        } else {
            Value::Null
        };
        let item = self.item(status(answer), &json!([part(&answer.text())]));
        self.with(status(answer), &incomplete, &json!([item]), &self.usage)
    }

    fn item(&self, status: &str, content: &Value) -> Value {
        json!({
            "id": self.item_id, "type": "message", "status": status, "role": "assistant",
            "content": content,
        })
    }
}

fn status(answer: &Answer) -> &'static str {
    if answer.truncated {
        "incomplete"
    } else {
        "completed"
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn events(draft: &Draft, answer: Answer) -> Content {
    let text = answer.text();
    let status = status(&answer);
    let finished = draft.finished(&answer);
    let at = json!({"item_id": draft.item_id, "output_index": 0, "content_index": 0});
    let opening = [
        ("response.created", json!({"response": draft.begun()})),
        ("response.in_progress", json!({"response": draft.begun()})),
        (
            "response.output_item.added",
            json!({"output_index": 0, "item": draft.item("in_progress", &json!([]))}),
        ),
        (
            "response.content_part.added",
            merged(at.clone(), json!({"part": part("")})),
        ),
    ];
    let closing = [
        (
            "response.output_text.done",
            merged(at.clone(), json!({"text": text, "logprobs": []})),
        ),
        (
            "response.content_part.done",
            merged(at.clone(), json!({"part": part(&text)})),
        ),
        (
            "response.output_item.done",
            json!({"output_index": 0, "item": draft.item(status, &json!([part(&text)]))}),
        ),
        (
            if answer.truncated {
                "response.incomplete"
            } else {
                "response.completed"
            },
            json!({"response": finished}),
        ),
    ];
    let said = answer.tokens.into_iter().map(move |token| {
        let data = merged(at.clone(), json!({"delta": token, "logprobs": []}));
        ("response.output_text.delta", data, 1)
    });
    let framing = |(name, data)| (name, data, 0);
    let events = opening.into_iter().map(framing).chain(said);
    let events = events.chain(closing.into_iter().map(framing)).enumerate();
    Content::sse(events.map(|(number, (name, data, tokens))| {
        let data = merged(data, json!({"sequence_number": number}));
        Event::typed(name, data, tokens)
    }))
}
