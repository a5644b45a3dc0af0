//! Anthropic's wire format: `POST /v1/messages` and `POST /v1/messages/count_tokens`.

mod message;

pub(super) use message::Message;

use serde_json::json;

use super::call::Call;
use super::fields::Fields;
use super::prompt::Prompt;
use super::refusal::Refusal;
use super::reply::{Content, Reply};

/// Answers a call with one block of text.
pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let stream = fields.flag("stream")?;
    let message = Message::answering(call, fields, model)?;
    let input_tokens = message.input_tokens;
    let content = if stream {
        Content::sse(message.events(json!({})))
    } else {
        Content::json(message.whole(), message.answer.len())
    };
    Ok(Reply::new(model, input_tokens, content))
}

/// Counts a prompt. That is free, so the call counts without tokens.
pub(super) fn count_tokens(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let body = json!({"input_tokens": read_prompt(fields)?.tokens});
    Ok(Reply::new(model, 0, Content::json(body, 0)))
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
