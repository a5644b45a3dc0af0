//! Items of a conversation that only refer to one that is kept at the provider, where all virtual keys
//! share it (OpenAI's Responses: `item_reference`, whose `type` may be left out).

use memchr::memmem;

use super::RequestError;
use crate::json::{self, Kind, Value};

/// Refuses `input` if an item of it is such a reference.
pub(super) fn refuse(input: &Value<'_>) -> Result<(), RequestError> {
    if input.kind != Kind::Array || !could_refer(input.raw.as_bytes()) {
        return Ok(());
    }
    for item in json::elements(input) {
        let item = item?;
        if item.starts_with('{') && is_reference(item)? {
            return Err(RequestError::StoredObject {
                field: "input[].id",
            });
        }
    }
    Ok(())
}

/// Most conversations hold none of these, and need no second look.
fn could_refer(raw: &[u8]) -> bool {
    ["item_reference", "\"id\"", "\\u"]
        .iter()
        .any(|mark| memmem::find(raw, mark.as_bytes()).is_some())
}

fn is_reference(item: &str) -> Result<bool, RequestError> {
    let (mut has_id, mut has_content) = (false, false);
    for member in json::members(item) {
        let member = member?;
        match (&*member.key, member.value.kind) {
            ("type", Kind::String(text)) if text.is("item_reference") => return Ok(true),
            ("type" | "role", kind) => has_content |= kind != Kind::Null,
            ("id", kind) => has_id |= kind != Kind::Null,
            _ => {}
        }
    }
    Ok(has_id && !has_content)
}
