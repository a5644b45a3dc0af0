//! `:embedContent` and `:batchEmbedContents`: vectors that depend on the text alone.
//!
//! The vendor reports no usage for them, and bills the tokens of the prompt all the same: they count.

use serde_json::{Value, json};

use super::request;
use crate::demo_provider::call::Call;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::vector;

/// Length of a vector when the request does not say, and the most it may say.
const DIMENSIONS: u32 = 3072;
/// Most contents of one request, as at the vendor.
const MOST_CONTENTS: usize = 100;

/// Answers a call with one vector.
pub(super) fn one(call: &Call<'_>, model: &str) -> Result<Reply, Refusal> {
    let embedded = Embedded::read(&request::fields(call)?, model)?;
    let body = json!({"embedding": embedded.vector});
    Ok(Reply::new(model, embedded.tokens, Content::json(body, 0)))
}

/// Answers a call with one vector for each of its requests.
pub(super) fn several(call: &Call<'_>, model: &str) -> Result<Reply, Refusal> {
    let fields = request::fields(call)?;
    let requests = fields
        .required("requests")?
        .as_array()
        .filter(|requests| (1..=MOST_CONTENTS).contains(&requests.len()))
        .ok_or_else(|| invalid("requests", "must be a list of 1 to 100 requests"))?;
    let mut vectors = Vec::new();
    let mut tokens = 0_u64;
    for request in requests {
        let fields = request::in_camel_case(Fields::of("requests", request)?);
        let embedded = Embedded::read(&fields, model)?;
        tokens = tokens.saturating_add(embedded.tokens);
        vectors.push(embedded.vector);
    }
    let body = json!({"embeddings": vectors});
    Ok(Reply::new(model, tokens, Content::json(body, 0)))
}

struct Embedded {
    tokens: u64,
    /// In the shape of the answer.
    vector: Value,
}

impl Embedded {
    fn read(fields: &Fields, model: &str) -> Result<Self, Refusal> {
        let parts = request::parts("content", fields.required("content")?)?;
        let dimensions = fields
            .number("outputDimensionality", DIMENSIONS)?
            .unwrap_or(DIMENSIONS);
        let mut prompt = Prompt::default();
        prompt.add(parts);
        let values = vector::unit(&[model, &parts.to_string()], dimensions);
        Ok(Self {
            tokens: prompt.tokens,
            vector: json!({"values": values}),
        })
    }
}
