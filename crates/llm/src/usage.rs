//! What a response says it used, brought to one meaning for all vendors.

use crate::Endpoint;
use crate::json::{self, JsonError, Kind, Value};

/// A count beyond this is no count: a trillion tokens is more than any model reads.
const MAX_COUNT: u64 = 1 << 40;

/// Tokens used by one response. `None` means that the provider did not say, which is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit belongs into the name")]
pub struct Usage {
    /// Input that came from no cache and went into none.
    pub input_tokens: Option<u64>,
    /// Input read from the provider's prompt cache.
    pub cache_read_tokens: Option<u64>,
    /// Input written to the provider's prompt cache.
    pub cache_write_tokens: Option<u64>,
    /// Output, reasoning included.
    pub output_tokens: Option<u64>,
    /// The part of the output that was reasoning.
    pub reasoning_tokens: Option<u64>,
}

impl Usage {
    /// All tokens, in and out; unknown ones count as none.
    pub fn total_tokens(&self) -> u64 {
        [
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.output_tokens,
        ]
        .into_iter()
        .flatten()
        .fold(0, u64::saturating_add)
    }

    /// Is everything there that a bill for this API needs?
    pub fn is_complete_for(&self, endpoint: Endpoint) -> bool {
        let has_output = self.output_tokens.is_some() || endpoint == Endpoint::Embeddings;
        self.input_tokens.is_some() && has_output
    }

    /// Takes in a later report of the same stream. Counts in a stream are cumulative, so the larger
    /// one is the later one, whichever events a provider repeats them in.
    pub(crate) fn update(&mut self, later: &Self) {
        // `None` is smaller than any count.
        self.input_tokens = self.input_tokens.max(later.input_tokens);
        self.cache_read_tokens = self.cache_read_tokens.max(later.cache_read_tokens);
        self.cache_write_tokens = self.cache_write_tokens.max(later.cache_write_tokens);
        self.output_tokens = self.output_tokens.max(later.output_tokens);
        self.reasoning_tokens = self.reasoning_tokens.max(later.reasoning_tokens);
    }
}

/// Why reported usage cannot be billed. None of these counts as zero: the reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// The response is not JSON, or says something twice.
    #[error("the response is not acceptable JSON: {0}")]
    Json(#[from] JsonError),
    /// `usage`, or an object in it, is something else than an object.
    #[error("`{field}` is not an object")]
    NotAnObject {
        /// The member.
        field: &'static str,
    },
    /// Negative, fractional, a string, or beyond 2^40.
    #[error("`{field}` is not a plausible token count")]
    NotACount {
        /// The member.
        field: &'static str,
    },
    /// A part is larger than its whole.
    #[error("`{field}` is larger than the count it is part of")]
    Inconsistent {
        /// The part.
        field: &'static str,
    },
    /// The response is longer than [`crate::MAX_BODY_BYTES`].
    #[error("the response is too long to be read")]
    TooLong,
}

/// Reads the usage of a response that is one JSON document. `Ok(None)`: it reports none.
pub fn read_usage(endpoint: Endpoint, body: &[u8]) -> Result<Option<Usage>, UsageError> {
    let usage = member(json::document(body)?, "usage")?;
    usage.map_or(Ok(None), |usage| parse(endpoint, &usage))
}

/// The member of that name, with the whole object checked.
pub(crate) fn member<'a>(object: &'a str, name: &str) -> Result<Option<Value<'a>>, JsonError> {
    let mut found = None;
    for member in json::members(object) {
        let member = member?;
        if member.key == name {
            found = Some(member.value);
        }
    }
    Ok(found)
}

/// Reads a `usage` value as this API defines it; `null` is none.
pub(crate) fn parse(endpoint: Endpoint, value: &Value<'_>) -> Result<Option<Usage>, UsageError> {
    if value.kind == Kind::Null {
        return Ok(None);
    }
    let usage = match endpoint {
        Endpoint::ChatCompletions | Endpoint::Embeddings => openai(value, &CHAT)?,
        Endpoint::Responses => openai(value, &RESPONSES)?,
        Endpoint::Messages => anthropic(value)?,
    };
    Ok(Some(usage))
}

