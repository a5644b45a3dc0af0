//! The body that is forwarded.

use reeve_llm::{Endpoint, Request};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The forwarded body (unchanged or not), and whether usage was injected.
fn rewrite(endpoint: Endpoint, body: &str, model: &str) -> (String, bool) {
    let rewritten = Request::read(endpoint, body.as_bytes())
        .unwrap()
        .rewrite(model);
    let bytes = rewritten.body.unwrap_or_else(|| body.as_bytes().to_vec());
    (String::from_utf8(bytes).unwrap(), rewritten.usage_injected)
}

fn chat(body: &str, model: &str) -> (String, bool) {
    rewrite(Endpoint::ChatCompletions, body, model)
}

#[test]
fn a_body_that_is_right_already_is_not_touched() {
    for body in [
        r#"{"model":"gpt-4o"}"#,
        r#"{"model":"gpt\u002d4o","stream":false}"#,
        r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}"#,
    ] {
        let request = Request::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
        let rewritten = request.rewrite("gpt-4o");
        assert_eq!((rewritten.body, rewritten.usage_injected), (None, false));
    }
}

#[test]
fn only_the_model_changes_and_every_other_byte_stays() {
    let body = "\n{ \"a\" : 1.50,\t\"model\" : \"openai/gpt-4o\" , \"b\":\"\\u00e9\" }\n";
    let (forwarded, injected) = chat(body, "gpt-4o");
    assert_eq!(forwarded, body.replace("openai/gpt-4o", "gpt-4o"));
    assert!(!injected);
}

#[test]
fn a_stream_is_made_to_report_its_usage_whatever_the_caller_wrote() {
    for (options, expected) in [
        (
            "",
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
        ),
        (
            r#","stream_options":null"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#","stream_options": { } "#,
            r#"{"model":"m","stream":true,"stream_options": {"include_usage":true } }"#,
        ),
        (
            r#","stream_options":{"x":[1]}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":[1]}}"#,
        ),
        (
            r#","stream_options":{"x":1,"include_usage":false}"#,
            r#"{"model":"m","stream":true,"stream_options":{"x":1,"include_usage":true}}"#,
        ),
        (
            r#","stream_options":{"include_usage":null}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
    ] {
        let body = format!(r#"{{"model":"m","stream":true{options}}}"#);
        assert_eq!(chat(&body, "m"), (expected.to_owned(), true), "{options}");
    }
}

#[test]
fn model_and_usage_are_set_together_in_either_order() {
    let (forwarded, injected) = chat(r#"{"stream_options":{},"stream":true,"model":"a/m"}"#, "m");
    assert_eq!(
        forwarded,
        r#"{"stream_options":{"include_usage":true},"stream":true,"model":"m"}"#
    );
    assert!(injected);
    let (forwarded, _) = chat(r#"{"model":"a/m","stream":true,"stream_options":{}}"#, "m");
    assert_eq!(
        forwarded,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#
    );
}

#[test]
fn apis_that_report_usage_by_themselves_are_not_asked() {
    for endpoint in [
        Endpoint::Responses,
        Endpoint::Messages,
        Endpoint::Embeddings,
    ] {
        let body = r#"{"model":"m","stream":true}"#;
        assert_eq!(rewrite(endpoint, body, "m"), (body.to_owned(), false));
    }
}

#[test]
fn a_configured_model_name_cannot_break_out_of_its_string() {
    let (forwarded, _) = chat(r#"{"model":"m"}"#, "a\",\"n\":\"\\\n");
    let value: serde_json::Value = serde_json::from_str(&forwarded).unwrap();
    assert_eq!(value["model"], "a\",\"n\":\"\\\n");
}
