use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn chat(usage: &str) -> Result<Option<Usage>, UsageError> {
    let body = format!("{{\"choices\":[],\"usage\":{usage}}}");
    read_usage(Endpoint::ChatCompletions, body.as_bytes())
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
    let reasoning = r#"{"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":6}}"#;
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
