//! `POST /v1/embeddings`: vectors that depend on the text alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::inputs::read_inputs;
use crate::demo_provider::call::Call;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::vector;

/// Length of a vector when the request does not say.
const DIMENSIONS: u32 = 1536;
/// Longest vector that may be asked for.
const MOST_DIMENSIONS: u32 = 3072;

/// A way to write a vector.
type Encode = fn(&[f32]) -> Value;

const ENCODINGS: [(&str, Encode); 2] = [
    ("float", |vector| json!(vector)),
    ("base64", |vector| {
        let bytes = vector.iter().flat_map(|number| number.to_le_bytes());
        json!(STANDARD.encode(bytes.collect::<Vec<u8>>()))
    }),
];

/// Answers a call with one vector of length 1 for each input.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let inputs = read_inputs("input", fields.required("input")?)?;
    let encode = fields.choice("encoding_format", &ENCODINGS)?;
    let dimensions = fields
        .number("dimensions", MOST_DIMENSIONS)?
        .unwrap_or(DIMENSIONS);

    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector::unit(&[model, &input.text], dimensions);
            json!({"object": "embedding", "index": index, "embedding": encode(&vector)})
        })
        .collect();
    let input_tokens = inputs.iter().map(|input| input.tokens).sum();
    let usage = call.usage(json!({"prompt_tokens": input_tokens, "total_tokens": input_tokens}));
    let body = json!({"object": "list", "data": data, "model": model, "usage": usage});
    Ok(Reply::new(model, input_tokens, Content::json(body, 0)))
}
