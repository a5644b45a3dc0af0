//! Gemini's wire format: `POST /v1beta/models/{model}:{method}` and the list of models.

mod embed;
mod generate;
mod request;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::fields;
use super::refusal::Refusal;
use super::reply::{Content, Reply};

/// Names shown to a client that asks what there is; any other name is served as well.
const MODELS: [&str; 3] = ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-embedding-001"];
/// What every model can do.
const METHODS: [&str; 5] = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
];

/// Answers a call of the model and the method that the path names.
pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (model, method) = call.in_path.rsplit_once(':').unwrap_or((call.in_path, ""));
    let model = fields::checked_model(model)?;
    match method {
        "generateContent" => generate::whole(call, model),
        "streamGenerateContent" => generate::stream(call, model),
        "countTokens" => count_tokens(call, model),
        "embedContent" => embed::one(call, model),
        "batchEmbedContents" => embed::several(call, model),
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!("models have no method `{method}`"),
        )),
    }
}

/// Counts a prompt. That is free, so the call counts without tokens.
fn count_tokens(call: &Call<'_>, model: &str) -> Result<Reply, Refusal> {
    let fields = request::fields(call)?;
    let prompt = if fields.get("generateContentRequest").is_some() {
        request::prompt(&request::inner(&fields, "generateContentRequest")?)?
    } else {
        request::prompt(&fields)?
    };
    let body = json!({
        "totalTokens": prompt.tokens, "promptTokensDetails": text_tokens(prompt.tokens),
    });
    Ok(Reply::new(model, 0, Content::json(body, 0)))
}

/// Tokens by the kind of what they are of. All of them are text here.
fn text_tokens(count: u64) -> Value {
    json!([{"modality": "TEXT", "tokenCount": count}])
}

/// The body of `GET /v1beta/models`.
pub(super) fn models() -> Value {
    let entries = MODELS.map(|name| {
        json!({
            "name": format!("models/{name}"), "displayName": name, "version": "demo",
            "inputTokenLimit": u32::MAX, "outputTokenLimit": u32::MAX,
            "supportedGenerationMethods": METHODS,
        })
    });
    json!({"models": entries})
}
