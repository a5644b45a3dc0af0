//! `/invoke` and `/invoke-with-response-stream`: the model's own format, and what Bedrock adds to it.

use serde_json::{Value, json};

use super::event_stream::CHUNKS;
use super::{latency, titan};
use crate::demo_provider::anthropic::Message;
use crate::demo_provider::cache::Cache;
use crate::demo_provider::call::Call;
use crate::demo_provider::fields::{Fields, checked_model};
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};

/// Headers of an answer in one piece.
const INPUT: &str = "x-amzn-bedrock-input-token-count";
const OUTPUT: &str = "x-amzn-bedrock-output-token-count";
const CACHE_READ: &str = "x-amzn-bedrock-cache-read-input-token-count";
const CACHE_WRITE: &str = "x-amzn-bedrock-cache-write-input-token-count";

/// Answers a call in one piece.
pub(in crate::demo_provider) fn whole(call: &Call<'_>) -> Result<Reply, Refusal> {
    let model = checked_model(call.in_path)?;
    let fields = &call.fields()?;
    let (body, counts) = match Format::of(model) {
        Format::Anthropic => {
            let message = message(call, fields, model)?;
            (message.whole(), Counts::of(&message))
        }
        Format::TitanEmbedding => titan::embedding(call, fields, model)?,
        Format::TitanText => {
            let said = titan::Said::read(call, fields, model)?;
            (said.whole(call), said.counts())
        }
    };
    let header = |count: Option<u64>| call.steering.usage.header(count?);
    let read = counts.cache.map(|cache| cache.read);
    let written = counts.cache.map(Cache::written);
    let content = Content::json(body, counts.output.unwrap_or_default());
    Ok(Reply::new(model, counts.input, content)
        .with_header(INPUT, header(Some(counts.fresh())))
        .with_header(OUTPUT, header(counts.output))
        .with_header(CACHE_READ, header(read))
        .with_header(CACHE_WRITE, header(written)))
}

/// Answers a call token by token. The last event has Bedrock's own usage beside the model's.
pub(in crate::demo_provider) fn stream(call: &Call<'_>) -> Result<Reply, Refusal> {
    let model = checked_model(call.in_path)?;
    let fields = &call.fields()?;
    let (input_tokens, content) = match Format::of(model) {
        Format::Anthropic => {
            let message = message(call, fields, model)?;
            let end = Counts::of(&message).metrics(call);
            let input_tokens = message.input_tokens;
            (input_tokens, Content::stream(CHUNKS, message.events(end)))
        }
        Format::TitanEmbedding => {
            return Err(Refusal::invalid("a model that embeds does not stream"));
        }
        Format::TitanText => {
            let said = titan::Said::read(call, fields, model)?;
            let end = said.counts().metrics(call);
            let input_tokens = said.input_tokens;
            (
                input_tokens,
                Content::stream(CHUNKS, said.events(call, end)),
            )
        }
    };
    Ok(Reply::new(model, input_tokens, content))
}

fn message(call: &Call<'_>, fields: &Fields, model: &str) -> Result<Message, Refusal> {
    // Required, unlike at Anthropic, where it is a header.
    fields.text("anthropic_version")?;
    Message::answering(call, fields, model)
}

/// The format that a model speaks.
enum Format {
    Anthropic,
    TitanEmbedding,
    TitanText,
}

impl Format {
    fn of(model: &str) -> Self {
        if model.contains("anthropic.") {
            Self::Anthropic
        } else if model.contains("embed") {
            Self::TitanEmbedding
        } else {
            Self::TitanText
        }
    }
}

/// What a model's own answer used, as Bedrock reports it beside.
pub(super) struct Counts {
    /// Tokens of the prompt.
    pub(super) input: u64,
    /// How they are divided, for a model that can cache.
    pub(super) cache: Option<Cache>,
    /// Tokens of the answer, for a model that answers in text.
    pub(super) output: Option<u64>,
}

impl Counts {
    fn of(message: &Message) -> Self {
        Self {
            input: message.input_tokens,
            cache: Some(message.cache),
            output: Some(message.answer.len()),
        }
    }

    /// Tokens of the prompt that no cache had or got.
    fn fresh(&self) -> u64 {
        self.cache.map_or(self.input, |cache| cache.fresh)
    }

    /// What the last event of a stream has of it.
    fn metrics(&self, call: &Call<'_>) -> Value {
        let mut metrics = json!({
            "inputTokenCount": self.fresh(), "outputTokenCount": self.output,
            "invocationLatency": latency(call), "firstByteLatency": latency(call),
        });
        if let Some(cache) = self.cache {
            let more = json!({
                "cacheReadInputTokenCount": cache.read,
                "cacheWriteInputTokenCount": cache.written(),
            });
            metrics = merged(metrics, more);
        }
        json!({"amazon-bedrock-invocationMetrics": call.usage(metrics)})
    }
}
