//! How much generated text a value holds.

use crate::Endpoint;
use crate::json::{Text, Token, Tokens, Value};

/// Members whose string is generated text, at whatever depth they stand in an event.
const TEXTS: [&str; 13] = [
    "content",
    "text",
    "arguments",
    "partial_json",
    "thinking",
    "refusal",
    "reasoning",
    "reasoning_content",
    // What is said aloud, at OpenAI.
    "transcript",
    // At Cohere.
    "tool_plan",
    // What tools get to run and what comes of it, at Gemini.
    "code",
    "output",
    // The arguments of a tool, at Bedrock.
    "input",
];

/// The member whose object, as it is written, is generated text: the arguments of a tool, at Gemini.
const ARGUMENTS: &str = "args";

/// Brackets open around the members of a choice.
const IN_A_CHOICE: u32 = 2;

/// What the value of a member is.
#[derive(Clone, Copy)]
enum Member {
    Text,
    Arguments,
    /// Text that was counted before.
    Old,
    Other,
}

/// Bytes of generated text in a value.
pub(super) fn length(value: &Value<'_>) -> usize {
    sum(value, |_, _| false)
}

/// Bytes of generated text in the choices of a chunk. What stands beside the new text (all that was
/// said so far, at Perplexity; logarithms of probabilities) does not count.
pub(super) fn length_of_choices(choices: &Value<'_>, endpoint: Endpoint) -> usize {
    let new = match endpoint {
        Endpoint::Completions => "text",
        _ => "delta",
    };
    sum(choices, |depth, name| depth == IN_A_CHOICE && !name.is(new))
}

/// The value has been scanned before, so it has no errors left.
fn sum(value: &Value<'_>, is_old: impl Fn(u32, Text<'_>) -> bool) -> usize {
    let mut tokens = Tokens::new(value.raw);
    let mut length = 0_usize;
    let mut member = Member::Other;
    while let Ok(Some(token)) = tokens.read() {
        let start = tokens.token_start();
        match (std::mem::replace(&mut member, Member::Other), token) {
            (_, Token::Key(name)) => {
                member = if is_old(tokens.depth(), name) {
                    Member::Old
                } else if TEXTS.iter().any(|text| name.is(text)) {
                    Member::Text
                } else if name.is(ARGUMENTS) {
                    Member::Arguments
                } else {
                    Member::Other
                };
            }
            (Member::Text, Token::String(text)) => {
                length = length.saturating_add(text.decoded_len());
            }
            (member @ (Member::Arguments | Member::Old), first) => {
                if tokens.skip_rest_of(first).is_err() {
                    break;
                }
                if matches!(member, Member::Arguments) {
                    length = length.saturating_add(tokens.offset().saturating_sub(start));
                }
            }
            _ => {}
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::members;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn in_value(text: &str, length: impl Fn(&Value<'_>) -> usize) -> usize {
        let object = format!("{{\"a\":{text}}}");
        length(&members(&object).next().unwrap().unwrap().value)
    }

    #[test]
    fn text_counts_wherever_it_stands_and_what_names_it_does_not() {
        for (value, expected) in [
            (r#"{"text":"abc"}"#, 3),
            (r#"[{"content":[{"thinking":"abc"},{"text":"\u00e9"}]}]"#, 5),
            (r#"{"role":"assistant","content":null,"id":"x"}"#, 0),
            (r#"{"text":{"id":"abc"},"b":"abc"}"#, 0),
            (r#"{"functionCall":{"name":"f","args":{"id":"x"}}}"#, 10),
            (r#"{"args":{"text":"abc"},"text":"d"}"#, 14 + 1),
            (r#""abc""#, 0),
        ] {
            assert_eq!(in_value(value, length), expected, "{value}");
        }
    }

    #[test]
    fn of_a_choice_only_what_is_new_counts() {
        let chat = |value| {
            in_value(value, |value| {
                length_of_choices(value, Endpoint::ChatCompletions)
            })
        };
        for (choices, expected) in [
            (
                r#"[{"delta":{"content":"ab","text":"c"}},{"delta":{"refusal":"d"}}]"#,
                4,
            ),
            (
                r#"[{"message":{"content":"ab"},"delta":{"content":"b"},"text":"b"}]"#,
                1,
            ),
            (r#"[{"logprobs":{"content":[{"text":"b"}]},"delta":{}}]"#, 0),
            (r#"[{"delta":{"message":{"content":"ab"}}}]"#, 2),
            ("[]", 0),
        ] {
            assert_eq!(chat(choices), expected, "{choices}");
        }
        let completions = |value: &Value<'_>| length_of_choices(value, Endpoint::Completions);
        assert_eq!(
            in_value(r#"[{"text":"ab","delta":{"text":"c"}}]"#, completions),
            2
        );
    }
}
