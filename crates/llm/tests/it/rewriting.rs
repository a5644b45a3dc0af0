//! The body that is forwarded.

use reeve_llm::{Body, BodyKind, Endpoint, Request};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The forwarded body (unchanged or not), and whether usage was injected.
fn rewrite(endpoint: Endpoint, body: &str, model: &str) -> (String, bool) {
    let rewritten = Request::read(endpoint, None, Body::Json(body.as_bytes()))
        .unwrap()
        .rewrite(model)
        .unwrap();
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
        let request =
            Request::read(Endpoint::ChatCompletions, None, Body::Json(body.as_bytes())).unwrap();
        let rewritten = request.rewrite("gpt-4o").unwrap();
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

/// R-22
#[test]
fn the_model_is_set_in_every_body_that_has_it_and_only_completions_are_asked_for_usage() {
    for endpoint in Endpoint::ALL {
        if endpoint.body() != BodyKind::Json || endpoint.names_model_in_path() {
            continue;
        }
        let asked = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        let body = r#"{"model":"a/m","stream":true}"#;
        let expected = if asked {
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#
        } else {
            r#"{"model":"m","stream":true}"#
        };
        let (forwarded, injected) = rewrite(endpoint, body, "m");
        assert_eq!((&*forwarded, injected), (expected, asked), "{endpoint:?}");
    }
}

#[test]
fn the_model_of_a_path_becomes_the_first_member_where_the_provider_looks_for_it() {
    for (body, expected) in [
        ("{}", r#"{"model":"m"}"#),
        (" { } ", r#" {"model":"m" } "#),
        (r#"{"n":1}"#, r#"{"model":"m","n":1}"#),
        (
            r#"{ "stream":true}"#,
            r#"{"model":"m","stream_options":{"include_usage":true}, "stream":true}"#,
        ),
        (
            r#"{"stream_options":{},"stream":true}"#,
            r#"{"model":"m","stream_options":{"include_usage":true},"stream":true}"#,
        ),
        // The body repeats it: there is one place for it already.
        (r#"{"model":"deployment"}"#, r#"{"model":"m"}"#),
    ] {
        let request = Request::read(
            Endpoint::ChatCompletions,
            Some("deployment"),
            Body::Json(body.as_bytes()),
        );
        let rewritten = request.unwrap().rewrite("m").unwrap().body.unwrap();
        assert_eq!(String::from_utf8(rewritten).unwrap(), expected, "{body}");
    }
}

#[test]
fn a_body_stays_where_the_provider_looks_for_the_model_in_the_path() {
    for endpoint in Endpoint::ALL {
        if endpoint.body() != BodyKind::Json || !endpoint.names_model_in_path() {
            continue;
        }
        let body = Body::Json(br#"{"stream":true}"#);
        let request = Request::read(endpoint, Some("deployment"), body).unwrap();
        let rewritten = request.rewrite("m").unwrap();
        assert_eq!((rewritten.body, rewritten.usage_injected), (None, false));
    }
}

#[test]
fn a_configured_model_name_cannot_break_out_of_its_string() {
    let (forwarded, _) = chat(r#"{"model":"m"}"#, "a\",\"n\":\"\\\n");
    let value: serde_json::Value = serde_json::from_str(&forwarded).unwrap();
    assert_eq!(value["model"], "a\",\"n\":\"\\\n");
}

/// The forwarded body with this bound of its output.
fn capped(endpoint: Endpoint, path_model: Option<&str>, body: &str, tokens: u64) -> Option<String> {
    let request = Request::read(endpoint, path_model, Body::Json(body.as_bytes())).unwrap();
    let rewritten = request.rewrite("m").unwrap();
    let forwarded = rewritten.body.unwrap_or_else(|| body.as_bytes().to_vec());
    (!rewritten.output_slots.is_empty()).then(|| {
        let capped = reeve_llm::cap_output(&forwarded, &rewritten.output_slots, tokens);
        String::from_utf8(capped).unwrap()
    })
}

#[test]
fn a_bound_of_the_output_is_lowered_where_each_api_has_it() {
    for (endpoint, in_path, body, expected) in [
        (
            Endpoint::ChatCompletions,
            None,
            r#"{"max_completion_tokens":64000,"model":"other","max_tokens": 64000 ,"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"max_completion_tokens":7,"model":"m","max_tokens": 7 ,"stream":true}"#,
        ),
        (
            Endpoint::Responses,
            None,
            r#"{"model":"m","max_output_tokens":9,"max_tokens":1}"#,
            r#"{"model":"m","max_output_tokens":7,"max_tokens":1}"#,
        ),
        (
            Endpoint::Messages,
            None,
            r#"{"model":"m","max_tokens":64000,"max_output_tokens":1}"#,
            r#"{"model":"m","max_tokens":7,"max_output_tokens":1}"#,
        ),
        (
            Endpoint::GenerateContent,
            Some("m"),
            r#"{"generationConfig":{"a":[1],"maxOutputTokens":64000},"contents":[]}"#,
            r#"{"generationConfig":{"a":[1],"maxOutputTokens":7},"contents":[]}"#,
        ),
        (
            Endpoint::Converse,
            Some("m"),
            r#"{"inferenceConfig":{"maxTokens":64000}}"#,
            r#"{"inferenceConfig":{"maxTokens":7}}"#,
        ),
    ] {
        assert_eq!(
            capped(endpoint, in_path, body, 7).as_deref(),
            Some(expected),
            "{body}"
        );
    }
}

#[test]
fn where_there_is_no_bound_or_none_that_counts_there_is_no_place_for_one() {
    for body in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","max_tokens":null}"#,
        r#"{"model":"m","max_tokens":0}"#,
        r#"{"model":"m","max_output_tokens":9}"#,
    ] {
        assert_eq!(
            capped(Endpoint::ChatCompletions, None, body, 7),
            None,
            "{body}"
        );
    }
    let vendor = r#"{"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"x":1}}"#;
    assert_eq!(capped(Endpoint::Converse, Some("m"), vendor, 7), None);
}
