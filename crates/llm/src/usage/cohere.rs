//! Cohere's usage: what it bills, which stands beside what its tokeniser counted.
//!
//! Source: Cohere's API reference, v2 chat, embed and rerank.

use super::{Usage, UsageError, counts, member};
use crate::json::{Kind, Value};

/// Reads `billed_units` out of `usage` (chat) or `meta` (embed, rerank). Images are counted beside
/// the text. Rankings are billed by search, not by token ([`search_units`]).
pub(crate) fn billed(value: &Value<'_>) -> Result<Option<Usage>, UsageError> {
    if value.kind != Kind::Object {
        return Err(UsageError::NotAnObject { field: "usage" });
    }
    let Some(units) = member(value.raw, "billed_units")? else {
        return Ok(None);
    };
    let names = ["input_tokens", "image_tokens", "output_tokens"];
    let [text, images, output] = counts("billed_units", names, &units)?;
    let usage = Usage {
        input_tokens: match (text, images) {
            (Some(text), Some(images)) => Some(text.saturating_add(images)),
            (text, images) => text.or(images),
        },
        image_input_tokens: images,
        output_tokens: output,
        ..Usage::default()
    };
    Ok((usage != Usage::default()).then_some(usage))
}

/// How many searches a ranking is billed as.
pub(super) fn search_units(meta: &Value<'_>) -> Result<Option<u64>, UsageError> {
    if meta.kind != Kind::Object {
        return Ok(None);
    }
    let Some(units) = member(meta.raw, "billed_units")? else {
        return Ok(None);
    };
    let [searches] = counts("billed_units", ["search_units"], &units)?;
    Ok(searches)
}
