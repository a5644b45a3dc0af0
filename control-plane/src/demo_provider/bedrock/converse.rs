//! `/converse` and `/converse-stream`.
//!
//! As at Anthropic, `inputTokens` leaves out what a cache had or got; the total has everything.

use std::mem;

use serde_json::{Value, json};

use super::event_stream::EVENTS;
use super::latency;
use crate::demo_provider::cache::Cache;
use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::fields::{Fields, checked_model};
use crate::demo_provider::objects::merged;
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text::Answer;

/// Answers a call in one piece.
pub(in crate::demo_provider) fn whole(call: &Call<'_>) -> Result<Reply, Refusal> {
    let said = Said::read(call)?;
    let message = json!({"role": "assistant", "content": [{"text": said.answer.text()}]});
    let more = json!({
        "output": {"message": message}, "stopReason": said.stop_reason(),
    });
    let content = Content::json(merged(said.metadata(call), more), said.answer.len());
    Ok(Reply::new(call.in_path, said.input_tokens, content))
}

/// Answers a call token by token.
pub(in crate::demo_provider) fn stream(call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut said = Said::read(call)?;
    let metadata = said.metadata(call);
    let stop = json!({"stopReason": said.stop_reason()});
    let closing = [
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("messageStop", stop),
        ("metadata", metadata),
    ];
    let opening = Event::named("messageStart", json!({"role": "assistant"}), 0);
    let tokens = mem::take(&mut said.answer.tokens).into_iter();
    let tokens = tokens.map(|token| {
        let data = json!({"contentBlockIndex": 0, "delta": {"text": token}});
        Event::named("contentBlockDelta", data, 1)
    });
    let closing = closing.map(|(name, data)| Event::named(name, data, 0));
    let events = [opening].into_iter().chain(tokens).chain(closing);
    let content = Content::stream(EVENTS, events);
    Ok(Reply::new(call.in_path, said.input_tokens, content))
}

/// An answer before it is written.
struct Said {
    input_tokens: u64,
    cache: Cache,
    answer: Answer,
}

impl Said {
    fn read(call: &Call<'_>) -> Result<Self, Refusal> {
        let model = checked_model(call.in_path)?;
        let fields = call.fields()?;
        let prompt = read_prompt(&fields)?;
        let config = fields.object("inferenceConfig")?;
        let most = config.number("maxTokens", u32::MAX)?;
        Ok(Self {
            input_tokens: prompt.tokens,
            cache: Cache::of(prompt.tokens, call.steering),
            answer: call.answer(model, &prompt.last_text, most),
        })
    }

    fn stop_reason(&self) -> &'static str {
        if self.answer.truncated {
            "max_tokens"
        } else {
            "end_turn"
        }
    }

    /// Usage and metrics.
    fn metadata(&self, call: &Call<'_>) -> Value {
        let output = self.answer.len();
        let mut usage = json!({
            "inputTokens": self.cache.fresh,
            "outputTokens": output,
            "totalTokens": self.input_tokens.saturating_add(output),
            "cacheReadInputTokens": self.cache.read,
            "cacheWriteInputTokens": self.cache.written(),
        });
        // The longest first, and nothing that was not written, as at the vendor.
        let written = [("1h", self.cache.written_1h), ("5m", self.cache.written_5m)];
        let details: Vec<Value> = written
            .into_iter()
            .filter(|(_, tokens)| *tokens > 0)
            .map(|(ttl, tokens)| json!({"ttl": ttl, "inputTokens": tokens}))
            .collect();
        if !details.is_empty() {
            usage = merged(usage, json!({"cacheDetails": details}));
        }
        json!({"usage": call.usage(usage), "metrics": {"latencyMs": latency(call)}})
    }
}

fn read_prompt(fields: &Fields) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    if let Some(system) = fields.get("system") {
        prompt.add(system);
    }
    for message in fields.messages()? {
        prompt.add(message);
    }
    prompt.add_verbatim(fields.get("toolConfig"));
    Ok(prompt)
}
