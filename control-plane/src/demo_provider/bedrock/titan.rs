//! Titan's own formats: text and embeddings. Their usage is single numbers, so a text that takes the
//! place of usage takes that of each.

use serde_json::{Value, json};

use super::invoke::Counts;
use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::fields::Fields;
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::text::{self, Answer};
use crate::demo_provider::vector;

/// Length of a vector when the request does not say, and the most it may say.
const DIMENSIONS: u32 = 1024;

/// A vector that depends on the text alone.
pub(super) fn embedding(
    call: &Call<'_>,
    fields: &Fields,
    model: &str,
) -> Result<(Value, Counts), Refusal> {
    let input = fields.text("inputText")?;
    let dimensions = fields
        .number("dimensions", DIMENSIONS)?
        .unwrap_or(DIMENSIONS);
    let counts = Counts {
        input: text::count(input),
        cache: None,
        output: None,
    };
    let body = json!({
        "embedding": vector::unit(&[model, input], dimensions),
        "inputTextTokenCount": call.usage(counts.input.into()),
    });
    Ok((body, counts))
}

/// An answer in text before it is written.
pub(super) struct Said {
    /// Tokens of the prompt.
    pub(super) input_tokens: u64,
    answer: Answer,
}

impl Said {
    /// What `model` answers to the text in `fields`.
    ///
    /// # Errors
    /// A 400 naming the field that is missing or wrong.
    pub(super) fn read(call: &Call<'_>, fields: &Fields, model: &str) -> Result<Self, Refusal> {
        let input = fields.text("inputText")?;
        let config = fields.object("textGenerationConfig")?;
        let most = config.number("maxTokenCount", u32::MAX)?;
        Ok(Self {
            input_tokens: text::count(input),
            answer: call.answer(model, input, most),
        })
    }

    /// What it used.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            input: self.input_tokens,
            cache: None,
            output: Some(self.answer.len()),
        }
    }

    /// The answer in one piece.
    pub(super) fn whole(&self, call: &Call<'_>) -> Value {
        let result = json!({
            "tokenCount": call.usage(self.answer.len().into()),
            "outputText": self.answer.text(), "completionReason": self.completion_reason(),
        });
        json!({
            "inputTextTokenCount": call.usage(self.input_tokens.into()), "results": [result],
        })
    }

    /// The answer token by token; the last event has the fields of `end` too.
    pub(super) fn events(
        self,
        call: &Call<'_>,
        end: Value,
    ) -> impl Iterator<Item = Event> + Send + use<> {
        let input_tokens = call.usage(self.input_tokens.into());
        let chunk = move |text: &str, output_tokens: Value, reason: Option<&str>| {
            json!({
                "index": 0, "outputText": text, "completionReason": reason,
                "inputTextTokenCount": input_tokens, "totalOutputTextTokenCount": output_tokens,
            })
        };
        let output_tokens = call.usage(self.answer.len().into());
        let last = chunk("", output_tokens, Some(self.completion_reason()));
        let last = Event::data(merged(last, end), 0);
        let tokens = self.answer.tokens.into_iter();
        let said = tokens.map(move |token| Event::data(chunk(&token, Value::Null, None), 1));
        said.chain([last])
    }

    fn completion_reason(&self) -> &'static str {
        if self.answer.truncated {
            "LENGTH"
        } else {
            "FINISH"
        }
    }
}
