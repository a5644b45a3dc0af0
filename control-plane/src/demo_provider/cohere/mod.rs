//! Cohere's wire formats, of which the reranking has become everybody's.

pub(super) mod chat;
pub(super) mod embed;
pub(super) mod rerank;

use serde_json::{Value, json};

use super::call::Call;

/// What an answer of the `version` of the API was billed.
fn meta(call: &Call<'_>, version: &str, billed_units: Value) -> Value {
    json!({"api_version": {"version": version}, "billed_units": call.usage(billed_units)})
}
