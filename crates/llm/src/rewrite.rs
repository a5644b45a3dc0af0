//! The body to forward: the caller's bytes, with only the governed members changed, each at the
//! place where it was read. Everything else stays byte for byte, and nothing is parsed twice.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::push_string;
use crate::request::UsageSlot;
use crate::{Endpoint, Request};

/// What to forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The new body; `None` when the caller's bytes can go on as they are.
    pub body: Option<Vec<u8>>,
    /// The provider was asked for a usage chunk that the caller did not ask for: give this to
    /// [`crate::StreamMeter::new`], which takes the chunk out again.
    pub usage_injected: bool,
}

/// Replace the bytes of a range.
type Edit<'a> = (Range<usize>, Cow<'a, str>);

impl Request<'_> {
    /// The body with this model, and, if it asks Chat Completions for a stream, with
    /// `stream_options.include_usage` set: without it OpenAI does not say what a stream used. The
    /// caller's other `stream_options` stay.
    pub fn rewrite(&self, model: &str) -> Rewritten {
        let usage_injected = self.endpoint == Endpoint::ChatCompletions
            && self.stream
            && self.include_usage != Some(true);
        let mut edits = Vec::with_capacity(2);
        if model != self.model {
            let mut quoted = String::with_capacity(model.len() + 2);
            push_string(&mut quoted, model);
            edits.push((self.model_span.clone(), Cow::Owned(quoted)));
        }
        if usage_injected {
            edits.push(self.include_usage_edit());
        }
        edits.sort_by_key(|(range, _)| range.start);
        let body = (!edits.is_empty()).then(|| splice(self.text, &edits));
        Rewritten {
            body,
            usage_injected,
        }
    }

    fn include_usage_edit(&self) -> Edit<'static> {
        match &self.usage_slot {
            // Never the only member, since `model` is required: the comma is always right.
            UsageSlot::NewMember(at) => (
                *at..*at,
                Cow::Borrowed(r#""stream_options":{"include_usage":true},"#),
            ),
            UsageSlot::InsteadOfNull(span) => {
                (span.clone(), Cow::Borrowed(r#"{"include_usage":true}"#))
            }
            UsageSlot::InObject { at, empty: true } => {
                (*at..*at, Cow::Borrowed(r#""include_usage":true"#))
            }
            UsageSlot::InObject { at, empty: false } => {
                (*at..*at, Cow::Borrowed(r#""include_usage":true,"#))
            }
            UsageSlot::Value(span) => (span.clone(), Cow::Borrowed("true")),
        }
    }
}

/// Applies edits that are in order and do not overlap. The ranges were read from this very text, so
/// each slice exists; `unwrap_or_default` only spares a panic that cannot happen.
fn splice(text: &str, edits: &[Edit<'_>]) -> Vec<u8> {
    let added: usize = edits.iter().map(|(_, replacement)| replacement.len()).sum();
    let mut spliced = Vec::with_capacity(text.len() + added);
    let mut done = 0;
    for (range, replacement) in edits {
        spliced.extend_from_slice(text.get(done..range.start).unwrap_or_default().as_bytes());
        spliced.extend_from_slice(replacement.as_bytes());
        done = range.end;
    }
    spliced.extend_from_slice(text.get(done..).unwrap_or_default().as_bytes());
    spliced
}
