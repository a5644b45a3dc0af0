//! A call of a tool in place of an answer to read, where `tool_choice` asks for one. The answer's text is its
//! only argument, so it has as many tokens; what makes JSON of it is free.

use serde_json::{Value, json};

use crate::demo_provider::call::Call;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::text::Answer;

const OPENING: &str = r#"{"text":""#;
const CLOSING: &str = r#""}"#;

/// The tool that is called.
#[derive(Clone)]
pub(super) struct ToolCall {
    id: String,
    name: String,
}

impl ToolCall {
    /// The call that the request asks for: of the tool that it names, or of its first one.
    ///
    /// # Errors
    /// A 400 when that tool is not among `tools`.
    pub(super) fn asked_for(call: &Call<'_>, fields: &Fields) -> Result<Option<Self>, Refusal> {
        let named = match fields.get("tool_choice") {
            Some(Value::Object(choice)) => {
                choice.get("function").and_then(|it| it["name"].as_str())
            }
            Some(Value::String(choice)) if choice == "required" => None,
            _ => return Ok(None),
        };
        let tools = fields.get("tools").and_then(Value::as_array);
        let names = tools.into_iter().flatten();
        let mut names = names.filter_map(|tool| tool.get("function")?.get("name")?.as_str());
        let found = match named {
            Some(named) => names.find(|name| *name == named),
            None => names.next(),
        };
        let name = found.ok_or_else(|| invalid("tool_choice", "must be one of `tools`"))?;
        Ok(Some(Self {
            id: call.id("call"),
            name: name.to_owned(),
        }))
    }

    /// The message that makes it.
    pub(super) fn message(&self, answer: &Answer) -> Value {
        let mut arguments = OPENING.to_owned();
        arguments.extend(answer.tokens.iter().map(|token| escaped(token)));
        arguments.push_str(closing(answer));
        json!({
            "role": "assistant", "content": null, "refusal": null,
            "tool_calls": [{
                "id": self.id, "type": "function",
                "function": {"name": self.name, "arguments": arguments},
            }],
        })
    }

    /// The first delta of a stream.
    pub(super) fn opening(&self) -> Value {
        json!({
            "role": "assistant", "content": null,
            "tool_calls": [{
                "index": 0, "id": self.id, "type": "function",
                "function": {"name": self.name, "arguments": OPENING},
            }],
        })
    }
}

/// The delta of a token.
pub(super) fn delta(token: &str) -> Value {
    arguments(&escaped(token))
}

/// The last delta.
pub(super) fn closing_delta(answer: &Answer) -> Value {
    arguments(closing(answer))
}

/// An answer that is cut short is cut short.
fn closing(answer: &Answer) -> &'static str {
    if answer.truncated { "" } else { CLOSING }
}

fn arguments(piece: &str) -> Value {
    json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
}

/// A text as it stands within a string of JSON.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inside = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inside.unwrap_or_default().to_owned()
}
