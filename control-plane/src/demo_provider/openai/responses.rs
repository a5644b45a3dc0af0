//! `POST /v1/responses`.

use serde_json::{Value, json};

use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Frame, Frames, Reply};
use crate::demo_provider::routes::Call;
use crate::demo_provider::text::{self, Answer};

/// Answers a call with one message.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = call.fields;
    let model = fields.model()?.to_owned();
    let prompt = read_prompt(fields)?;
    let most = fields.number("max_output_tokens", u32::MAX)?;
    let stream = fields.flag("stream")?;
    let subject = call.subject(&model, &prompt.last_text);
    let answer = text::answer(&subject, call.steering.output_tokens, most);

    let output_tokens = answer.len();
    let usage = usage(prompt.tokens, call.steering.cached_tokens, output_tokens);
    let draft = Draft {
        base: base(call, &model),
        item_id: call.id("msg"),
        usage,
    };
    let content = if stream {
        Content::Events(events(&draft, answer))
    } else {
        Content::Whole {
            body: draft.finished(&answer),
            output_tokens,
        }
    };
    Ok(Reply {
        model,
        input_tokens: prompt.tokens,
        content,
    })
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

fn usage(input: u64, cached: u32, output: u64) -> Value {
    json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": input.min(cached.into())},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input.saturating_add(output),
    })
}

/// The response object without what changes while it is being made.
fn base(call: &Call<'_>, model: &str) -> Value {
    let or = |name: &str, default: Value| call.fields.get(name).cloned().unwrap_or(default);
    json!({
        "id": call.id("resp"), "object": "response", "created_at": call.now, "model": model,
        "error": null,
        "instructions": call.fields.echo("instructions"),
        "max_output_tokens": call.fields.echo("max_output_tokens"),
        "metadata": or("metadata", json!({})),
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "previous_response_id": call.fields.echo("previous_response_id"),
        "reasoning": {"effort": null, "summary": null},
        // Nothing is kept, whatever the request would like.
        "store": false,
        "temperature": or("temperature", json!(1.0)),
        "text": {"format": {"type": "text"}},
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_p": or("top_p", json!(1.0)),
        "truncation": or("truncation", json!("disabled")),
        "user": call.fields.echo("user"),
    })
}

/// A response in the making.
struct Draft {
    base: Value,
    item_id: String,
    usage: Value,
}

impl Draft {
    fn with(&self, status: &str, incomplete: Option<Value>, output: Value, usage: Value) -> Value {
        let mut response = self.base.clone();
        if let Some(fields) = response.as_object_mut() {
            fields.insert("status".to_owned(), json!(status));
            fields.insert("incomplete_details".to_owned(), incomplete.into());
            fields.insert("output".to_owned(), output);
            fields.insert("usage".to_owned(), usage);
        }
        response
    }

    fn begun(&self) -> Value {
        self.with("in_progress", None, json!([]), Value::Null)
    }

    fn finished(&self, answer: &Answer) -> Value {
        let incomplete = answer
            .truncated
            .then(|| json!({"reason": "max_output_tokens"}));
        let item = self.item(status(answer), &json!([part(&answer.text())]));
        self.with(
            status(answer),
            incomplete,
            json!([item]),
            self.usage.clone(),
        )
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

fn events(draft: &Draft, answer: Answer) -> Frames {
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
            merged(&at, json!({"part": part("")})),
        ),
    ];
    let closing = [
        (
            "response.output_text.done",
            merged(&at, json!({"text": text, "logprobs": []})),
        ),
        (
            "response.content_part.done",
            merged(&at, json!({"part": part(&text)})),
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
        let data = merged(&at, json!({"delta": token, "logprobs": []}));
        ("response.output_text.delta", data, 1)
    });
    let framing = |(name, data)| (name, data, 0);
    let events = opening.into_iter().map(framing).chain(said);
    let events = events.chain(closing.into_iter().map(framing)).enumerate();
    Box::new(events.map(|(number, (name, data, tokens))| {
        let data = merged(&data, json!({"type": name, "sequence_number": number}));
        Frame::event(name, &data, tokens)
    }))
}

/// The fields of both objects.
fn merged(one: &Value, other: Value) -> Value {
    let mut merged = one.clone();
    if let (Some(fields), Value::Object(other)) = (merged.as_object_mut(), other) {
        fields.extend(other);
    }
    merged
}
