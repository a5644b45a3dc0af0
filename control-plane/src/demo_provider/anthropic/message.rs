//! A message in the making, whole or as events.
//!
//! Its usage differs from OpenAI's in one point: `input_tokens` leaves out what a cache had or got;
//! that stands in fields of its own.

use serde_json::{Value, json};

use super::read_prompt;
use crate::demo_provider::cache::Cache;
use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::fields::Fields;
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::text::Answer;
use crate::demo_provider::usage::Reported;

/// One block of text in answer to a prompt.
pub(in crate::demo_provider) struct Message {
    id: String,
    model: String,
    /// Tokens of the prompt.
    pub(in crate::demo_provider) input_tokens: u64,
    /// How they are divided.
    pub(in crate::demo_provider) cache: Cache,
    /// The text.
    pub(in crate::demo_provider) answer: Answer,
    service_tier: String,
    reported: Reported,
}

impl Message {
    /// What `model` answers to the prompt in `fields`.
    ///
    /// # Errors
    /// A 400 naming the field that is missing or wrong.
    pub(in crate::demo_provider) fn answering(
        call: &Call<'_>,
        fields: &Fields,
        model: &str,
    ) -> Result<Self, Refusal> {
        // Required, unlike at OpenAI.
        fields.required("max_tokens")?;
        let most = fields.number("max_tokens", u32::MAX)?;
        let prompt = read_prompt(fields)?;
        Ok(Self {
            id: call.id("msg"),
            model: model.to_owned(),
            input_tokens: prompt.tokens,
            cache: Cache::of(prompt.tokens, call.steering),
            answer: call.answer(model, &prompt.last_text, most),
            service_tier: call.service_tier(fields, "standard"),
            reported: call.steering.usage.clone(),
        })
    }

    /// The answer in one piece.
    pub(in crate::demo_provider) fn whole(&self) -> Value {
        let block = json!([{"type": "text", "text": self.answer.text(), "citations": null}]);
        self.body(&block, Some(self.stop_reason()), self.answer.len())
    }

    /// The answer token by token; the last event has the fields of `end`.
    pub(in crate::demo_provider) fn events(
        self,
        end: Value,
    ) -> impl Iterator<Item = Event> + Send + 'static {
        let opening = [
            (
                "message_start",
                json!({"message": self.body(&json!([]), None, 0)}),
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
                    "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
                    "usage": self.reported.place(self.counts(self.answer.len())),
                }),
            ),
            ("message_stop", end),
        ];
        let said = self.answer.tokens.into_iter().map(|token| {
            let data = json!({"index": 0, "delta": {"type": "text_delta", "text": token}});
            Event::typed("content_block_delta", data, 1)
        });
        let framing = |(name, data)| Event::typed(name, data, 0);
        let events = opening.into_iter().map(framing).chain(said);
        events.chain(closing.into_iter().map(framing))
    }

    fn stop_reason(&self) -> &'static str {
        if self.answer.truncated {
            "max_tokens"
        } else {
            "end_turn"
        }
    }

    fn body(&self, content: &Value, stop_reason: Option<&str>, output_tokens: u64) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": stop_reason, "stop_sequence": null,
            "usage": self.reported.place(self.usage(output_tokens)),
        })
    }

    /// The usage of a whole message, and of one that begins.
    fn usage(&self, output_tokens: u64) -> Value {
        let more = json!({
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache.written_5m,
                "ephemeral_1h_input_tokens": self.cache.written_1h,
            },
            "service_tier": self.service_tier,
        });
        merged(self.counts(output_tokens), more)
    }

    /// The usage of a message that ends: the counts alone, as at the vendor.
    fn counts(&self, output_tokens: u64) -> Value {
        json!({
            "input_tokens": self.cache.fresh,
            "cache_creation_input_tokens": self.cache.written(),
            "cache_read_input_tokens": self.cache.read,
            "output_tokens": output_tokens,
        })
    }
}