/// What OpenAI calls the same five things in two APIs.
struct Names {
    input: &'static str,
    output: &'static str,
    input_details: &'static str,
    output_details: &'static str,
}

const CHAT: Names = Names {
    input: "prompt_tokens",
    output: "completion_tokens",
    input_details: "prompt_tokens_details",
    output_details: "completion_tokens_details",
};

const RESPONSES: Names = Names {
    input: "input_tokens",
    output: "output_tokens",
    input_details: "input_tokens_details",
    output_details: "output_tokens_details",
};

/// Cached tokens are part of the input here, and are taken out of it.
fn openai(value: &Value<'_>, names: &Names) -> Result<Usage, UsageError> {
    let [mut input, mut output, mut total, mut cached, mut reasoning] = [None; 5];
    for member in object("usage", value)? {
        let member = member?;
        match &*member.key {
            key if key == names.input => input = count(names.input, &member.value)?,
            key if key == names.output => output = count(names.output, &member.value)?,
            "total_tokens" => total = count("total_tokens", &member.value)?,
            key if key == names.input_details => {
                cached = detail(names.input_details, "cached_tokens", &member.value)?;
            }
            key if key == names.output_details => {
                reasoning = detail(names.output_details, "reasoning_tokens", &member.value)?;
            }
            _ => {}
        }
    }
    // Some compatible providers report reasoning in the total only, and bill for it.
    if let (Some(prompt), Some(visible), Some(total)) = (input, output, total) {
        output = Some(visible.max(total.saturating_sub(prompt)));
    }
    let uncached = input.map(|input| {
        let cached = cached.unwrap_or(0);
        input.checked_sub(cached).ok_or(UsageError::Inconsistent {
            field: "cached_tokens",
        })
    });
    if output.is_some() && reasoning > output {
        return Err(UsageError::Inconsistent {
            field: "reasoning_tokens",
        });
    }
    Ok(Usage {
        input_tokens: uncached.transpose()?,
        cache_read_tokens: cached,
        cache_write_tokens: None,
        output_tokens: output,
        reasoning_tokens: reasoning,
    })
}

/// Cached tokens are counted beside the input here.
fn anthropic(value: &Value<'_>) -> Result<Usage, UsageError> {
    let mut usage = Usage::default();
    for member in object("usage", value)? {
        let member = member?;
        let (field, place) = match &*member.key {
            "input_tokens" => ("input_tokens", &mut usage.input_tokens),
            "output_tokens" => ("output_tokens", &mut usage.output_tokens),
            "cache_read_input_tokens" => ("cache_read_input_tokens", &mut usage.cache_read_tokens),
            "cache_creation_input_tokens" => {
                ("cache_creation_input_tokens", &mut usage.cache_write_tokens)
            }
            _ => continue,
        };
        *place = count(field, &member.value)?;
    }
    Ok(usage)
}

fn object<'a>(field: &'static str, value: &Value<'a>) -> Result<json::Members<'a>, UsageError> {
    if value.kind == Kind::Object {
        Ok(value.members())
    } else {
        Err(UsageError::NotAnObject { field })
    }
}

fn detail(
    details: &'static str,
    field: &'static str,
    value: &Value<'_>,
) -> Result<Option<u64>, UsageError> {
    if value.kind == Kind::Null {
        return Ok(None);
    }
    let mut found = None;
    for member in object(details, value)? {
        let member = member?;
        if member.key == field {
            found = count(field, &member.value)?;
        }
    }
    Ok(found)
}

