//! The prompt of a request: what is counted as input, and what the answer quotes.
//!
//! Texts count as they are; anything else that a model would read (an image, a tool's definition,
//! a tool's result) counts as the JSON it was sent as. Roles and other framing are free.

use serde_json::Value;

use super::text;

/// A prompt, read piece by piece.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    /// Its size by the rule of `text.rs`.
    pub(super) tokens: u64,
    /// Its last text.
    pub(super) last_text: String,
}

impl Prompt {
    /// Adds what the conversation says: a text, a message, a part of one, or a list of those.
    pub(super) fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.count(text);
                self.last_text.clone_from(text);
            }
            Value::Array(list) => list.iter().for_each(|value| self.add(value)),
            Value::Object(part) => match (part.get("text"), part.get("content")) {
                (Some(text @ Value::String(_)), _) => self.add(text),
                (_, Some(content)) => {
                    self.add(content);
                    self.add_verbatim(part.get("tool_calls"));
                }
                _ => self.count(&value.to_string()),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Adds something that is not conversation, such as the definitions of tools.
    pub(super) fn add_verbatim(&mut self, value: Option<&Value>) {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            self.count(&value.to_string());
        }
    }

    fn count(&mut self, text: &str) {
        self.tokens = self.tokens.saturating_add(text::count(text));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Prompt {
        let mut prompt = Prompt::default();
        prompt.add(value);
        prompt
    }

    #[test]
    fn every_message_counts_and_the_last_text_is_quoted() {
        let prompt = read(&json!([
            {"role": "system", "content": "be kind."},
            {"role": "user", "content": [{"type": "text", "text": "12345"}, {"type": "text", "text": "hi"}]},
        ]));
        assert_eq!(
            prompt,
            Prompt {
                tokens: 2 + 2 + 1,
                last_text: "hi".to_owned()
            }
        );
    }

    #[test]
    fn a_part_without_text_counts_as_its_json() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:,"}});
        assert_eq!(read(&image).tokens, text::count(&image.to_string()));
    }

    #[test]
    fn calls_of_tools_count_beside_an_absent_content() {
        let calls = json!([{"id": "1", "function": {"name": "f", "arguments": "{}"}}]);
        let prompt = read(&json!({"role": "assistant", "content": null, "tool_calls": calls}));
        assert_eq!(prompt.tokens, text::count(&calls.to_string()));
    }
}
