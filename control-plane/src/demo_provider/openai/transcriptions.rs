//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`: a text about a recording that
//! nobody listened to.
//!
//! A recording counts by its bytes, as `text.rs` has it. A model of the Whisper family is billed by
//! time: it reports seconds, and its calls count no tokens. Nor does it stream, at the vendor.

use std::iter;

use axum::body::Bytes;
use serde_json::{Value, json};

use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::objects::with_type;
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text::{self, Answer};

/// Bytes of a recording that last a second, as in an MP3 of 128 kbit/s.
const BYTES_PER_SECOND: usize = 16_000;

/// Writes down what was said.
pub(in crate::demo_provider) fn transcription(call: &Call<'_>) -> Result<Reply, Refusal> {
    answer(call, true)
}

/// Writes down in English what was said. The vendor does not stream that.
pub(in crate::demo_provider) fn translation(call: &Call<'_>) -> Result<Reply, Refusal> {
    answer(call, false)
}

fn answer(call: &Call<'_>, may_stream: bool) -> Result<Reply, Refusal> {
    let form = call.form()?;
    let fields = &form.fields;
    let model = fields.model()?;
    let recording = form.file("file")?;
    let mut prompt = Prompt::default();
    fields
        .get("prompt")
        .iter()
        .for_each(|text| prompt.add(text));
    let plain = fields.choice("response_format", &[("json", false), ("text", true)])?;
    let by_time = model.contains("whisper");
    let stream = fields.flag("stream")? && may_stream && !by_time;

    let answer = call.answer(model, &prompt.last_text, None);
    let (mut input_tokens, mut output_tokens) = (0, 0);
    if !by_time {
        input_tokens = prompt.tokens.saturating_add(text::count_bytes(recording));
        output_tokens = answer.len();
    }
    let usage = call.usage(if by_time {
        duration(recording)
    } else {
        tokens(prompt.tokens, text::count_bytes(recording), output_tokens)
    });
    let content = if stream {
        Content::sse(events(answer, &usage))
    } else if plain {
        Content::Text {
            text: answer.text(),
            output_tokens,
        }
    } else {
        Content::json(
            json!({"text": answer.text(), "usage": usage}),
            output_tokens,
        )
    };
    Ok(Reply::new(model, input_tokens, content))
}

fn duration(recording: &Bytes) -> Value {
    json!({"type": "duration", "seconds": recording.len().div_ceil(BYTES_PER_SECOND)})
}

fn tokens(text: u64, audio: u64, output: u64) -> Value {
    let input = text.saturating_add(audio);
    json!({
        "type": "tokens",
        "input_tokens": input,
        "input_token_details": {"text_tokens": text, "audio_tokens": audio},
        "output_tokens": output,
        "total_tokens": input.saturating_add(output),
    })
}

fn events(answer: Answer, usage: &Value) -> impl Iterator<Item = Event> + use<> {
    let data = json!({"text": answer.text(), "usage": usage});
    let done = Event::data(with_type("transcript.text.done", data), 0);
    let said = answer.tokens.into_iter().map(|token| {
        let data = with_type("transcript.text.delta", json!({"delta": token}));
        Event::data(data, 1)
    });
    said.chain(iter::once(done))
}
