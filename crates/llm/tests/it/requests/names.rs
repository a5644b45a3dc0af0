//! R-25: governed names, and the names that resemble them.

use reeve_llm::json::JsonError;
use reeve_llm::{Endpoint, RequestError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{body_with, chat, error_of, error_with, flat_apis, json_apis, read};

/// Governed names, each in the object that it is governed in: `@` stands for members of that object.
const GOVERNED: [(Endpoint, &str, &[&str]); 11] = {
    use Endpoint::*;
    [
        (
            ChatCompletions,
            "{@}",
            &[
                "model",
                "messages",
                "stream",
                "stream_options",
                "max_tokens",
                "max_completion_tokens",
                "n",
                "tools",
            ],
        ),
        (
            ChatCompletions,
            r#"{"model":"m","stream_options":{@}}"#,
            &["include_usage"],
        ),
        (Completions, "{@}", &["model", "prompt", "best_of"]),
        (
            Responses,
            "{@}",
            &[
                "model",
                "input",
                "instructions",
                "max_output_tokens",
                "previous_response_id",
                "conversation",
                "background",
                "prompt",
            ],
        ),
        (
            Messages,
            "{@}",
            &["model", "system", "messages", "max_tokens"],
        ),
        (CohereRerank, "{@}", &["model", "query", "documents"]),
        (CohereEmbed, "{@}", &["model", "texts"]),
        (
            GenerateContent,
            "{@}",
            &[
                "model",
                "contents",
                "systemInstruction",
                "generationConfig",
                "tools",
                "cachedContent",
            ],
        ),
        (
            GenerateContent,
            r#"{"generationConfig":{@}}"#,
            &["maxOutputTokens", "candidateCount", "routingConfig"],
        ),
        (
            Converse,
            "{@}",
            &[
                "model",
                "modelId",
                "messages",
                "system",
                "inferenceConfig",
                "toolConfig",
                "additionalModelRequestFields",
            ],
        ),
        (Converse, r#"{"inferenceConfig":{@}}"#, &["maxTokens"]),
    ]
};

/// Names that some parser takes for this one, as they are written in JSON. Not those in other
/// escapes, which all parsers take for it.
fn disguises(name: &str) -> Vec<String> {
    let (first, rest) = name.split_at(1);
    let code = u32::from(name.as_bytes()[0]);
    let full_width = char::from_u32(code + 0xFEE0).unwrap();
    let mut disguises = vec![
        name.to_uppercase(),
        format!("{}{rest}", first.to_uppercase()),
        format!(
            "\\u{:04x}{rest}",
            u32::from(first.to_uppercase().as_bytes()[0])
        ),
        format!("_{name}"),
        format!("{name}-"),
        format!("{first}.{rest}"),
        format!("{full_width}{rest}"),
        format!("\\u{:04x}{rest}", u32::from(full_width)),
        format!("{name}\\u0000"),
        format!("\\u0000{name}"),
        format!("{name} "),
        format!("{name}\\t"),
        format!("{name}\\u00a0"),
        format!("\\ufeff{name}"),
        format!("{first}\\u200b{rest}"),
        format!("{name}\\u0301"),
        // Cyrillic and other letters that look like ours, or fold to them.
        name.replace('e', "\u{435}"),
        name.replace('o', "\u{43E}"),
        name.replace('s', "\u{17F}"),
        name.replace('k', "\u{212A}"),
        name.replace('i', "\u{131}"),
    ];
    disguises.retain(|disguise| disguise != name);
    disguises
}

/// Each letter as `\u00XX`.
fn in_escapes(text: &str) -> String {
    let letters = text.bytes().map(|byte| format!("\\u00{byte:02x}"));
    letters.collect::<Vec<_>>().concat()
}

/// R-25
#[test]
fn a_governed_name_is_refused_in_every_disguise() {
    for (endpoint, object, names) in GOVERNED {
        for name in names {
            for disguise in disguises(name) {
                for member in [format!("\"{disguise}\":1"), format!("\"{disguise}\":null")] {
                    let body = object.replace('@', &member);
                    let error = error_of(endpoint, &body);
                    assert!(
                        error == RequestError::MemberName
                            || matches!(error, RequestError::Ambiguous { field } if field == *name),
                        "{body}: {error:?}"
                    );
                }
            }
        }
    }
}

/// R-25
#[test]
fn a_governed_name_twice_is_refused_however_it_is_escaped() {
    for (endpoint, object, names) in GOVERNED {
        for name in names {
            let (first, rest) = name.split_at(1);
            let code = u32::from(name.as_bytes()[0]);
            for second in [
                (*name).to_owned(),
                format!("\\u{code:04x}{rest}"),
                format!("\\u{code:04X}{rest}"),
                format!("{first}{}", in_escapes(rest)),
            ] {
                for members in [
                    format!("\"{name}\":null,\"{second}\":null"),
                    format!("\"{second}\":null,\"x\":[],\"{name}\":null"),
                ] {
                    let body = object.replace('@', &members);
                    let error = error_of(endpoint, &body);
                    let twice =
                        matches!(error, RequestError::Json(JsonError::DuplicateMember { .. }));
                    // A model that is `null` is refused before its second one is seen.
                    let is_model = error.field() == Some("model");
                    assert!(twice || is_model, "{body}: {error:?}");
                }
            }
        }
    }
    for endpoint in flat_apis() {
        let error = error_with(endpoint, r#""\u006dodel":"other""#);
        assert!(
            matches!(error, RequestError::Json(JsonError::DuplicateMember { .. })),
            "{endpoint:?} {error:?}"
        );
    }
}

/// R-25: a second model behind nine megabytes.
#[test]
fn a_second_model_is_found_however_far_away_it_is() {
    let content = "x".repeat(9 << 20);
    for second in ["model", "\\u006dodel", "Model", "model\\u0000"] {
        let body = format!("{{\"model\":\"m\",\"messages\":\"{content}\",\"{second}\":\"o1\"}}");
        assert!(chat(&body).is_err(), "{second}");
    }
}

/// R-25
#[test]
fn no_name_may_stand_twice_in_any_object_of_any_body() {
    for endpoint in json_apis() {
        for members in [
            r#""seed":1,"seed":2"#,
            r#""seed":1,"\u0073eed":2"#,
            r#""a":{"b":1,"b":2}"#,
            r#""a":[[{"b":{"c":1,"\u0063":2}}]]"#,
        ] {
            let error = error_with(endpoint, members);
            assert!(
                matches!(error, RequestError::Json(JsonError::DuplicateMember { .. })),
                "{endpoint:?} {members}: {error:?}"
            );
        }
    }
}

/// Protobuf's JSON has two spellings for a name.
#[test]
fn gemini_takes_a_name_in_one_of_its_two_spellings_and_not_in_both() {
    for (object, camel, snake) in [
        ("{@}", "generationConfig", "generation_config"),
        ("{@}", "systemInstruction", "system_instruction"),
        ("{@}", "cachedContent", "cached_content"),
        (
            r#"{"generationConfig":{@}}"#,
            "maxOutputTokens",
            "max_output_tokens",
        ),
        (
            r#"{"generation_config":{@}}"#,
            "candidateCount",
            "candidate_count",
        ),
        (
            r#"{"generateContentRequest":{@}}"#,
            "cachedContent",
            "cached_content",
        ),
    ] {
        let endpoint = Endpoint::CountTokens;
        for one in [camel, snake] {
            let body = object.replace('@', &format!("\"{one}\":null"));
            assert!(read(endpoint, &body).is_ok(), "{body}");
        }
        for members in [
            format!("\"{camel}\":null,\"{snake}\":null"),
            format!("\"{snake}\":null,\"{camel}\":null"),
        ] {
            let body = object.replace('@', &members);
            assert_eq!(
                error_of(endpoint, &body),
                RequestError::TwoSpellings { field: camel },
                "{body}"
            );
        }
    }
}

/// R-25: the value of `model`.
#[test]
fn the_model_is_a_string_of_known_characters_and_compared_as_it_is() {
    let longest = "m".repeat(160);
    let too_long = "m".repeat(161);
    for endpoint in flat_apis() {
        for bad in [
            "null",
            "1",
            "1.5",
            "true",
            "[\"gpt-4o\"]",
            "{\"a\":1}",
            "\"\"",
            "\"gpt 4o\"",
            "\" gpt-4o\"",
            "\"gpt-4o \"",
            "\"g\u{440}t-4o\"",
            "\"\u{FF47}pt-4o\"",
            "\"gpt-4o\\n\"",
            "\"gpt-4o\\u0000\"",
            "\"gpt-4o\\u200b\"",
            "\"a;b\"",
            "\"a%2Fb\"",
            "\"a\\\\b\"",
            "\"a,b\"",
            "\"..\"",
            "\"azure/..\"",
            "\"./llama\"",
            &format!("\"{too_long}\""),
        ] {
            let error = error_of(endpoint, &format!("{{\"model\":{bad}}}"));
            assert!(
                matches!(error, RequestError::Invalid { field: "model", .. }),
                "{endpoint:?} {bad}: {error}"
            );
        }
    }
    // Not folded, not trimmed: these are names of their own, which policy compares byte by byte.
    for good in [
        "gpt-4o",
        "GPT-4o",
        "gpt-4o.",
        "gpt-4o-",
        "ft:gpt-4o:org::id",
        "@cf/meta/llama-3.1",
        "a+b_c",
        "/models/llama",
        &longest,
    ] {
        let body = format!("{{\"model\":\"{good}\"}}");
        assert_eq!(chat(&body).unwrap().model, good);
    }
    assert_eq!(chat(r#"{"model":"gpt\u002d4o"}"#).unwrap().model, "gpt-4o");
}

#[test]
fn other_members_may_have_any_name_that_resembles_none() {
    for endpoint in json_apis() {
        for name in [
            "temperature",
            "modeler",
            "top_p",
            "max_token",
            "x-y.z",
            "metadata",
            "user",
            "N2",
        ] {
            let body = body_with(
                endpoint,
                &format!("\"{name}\":{{\"Model\":1,\"\u{e9}\":2}}"),
            );
            assert!(read(endpoint, &body).is_ok(), "{endpoint:?} {name}");
        }
    }
}
