//! As `json_request`, for bodies that are put together from members that mean something, in the
//! spellings that JSON has for them, so that most of them are accepted or nearly so.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use reeve_fuzz::requests;
use reeve_llm::{BodyKind, Endpoint};

/// What decides something in some dialect, and two that decide nothing.
const NAMES: [&str; 35] = [
    "model",
    "stream",
    "stream_options",
    "include_usage",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "n",
    "best_of",
    "prompt",
    "tools",
    "background",
    "previous_response_id",
    "generationConfig",
    "generation_config",
    "candidateCount",
    "candidate_count",
    "generateContentRequest",
    "generate_content_request",
    "requests",
    "cachedContent",
    "modelId",
    "inferenceConfig",
    "maxTokens",
    "additionalModelRequestFields",
    "num_generations",
    "numResults",
    "messages",
    "input",
    "api_key",
    "provider",
    "fallbacks",
    "temperature",
    "type",
];
const TEXTS: [&str; 7] = [
    "gpt-4o",
    "mistral.large:0",
    "models/mistral.large:0",
    "",
    "\u{1F600}\n\"\\",
    "m",
    "openai/gpt-4o",
];
const NUMBERS: [&str; 10] = [
    "0",
    "1",
    "2",
    "128",
    "129",
    "4294967295",
    "4294967296",
    "-1",
    "1.0",
    "1e2",
];
const SPACES: [&str; 5] = ["", "", " ", "\n\t", "\r\n "];

fuzz_target!(|data: &[u8]| {
    let mut choices = Unstructured::new(data);
    let mut body = String::new();
    let Ok(endpoint) = choices.choose_iter(Endpoint::ALL) else {
        return;
    };
    if endpoint.body() == BodyKind::Json && push_object(&mut choices, &mut body, 0).is_ok() {
        requests::check_json(endpoint, body.as_bytes());
    }
});

fn push_object(choices: &mut Unstructured<'_>, json: &mut String, depth: u32) -> Result<()> {
    push_space(choices, json)?;
    json.push('{');
    for index in 0..choices.int_in_range(0..=6)? {
        if index > 0 {
            json.push(',');
        }
        push_space(choices, json)?;
        let name = choices.choose(&NAMES)?;
        push_string(choices, json, name)?;
        push_space(choices, json)?;
        json.push(':');
        push_value(choices, json, depth)?;
    }
    push_space(choices, json)?;
    json.push('}');
    push_space(choices, json)
}

fn push_value(choices: &mut Unstructured<'_>, json: &mut String, depth: u32) -> Result<()> {
    push_space(choices, json)?;
    match choices.int_in_range(0..=7)? {
        0 | 1 => {
            let text = choices.choose(&TEXTS)?;
            push_string(choices, json, text)?;
        }
        2 => json.push_str(choices.choose(&NUMBERS)?),
        3 => json.push_str(choices.choose(&["true", "false", "null"])?),
        4 if depth < 3 => push_object(choices, json, depth + 1)?,
        5 if depth < 3 => {
            json.push('[');
            for index in 0..choices.int_in_range(0..=3)? {
                if index > 0 {
                    json.push(',');
                }
                push_value(choices, json, depth + 1)?;
            }
            json.push(']');
        }
        _ => json.push_str("{}"),
    }
    push_space(choices, json)
}

/// A string, with some of its characters escaped in one of the ways there are.
fn push_string(choices: &mut Unstructured<'_>, json: &mut String, text: &str) -> Result<()> {
    json.push('"');
    let escaped: u64 = choices.arbitrary()?;
    for (index, character) in text.chars().enumerate() {
        let is_escaped = index < 64 && escaped >> index & 1 == 1;
        let must_be = character < ' ' || matches!(character, '"' | '\\');
        if is_escaped || must_be {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let upper = escaped >> 63 == 1;
                json.push_str(&if upper {
                    format!("\\u{unit:04X}")
                } else {
                    format!("\\u{unit:04x}")
                });
            }
        } else {
            json.push(character);
        }
    }
    json.push('"');
    Ok(())
}

fn push_space(choices: &mut Unstructured<'_>, json: &mut String) -> Result<()> {
    json.push_str(choices.choose(&SPACES)?);
    Ok(())
}
