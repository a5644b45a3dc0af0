//! `POST /v1/audio/speech`: noise, four bytes of it for each token.
//!
//! Without steering a text is spoken in as many tokens as it has.

use std::iter;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::objects::with_type;
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text;

/// What may be asked for, and its `content-type`.
const FORMATS: [(&str, &str); 6] = [
    ("mp3", "audio/mpeg"),
    ("opus", "audio/opus"),
    ("aac", "audio/aac"),
    ("flac", "audio/flac"),
    ("wav", "audio/wav"),
    ("pcm", "audio/pcm"),
];

/// Answers a call with sound, as bytes or as events.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let input = fields.text("input")?;
    let mut prompt = Prompt::default();
    for name in ["instructions", "input"] {
        fields.get(name).iter().for_each(|text| prompt.add(text));
    }
    let content_type = fields.choice("response_format", &FORMATS)?;
    let events = fields.choice("stream_format", &[("audio", false), ("sse", true)])?;

    let output_tokens = call.steering.output_tokens.map_or(prompt.tokens, u64::from);
    let noise = text::numbers(text::hash(&[model, input])).map(|number| {
        let [a, b, c, d, ..] = number.to_le_bytes();
        [a, b, c, d]
    });
    let noise = noise.take(usize::try_from(output_tokens).unwrap_or(usize::MAX));
    let content = if events {
        let said = noise.map(|bytes| {
            let data = json!({"audio": STANDARD.encode(bytes)});
            Event::data(with_type("speech.audio.delta", data), 1)
        });
        let usage = call.usage(json!({
            "input_tokens": prompt.tokens, "output_tokens": output_tokens,
            "total_tokens": prompt.tokens.saturating_add(output_tokens),
        }));
        let done = with_type("speech.audio.done", json!({"usage": usage}));
        Content::sse(said.chain(iter::once(Event::data(done, 0))))
    } else {
        let said = noise.map(|bytes| Event::bytes(bytes.to_vec(), 1));
        Content::bytes(content_type, said)
    };
    Ok(Reply::new(model, prompt.tokens, content))
}
