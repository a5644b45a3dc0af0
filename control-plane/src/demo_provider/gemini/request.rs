//! Reads Gemini's requests, whose fields may be in camel case and in snake case.

use std::mem;

use serde_json::Value;

use crate::demo_provider::call::Call;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::prompt::Prompt;
use crate::demo_provider::refusal::Refusal;

/// The body's fields.
pub(super) fn fields(call: &Call<'_>) -> Result<Fields, Refusal> {
    call.fields().map(in_camel_case)
}

/// The fields of an object among them; none when it is absent.
pub(super) fn inner(fields: &Fields, name: &str) -> Result<Fields, Refusal> {
    fields.object(name).map(in_camel_case)
}

/// The same fields, all in camel case.
pub(super) fn in_camel_case(fields: Fields) -> Fields {
    fields.renamed(camel_case)
}

/// What the model is told and asked.
pub(super) fn prompt(fields: &Fields) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    if let Some(system) = fields.get("systemInstruction") {
        prompt.add(parts("systemInstruction", system)?);
    }
    let contents = fields
        .required("contents")?
        .as_array()
        .filter(|contents| !contents.is_empty())
        .ok_or_else(|| invalid("contents", "must be a list with at least one entry"))?;
    for content in contents {
        prompt.add(parts("contents", content)?);
    }
    prompt.add_verbatim(fields.get("tools"));
    Ok(prompt)
}

/// The parts of the content in the field `name`.
pub(super) fn parts<'a>(name: &str, content: &'a Value) -> Result<&'a Value, Refusal> {
    content
        .get("parts")
        .filter(|parts| parts.is_array())
        .ok_or_else(|| invalid(&format!("{name}.parts"), "must be a list"))
}

fn camel_case(name: &str) -> String {
    let mut is_next_upper = false;
    name.chars()
        .filter_map(|c| match c {
            '_' => {
                is_next_upper = true;
                None
            }
            c if mem::take(&mut is_next_upper) => Some(c.to_ascii_uppercase()),
            c => Some(c),
        })
        .collect()
}
