//! OpenAI's wire formats.

pub(super) mod chat;
mod chunks;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod images;
mod inputs;
pub(super) mod moderations;
pub(super) mod responses;
pub(super) mod speech;
mod tool_call;
pub(super) mod transcriptions;

use serde_json::{Value, json};

/// Names shown to a client that asks what there is; any other name is served as well.
const MODELS: [&str; 6] = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "text-embedding-3-small",
    "claude-sonnet-5",
    "claude-haiku-4-5",
];

/// The body of `GET /v1/models`. One path, two vendors: it carries the fields of both.
pub(super) fn models(now: i64) -> Value {
    let entries: Vec<Value> = MODELS
        .iter()
        .map(|id| {
            json!({
                "id": id, "object": "model", "created": now, "owned_by": "demo",
                "type": "model", "display_name": id, "created_at": "1970-01-01T00:00:00Z",
            })
        })
        .collect();
    json!({
        "object": "list", "data": entries,
        "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last(),
    })
}
