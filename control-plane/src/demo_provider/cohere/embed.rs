//! `POST /v1/embed` and `POST /v2/embed`: vectors that depend on the text alone.

use serde_json::{Value, json};

use super::meta;
use crate::demo_provider::call::Call;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::{text, vector};

/// Length of a vector when the request does not say.
const DIMENSIONS: u32 = 1536;
/// Most texts of one request, as at the vendor.
const MOST_TEXTS: usize = 96;

/// Answers a call of the first version, with a list of vectors.
pub(in crate::demo_provider) fn answer_v1(call: &Call<'_>) -> Result<Reply, Refusal> {
    answer(
        call,
        "1",
        |vectors| json!({"embeddings": vectors, "response_type": "embeddings_floats"}),
    )
}

/// Answers a call of the second version, with a list of vectors by their type: floats only.
pub(in crate::demo_provider) fn answer_v2(call: &Call<'_>) -> Result<Reply, Refusal> {
    answer(
        call,
        "2",
        |vectors| json!({"embeddings": {"float": vectors}}),
    )
}

fn answer(
    call: &Call<'_>,
    version: &str,
    vectors_in: fn(Vec<Vec<f32>>) -> Value,
) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = fields.model()?;
    let texts = read_texts(fields)?;
    let dimensions = fields
        .number("output_dimension", DIMENSIONS)?
        .unwrap_or(DIMENSIONS);
    let vectors = texts
        .iter()
        .map(|text| vector::unit(&[model, text], dimensions));
    let input_tokens = texts.iter().map(|text| text::count(text)).sum();
    let body = json!({
        "id": call.id("embed"), "texts": texts,
        "meta": meta(call, version, json!({"input_tokens": input_tokens})),
    });
    let body = merged(body, vectors_in(vectors.collect()));
    Ok(Reply::new(model, input_tokens, Content::json(body, 0)))
}

fn read_texts(fields: &Fields) -> Result<Vec<&str>, Refusal> {
    fields
        .required("texts")?
        .as_array()
        .filter(|texts| (1..=MOST_TEXTS).contains(&texts.len()))
        .and_then(|texts| texts.iter().map(Value::as_str).collect())
        .ok_or_else(|| invalid("texts", "must be a list of 1 to 96 texts"))
}