fn count(field: &'static str, value: &Value<'_>) -> Result<Option<u64>, UsageError> {
    if value.kind == Kind::Null {
        return Ok(None);
    }
    let count = value.as_u64().filter(|&count| count <= MAX_COUNT);
    count.map(Some).ok_or(UsageError::NotACount { field })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn chat(usage: &str) -> Result<Option<Usage>, UsageError> {
        let body = format!("{{\"choices\":[],\"usage\":{usage}}}");
        read_usage(Endpoint::ChatCompletions, body.as_bytes())
    }

    #[test]
    fn counts_that_are_no_counts_are_an_error_and_never_zero() {
        for bad in [
            "-1",
            "1.0",
            "1e3",
            "\"5\"",
            "true",
            "[]",
            "{}",
            "1099511627777",
            "1e999",
        ] {
            let answer = chat(&format!(
                "{{\"prompt_tokens\":{bad},\"completion_tokens\":1}}"
            ));
            assert!(answer.is_err(), "{bad}: {answer:?}");
        }
        let largest = chat(r#"{"prompt_tokens":1099511627776,"completion_tokens":0}"#);
        assert_eq!(largest.unwrap().unwrap().input_tokens, Some(1 << 40));
    }

    #[test]
    fn absent_and_null_counts_are_unknown_not_zero() {
        assert_eq!(chat("null"), Ok(None));
        assert_eq!(chat("{}"), Ok(Some(Usage::default())));
        let partial = chat(r#"{"prompt_tokens":5,"completion_tokens":null}"#)
            .unwrap()
            .unwrap();
        assert_eq!(partial.input_tokens, Some(5));
        assert_eq!(partial.output_tokens, None);
        assert!(!partial.is_complete_for(Endpoint::ChatCompletions));
        assert!(partial.is_complete_for(Endpoint::Embeddings));
    }

    #[test]
    fn usage_said_twice_is_refused() {
        let body = br#"{"usage":{"prompt_tokens":9,"completion_tokens":9},"usage":{}}"#;
        assert!(read_usage(Endpoint::ChatCompletions, body).is_err());
        assert!(chat(r#"{"prompt_tokens":9,"prompt_tokens":1}"#).is_err());
        assert!(
            chat(r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":1,"cached_tokens":9}}"#)
                .is_err()
        );
    }

    #[test]
    fn a_part_cannot_be_larger_than_its_whole() {
        let cached = r#"{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":6}}"#;
        assert_eq!(
            chat(cached),
            Err(UsageError::Inconsistent {
                field: "cached_tokens"
            })
        );
        let reasoning =
            r#"{"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":6}}"#;
        assert_eq!(
            chat(reasoning),
            Err(UsageError::Inconsistent {
                field: "reasoning_tokens"
            })
        );
    }

    #[test]
    fn reasoning_that_only_the_total_shows_is_output() {
        let usage = chat(
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":40,
                "completion_tokens_details":{"reasoning_tokens":25}}"#,
        );
        let usage = usage.unwrap().unwrap();
        assert_eq!(
            (usage.output_tokens, usage.reasoning_tokens),
            (Some(30), Some(25))
        );
        assert_eq!(usage.total_tokens(), 40);
    }

    #[test]
    fn usage_that_is_not_an_object_is_an_error() {
        for bad in ["7", "\"7\"", "[]", "true"] {
            assert_eq!(chat(bad), Err(UsageError::NotAnObject { field: "usage" }));
        }
        assert!(chat(r#"{"prompt_tokens_details":7}"#).is_err());
    }

    #[test]
    fn only_the_top_level_usage_is_believed() {
        let body = br#"{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":1}",
            "usage":{"prompt_tokens":1,"completion_tokens":1}}}],"metadata":{"usage":{}}}"#;
        assert_eq!(read_usage(Endpoint::ChatCompletions, body), Ok(None));
    }

    #[test]
    fn the_sum_of_all_tokens_does_not_overflow() {
        let usage = Usage {
            input_tokens: Some(u64::MAX),
            output_tokens: Some(1),
            ..Usage::default()
        };
        assert_eq!(usage.total_tokens(), u64::MAX);
    }
}
