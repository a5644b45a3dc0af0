//! `:generateContent` and `:streamGenerateContent`.
//!
//! Every chunk of a stream carries the usage so far, as at the vendor; the last one is the whole.

use std::mem;

use serde_json::{Map, Value, json};

use super::{request, text_tokens};
use crate::demo_provider::call::Call;
use crate::demo_provider::events::{Event, Framing, SSE};
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text::Answer;
use crate::demo_provider::usage::Reported;

/// Most answers to one request, as at the vendor.
const MOST_CANDIDATES: u32 = 8;

/// A JSON array, sent element by element.
const ARRAY: Framing = Framing {
    content_type: "application/json",
    write: |event| {
        let before = if event.first { "[" } else { ",\r\n" };
        format!("{before}{}\n", event.data).into()
    },
    end: "]",
};

/// Answers a call in one piece; every candidate has the same text.
pub(super) fn whole(call: &Call<'_>, model: &str) -> Result<Reply, Refusal> {
    let generated = Generated::read(call, model)?;
    let text = generated.answer.text();
    let finish = generated.finish_reason();
    let candidates: Vec<Value> = (0..generated.candidates)
        .map(|index| candidate(index, &text, Some(finish)))
        .collect();
    let shown = generated.times(generated.answer.shown());
    let body = generated.head.chunk(&candidates, shown);
    Ok(generated.reply(model, Content::json(body, shown)))
}

/// Answers a call token by token, as server-sent events or as an array.
pub(super) fn stream(call: &Call<'_>, model: &str) -> Result<Reply, Refusal> {
    let mut generated = Generated::read(call, model)?;
    let framing = if call.query("alt").as_deref() == Some("sse") {
        SSE
    } else {
        ARRAY
    };
    let finish = generated.finish_reason();
    let all = generated.times(generated.answer.shown());
    let candidates = generated.candidates;
    let tokens = mem::take(&mut generated.answer.tokens);
    let said = tokens
        .into_iter()
        .flat_map(move |token| (0..candidates).map(move |index| candidate(index, &token, None)))
        .zip(1..)
        .map(|(candidate, so_far)| (candidate, so_far, 1));
    let closing = (0..candidates).map(move |index| (candidate(index, "", Some(finish)), all, 0));
    let head = generated.head.clone();
    let chunks = said.chain(closing).map(move |(candidate, so_far, tokens)| {
        Event::data(head.chunk(&[candidate], so_far), tokens)
    });
    Ok(generated.reply(model, Content::stream(framing, chunks)))
}

/// An answer before it is written.
struct Generated {
    head: Head,
    candidates: u32,
    answer: Answer,
}

impl Generated {
    fn read(call: &Call<'_>, model: &str) -> Result<Self, Refusal> {
        let fields = request::fields(call)?;
        let prompt = request::prompt(&fields)?;
        let config = request::inner(&fields, "generationConfig")?;
        let most = config.number("maxOutputTokens", u32::MAX)?;
        let candidates = config
            .number("candidateCount", MOST_CANDIDATES)?
            .unwrap_or(1);
        let answer = call.thought_out(model, &prompt.last_text, most);
        let head = Head {
            base: json!({"modelVersion": model, "responseId": call.id("gemini")}),
            prompt: prompt.tokens,
            cached: prompt.tokens.min(call.steering.cached_tokens.into()),
            thoughts: answer.reasoning.saturating_mul(candidates.into()),
            reported: call.steering.usage.clone(),
        };
        Ok(Self {
            head,
            candidates,
            answer,
        })
    }

    fn times(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(self.candidates.into())
    }

    fn finish_reason(&self) -> &'static str {
        if self.answer.truncated {
            "MAX_TOKENS"
        } else {
            "STOP"
        }
    }

    fn reply(self, model: &str, content: Content) -> Reply {
        Reply::new(model, self.head.prompt, content).hiding(self.head.thoughts)
    }
}

fn candidate(index: u32, text: &str, finish: Option<&str>) -> Value {
    let mut candidate = json!({
        "content": {"parts": [{"text": text}], "role": "model"}, "index": index,
    });
    if let Some(finish) = finish {
        candidate = merged(candidate, json!({"finishReason": finish}));
    }
    candidate
}

/// What all chunks of one answer have in common.
#[derive(Clone)]
struct Head {
    base: Value,
    prompt: u64,
    cached: u64,
    thoughts: u64,
    reported: Reported,
}

impl Head {
    /// A chunk after which `shown` tokens have been said.
    fn chunk(&self, candidates: &[Value], shown: u64) -> Value {
        let usage = self.reported.place(self.usage(shown));
        let more = json!({"candidates": candidates, "usageMetadata": usage});
        merged(self.base.clone(), more)
    }

    /// Thoughts are no part of the candidates; what is cached is a part of the prompt.
    fn usage(&self, shown: u64) -> Value {
        let total = self.prompt.saturating_add(shown);
        let counts = [
            ("promptTokenCount", self.prompt),
            ("cachedContentTokenCount", self.cached),
            ("candidatesTokenCount", shown),
            ("thoughtsTokenCount", self.thoughts),
            ("totalTokenCount", total.saturating_add(self.thoughts)),
        ];
        // A zero is left out, as in all JSON that is made from protobuf.
        let mut usage: Map<String, Value> = counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let details = [
            ("promptTokensDetails", self.prompt),
            ("cacheTokensDetails", self.cached),
        ];
        for (name, count) in details {
            if count > 0 {
                usage.insert(name.to_owned(), text_tokens(count));
            }
        }
        usage.into()
    }
}
