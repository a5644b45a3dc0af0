//! `POST /v1/embeddings`: vectors that depend on the text alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::routes::Call;
use crate::demo_provider::text;

/// Length of a vector when the request does not say.
const DIMENSIONS: u32 = 1536;
/// Longest vector that may be asked for.
const MOST_DIMENSIONS: u32 = 3072;
/// Most inputs of one request, as at the vendor.
const MOST_INPUTS: usize = 2048;

/// Answers a call with one vector of length 1 for each input.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = call.fields;
    let model = fields.model()?.to_owned();
    let inputs = read_inputs(fields.required("input")?)?;
    let encode = encoding(fields)?;
    let dimensions = fields
        .number("dimensions", MOST_DIMENSIONS)?
        .unwrap_or(DIMENSIONS);

    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(text::hash(&[&model, &input.text]), dimensions);
            json!({"object": "embedding", "index": index, "embedding": encode(&vector)})
        })
        .collect();
    let input_tokens = inputs
        .iter()
        .fold(0_u64, |sum, input| sum.saturating_add(input.tokens));
    let body = json!({
        "object": "list", "data": data, "model": model,
        "usage": {"prompt_tokens": input_tokens, "total_tokens": input_tokens},
    });
    Ok(Reply {
        model,
        input_tokens,
        content: Content::Whole {
            body,
            output_tokens: 0,
        },
    })
}

/// One thing to embed.
struct Input {
    /// What the vector is made from.
    text: String,
    tokens: u64,
}

impl Input {
    /// A text, or a list of token numbers.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) if !text.is_empty() => Some(Self {
                text: text.clone(),
                tokens: text::count(text),
            }),
            Value::Array(numbers)
                if !numbers.is_empty()
                    && numbers.iter().all(|number| number.as_u64().is_some()) =>
            {
                Some(Self {
                    text: value.to_string(),
                    tokens: numbers.len() as u64,
                })
            }
            _ => None,
        }
    }
}

/// One input, or a list of inputs. A list of numbers is one input.
fn read_inputs(value: &Value) -> Result<Vec<Input>, Refusal> {
    if let Some(input) = Input::read(value) {
        return Ok(vec![input]);
    }
    let several = value
        .as_array()
        .filter(|list| (1..=MOST_INPUTS).contains(&list.len()));
    several.and_then(|list| list.iter().map(Input::read).collect()).ok_or_else(|| {
        invalid(
            "input",
            "must be a text, a list of token numbers, or a list of 1 to 2048 of those, none empty",
        )
    })
}

fn encoding(fields: &Fields) -> Result<fn(&[f32]) -> Value, Refusal> {
    match fields.get("encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => Ok(|vector| json!(vector)),
        Some(Some("base64")) => Ok(|vector| {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect();
            json!(STANDARD.encode(bytes))
        }),
        Some(_) => Err(invalid("encoding_format", "must be `float` or `base64`")),
    }
}

/// A vector of length 1.
fn vector(seed: u64, dimensions: u32) -> Vec<f32> {
    let raw: Vec<f32> = text::numbers(seed)
        .take(dimensions as usize)
        .map(|number| {
            // The top sixteen bits, as a number from -1 to 1.
            let top = u16::try_from(number >> 48).unwrap_or(0);
            f32::from(top) / f32::from(u16::MAX) * 2.0 - 1.0
        })
        .collect();
    let length = raw.iter().map(|number| number * number).sum::<f32>().sqrt();
    raw.into_iter()
        .map(|number| number / length.max(f32::MIN_POSITIVE))
        .collect()
}
