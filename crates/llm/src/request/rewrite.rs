//! The body to forward: the caller's bytes, with only the governed members changed, each at the
//! place where it was read. Everything else stays byte for byte, and nothing is parsed twice.

use std::ops::Range;

use super::{ModelSlot, Request, RequestError, UsageSlot};
use crate::json::push_string;
use crate::{Endpoint, multipart};

/// What to forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The new body; `None` when the caller's bytes can go on as they are.
    pub body: Option<Vec<u8>>,
    /// The provider was asked for a usage chunk that the caller did not ask for: it has to be taken
    /// out of the answer again ([`crate::ResponseMeter::new`]).
    pub usage_injected: bool,
    /// Where the bound of the output stands in the body to forward; empty: the caller gave none.
    pub output_slots: Vec<Range<usize>>,
}

/// The body with another bound of the output, which stands in these places
/// ([`Rewritten::output_slots`]).
pub fn cap_output(body: &[u8], slots: &[Range<usize>], tokens: u64) -> Vec<u8> {
    let edits: Vec<Edit> = slots
        .iter()
        .map(|slot| (slot.clone(), tokens.to_string()))
        .collect();
    splice(body, &edits)
}

/// Replace the bytes of a range.
type Edit = (Range<usize>, String);

impl Request<'_> {
    /// The body with this model, and, if it asks for a stream of completions, with
    /// `stream_options.include_usage` set: without it OpenAI does not say what a stream used. The
    /// caller's other `stream_options` stay; `fallbacks` goes.
    ///
    /// Fails when a form's boundary is such that the model's name cannot stand between two of them.
    pub fn rewrite(&self, model: &str) -> Result<Rewritten, RequestError> {
        let in_form = |body: Option<Vec<u8>>| {
            body.map(|body| Rewritten {
                body: Some(body),
                usage_injected: false,
                output_slots: Vec::new(),
            })
            .ok_or(RequestError::Invalid {
                field: "model",
                expected: "a name that does not hold the form's boundary",
            })
        };
        match &self.model_slot {
            ModelSlot::Part { boundary, part } if model != self.model => in_form(
                multipart::splice(boundary, self.body, part, model.as_bytes()),
            ),
            ModelSlot::NewPart { boundary } => in_form(multipart::prepend(
                boundary,
                self.body,
                "model",
                model.as_bytes(),
            )),
            ModelSlot::Part { .. } => Ok(Rewritten {
                body: None,
                usage_injected: false,
                output_slots: Vec::new(),
            }),
            ModelSlot::Json(_) | ModelSlot::NewMember { .. } | ModelSlot::InPath => {
                Ok(self.rewrite_json(model))
            }
        }
    }

    fn rewrite_json(&self, model: &str) -> Rewritten {
        let reports_only_when_asked = matches!(
            self.endpoint,
            Endpoint::ChatCompletions | Endpoint::Completions
        );
        let usage_injected =
            reports_only_when_asked && self.stream && self.include_usage != Some(true);
        let mut edits = Vec::with_capacity(3);
        edits.extend(self.model_edit(model));
        // They are for the gateway.
        let fallbacks = self.fallbacks_span.clone();
        edits.extend(fallbacks.map(|span| (span, String::new())));
        if usage_injected {
            edits.push(self.include_usage_edit());
        }
        // What is put in front of something comes before what replaces it.
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let body = (!edits.is_empty()).then(|| splice(self.body, &edits));
        let mut output_slots: Vec<Range<usize>> = self
            .output_slots
            .iter()
            .map(|slot| shifted(slot, &edits))
            .collect();
        output_slots.sort_by_key(|slot| slot.start);
        Rewritten {
            body,
            usage_injected,
            output_slots,
        }
    }

    fn model_edit(&self, model: &str) -> Option<Edit> {
        let mut text = String::with_capacity(model.len().saturating_add(16));
        match &self.model_slot {
            ModelSlot::Json(span) if model != self.model => {
                push_string(&mut text, model);
                Some((span.clone(), text))
            }
            ModelSlot::NewMember { at, empty } => {
                text.push_str("\"model\":");
                push_string(&mut text, model);
                if !empty {
                    text.push(',');
                }
                Some((*at..*at, text))
            }
            _ => None,
        }
    }

    fn include_usage_edit(&self) -> Edit {
        let (range, text) = match &self.usage_slot {
            // Never the only member: there is `stream`, or it would not be a stream.
            UsageSlot::NewMember(at) => (*at..*at, r#""stream_options":{"include_usage":true},"#),
            UsageSlot::InsteadOfNull(span) => (span.clone(), r#"{"include_usage":true}"#),
            UsageSlot::InObject { at, empty: true } => (*at..*at, r#""include_usage":true"#),
            UsageSlot::InObject { at, empty: false } => (*at..*at, r#""include_usage":true,"#),
            UsageSlot::Value(span) => (span.clone(), "true"),
        };
        (range, text.to_owned())
    }
}

/// Where a range is after edits that do not overlap with it.
fn shifted(range: &Range<usize>, edits: &[Edit]) -> Range<usize> {
    let before = edits.iter().filter(|(edit, _)| edit.end <= range.start);
    let (removed, added) = before.fold((0_usize, 0_usize), |(removed, added), (edit, text)| {
        (
            removed.saturating_add(edit.len()),
            added.saturating_add(text.len()),
        )
    });
    let shift = |at: usize| at.saturating_add(added).saturating_sub(removed);
    shift(range.start)..shift(range.end)
}

/// Applies edits that are in order and do not overlap. The ranges were read from this very body, so
/// each slice exists; `unwrap_or_default` only spares a panic that cannot happen.
fn splice(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let added = edits
        .iter()
        .fold(0_usize, |sum, (_, text)| sum.saturating_add(text.len()));
    let mut spliced = Vec::with_capacity(body.len().saturating_add(added));
    let mut done = 0;
    for (range, replacement) in edits {
        spliced.extend_from_slice(body.get(done..range.start).unwrap_or_default());
        spliced.extend_from_slice(replacement.as_bytes());
        done = range.end;
    }
    spliced.extend_from_slice(body.get(done..).unwrap_or_default());
    spliced
}
