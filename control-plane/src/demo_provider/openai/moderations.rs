//! `POST /v1/moderations`: finds fault with nothing. It is free, so it counts no tokens.

use serde_json::{Value, json};

use crate::demo_provider::call::Call;
use crate::demo_provider::fields::invalid;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};

/// The model when the request names none.
const MODEL: &str = "omni-moderation-latest";

/// Most entries of a list of inputs.
const MOST_INPUTS: usize = 2048;

/// What a text could be accused of.
const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// Answers a call with one result for each input.
pub(in crate::demo_provider) fn answer(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let model = match fields.get("model") {
        None => MODEL,
        Some(_) => fields.model()?,
    };
    let results = match fields.required("input")? {
        Value::String(_) => 1,
        Value::Array(list) if !(1..=MOST_INPUTS).contains(&list.len()) => {
            return Err(invalid("input", "must have 1 to 2048 entries"));
        }
        Value::Array(texts) if texts.iter().all(Value::is_string) => texts.len(),
        // Texts and images that belong together.
        Value::Array(parts) if parts.iter().all(Value::is_object) => 1,
        _ => {
            let problem = "must be a text, a list of texts, or a list of parts";
            return Err(invalid("input", problem));
        }
    };
    let each = |value: Value| Value::from_iter(CATEGORIES.map(|name| (name, value.clone())));
    let result = json!({
        "flagged": false, "categories": each(json!(false)), "category_scores": each(json!(0.0)),
        "category_applied_input_types": each(json!([])),
    });
    let body = json!({
        "id": call.id("modr"), "model": model, "results": vec![result; results],
    });
    Ok(Reply::new(model, 0, Content::json(body, 0)))
}
