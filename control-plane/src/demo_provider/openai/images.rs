//! `POST /v1/images/...`: a picture of one pixel, as large as it is asked to be.
//!
//! A picture is four bytes of PNG for each of its tokens. A picture that is sent counts by its
//! bytes, as `text.rs` has it; so does a mask.

use std::iter;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::demo_provider::call::Call;
use crate::demo_provider::events::Event;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::form::Form;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text;

/// Tokens of a picture when the steering does not say.
const TOKENS: u32 = 64;
/// Most pictures of one request, as at the vendor.
const MOST_PICTURES: u32 = 10;
/// Most pictures that show one in the making, as at the vendor.
const MOST_PARTIAL: u32 = 3;
/// A grey pixel. What stands behind the end of a PNG is ignored by those who show it.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\
    \0\0\0\nIDATx\xdach\0\0\0\x82\0\x81\xdaE\x08;\0\0\0\0IEND\xaeB`\x82";

/// Names of the events of a stream.
struct Names {
    partial: &'static str,
    completed: &'static str,
}

const GENERATION: Names = Names {
    partial: "image_generation.partial_image",
    completed: "image_generation.completed",
};
const EDIT: Names = Names {
    partial: "image_edit.partial_image",
    completed: "image_edit.completed",
};

/// Makes pictures of a prompt.
pub(in crate::demo_provider) fn generation(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let input = Input {
        text: text::count(fields.text("prompt")?),
        image: 0,
    };
    answer(call, fields, &input, Some(&GENERATION))
}

/// Changes pictures as a prompt says.
pub(in crate::demo_provider) fn edit(call: &Call<'_>) -> Result<Reply, Refusal> {
    let form = call.form()?;
    let input = Input {
        text: text::count(form.fields.text("prompt")?),
        image: image_tokens(&form)?,
    };
    answer(call, &form.fields, &input, Some(&EDIT))
}

/// Varies a picture. The vendor does not stream that.
pub(in crate::demo_provider) fn variation(call: &Call<'_>) -> Result<Reply, Refusal> {
    let form = call.form()?;
    let input = Input {
        text: 0,
        image: image_tokens(&form)?,
    };
    answer(call, &form.fields, &input, None)
}

fn image_tokens(form: &Form) -> Result<u64, Refusal> {
    form.file("image")?;
    Ok(form.files().map(|file| text::count_bytes(file)).sum())
}

/// Tokens of a prompt.
struct Input {
    text: u64,
    image: u64,
}

fn answer(
    call: &Call<'_>,
    fields: &Fields,
    input: &Input,
    streamed: Option<&'static Names>,
) -> Result<Reply, Refusal> {
    let model = fields.model()?;
    let pictures = fields.number("n", MOST_PICTURES)?.unwrap_or(1);
    let stream = fields.flag("stream")?;
    let partial = fields.number_from(0, "partial_images", MOST_PARTIAL)?;
    let streamed = streamed.filter(|_| stream);
    if streamed.is_some() && pictures > 1 {
        return Err(invalid("n", "must be 1 when `stream` is true"));
    }

    let tokens = call.steering.output_tokens.unwrap_or(TOKENS);
    let input_tokens = input.text.saturating_add(input.image);
    let output_tokens = u64::from(tokens).saturating_mul(pictures.into());
    let usage = call.usage(json!({
        "input_tokens": input_tokens,
        "input_tokens_details": {"text_tokens": input.text, "image_tokens": input.image},
        "output_tokens": output_tokens,
        "total_tokens": input_tokens.saturating_add(output_tokens),
    }));
    let picture = STANDARD.encode(picture(tokens as usize));
    let content = match streamed {
        None => {
            let data = vec![json!({"b64_json": picture}); pictures as usize];
            let body = json!({"created": call.now, "data": data, "usage": usage});
            Content::json(body, output_tokens)
        }
        Some(names) => {
            let now = call.now;
            // What is shown in the making is free: the picture counts when it is there.
            let partial = (0..partial.unwrap_or(1)).map(move |index| {
                let pixel = STANDARD.encode(PIXEL);
                let data = json!({
                    "b64_json": pixel, "created_at": now, "partial_image_index": index,
                });
                Event::typed(names.partial, data, 0)
            });
            let data = json!({"b64_json": picture, "created_at": now, "usage": usage});
            let completed = Event::typed(names.completed, data, output_tokens);
            Content::sse(partial.chain(iter::once(completed)))
        }
    };
    Ok(Reply::new(model, input_tokens, content))
}

/// A PNG of exactly `tokens` tokens; with fewer than 17 it is one cut short.
fn picture(tokens: usize) -> Vec<u8> {
    let mut bytes = PIXEL.to_vec();
    bytes.resize(tokens.saturating_mul(text::TOKEN_BYTES), 0);
    bytes
}
