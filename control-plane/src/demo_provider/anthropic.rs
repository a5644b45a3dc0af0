//! Anthropic's wire format: `POST /v1/messages`.
//!
//! Its usage differs from OpenAI's in one point: `input_tokens` leaves out what came from the
//! cache, which stands in `cache_read_input_tokens` alone.

use serde_json::{Value, json};

use super::fields::Fields;
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::{Content, Frame, Frames, Reply};
use super::routes::Call;
use super::text::{self, Answer};

/// Answers a call with one block of text.
pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = call.fields;
    let model = fields.model()?.to_owned();
    // Required, unlike at OpenAI.
    fields.required("max_tokens")?;
    let most = fields.number("max_tokens", u32::MAX)?;
    let prompt = read_prompt(fields)?;
    let stream = fields.flag("stream")?;
    let subject = call.subject(&model, &prompt.last_text);
    let answer = text::answer(&subject, call.steering.output_tokens, most);

    let output_tokens = answer.len();
    let cached = prompt.tokens.min(call.steering.cached_tokens.into());
    let message = Message {
        id: call.id("msg"),
        model: model.clone(),
        fresh: prompt.tokens.saturating_sub(cached),
        cached,
    };
    let content = if stream {
        Content::Events(events(&message, answer))
    } else {
        let block = json!([{"type": "text", "text": answer.text(), "citations": null}]);
        let body = message.body(&block, Some(stop_reason(&answer)), output_tokens);
        Content::Whole {
            body,
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
    if let Some(system) = fields.get("system") {
        prompt.add(system);
    }
    for message in fields.messages()? {
        prompt.add(message);
    }
    prompt.add_verbatim(fields.get("tools"));
    Ok(prompt)
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.truncated {
        "max_tokens"
    } else {
        "end_turn"
    }
}

/// What all objects of one answer have in common.
struct Message {
    id: String,
    model: String,
    /// Prompt tokens that were not cached.
    fresh: u64,
    /// Prompt tokens that were.
    cached: u64,
}

impl Message {
    fn body(&self, content: &Value, stop_reason: Option<&str>, output_tokens: u64) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": stop_reason, "stop_sequence": null,
            "usage": self.usage(output_tokens),
        })
    }

    fn usage(&self, output_tokens: u64) -> Value {
        json!({
            "input_tokens": self.fresh,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": self.cached,
            "output_tokens": output_tokens,
        })
    }
}

fn events(message: &Message, answer: Answer) -> Frames {
    let opening = [
        (
            "message_start",
            json!({"message": message.body(&json!([]), None, 0)}),
        ),
        (
            "content_block_start",
            json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
        ("ping", json!({})),
    ];
    let closing = [
        ("content_block_stop", json!({"index": 0})),
        (
            "message_delta",
            json!({
                "delta": {"stop_reason": stop_reason(&answer), "stop_sequence": null},
                "usage": message.usage(answer.len()),
            }),
        ),
        ("message_stop", json!({})),
    ];
    let said = answer.tokens.into_iter().map(|token| {
        let data = json!({"index": 0, "delta": {"type": "text_delta", "text": token}});
        ("content_block_delta", data, 1)
    });
    let framing = |(name, data)| (name, data, 0);
    let events = opening.into_iter().map(framing).chain(said);
    Box::new(
        events
            .chain(closing.into_iter().map(framing))
            .map(|(name, mut data, tokens)| {
                if let Some(fields) = data.as_object_mut() {
                    fields.insert("type".to_owned(), json!(name));
                }
                Frame::event(name, &data, tokens)
            }),
    )
}
