//! R-32: `fallbacks` is for the gateway, where there is a member for it, and goes no further.

use reeve_llm::{Endpoint, RequestError, WireFormat};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{chat, error_with, json_apis};

fn forwarded(body: &str) -> String {
    let rewritten = chat(body).unwrap().rewrite("m").unwrap();
    let body = rewritten
        .body
        .map_or_else(|| body.to_owned(), |body| String::from_utf8(body).unwrap());
    // It is still a body, without them.
    assert_eq!(chat(&body).unwrap().fallbacks, None, "{body}");
    body
}

/// R-32
#[test]
fn fallbacks_are_read_and_taken_out_wherever_they_stand() {
    for (body, without) in [
        (
            r#"{"fallbacks":["a/b"],"model":"m","n":1}"#,
            r#"{"model":"m","n":1}"#,
        ),
        (
            r#"{"model":"m","fallbacks" : ["a/b"] , "n":1}"#,
            r#"{"model":"m", "n":1}"#,
        ),
        (
            r#"{"model":"m" , "fallbacks":["a/b"] }"#,
            r#"{"model":"m"  }"#,
        ),
        (
            r#"{"model":"x","fall\u0062acks":["a\/b"]}"#,
            r#"{"model":"m"}"#,
        ),
        (r#"{"fallbacks":["a/b"],"model":"x"}"#, r#"{"model":"m"}"#),
    ] {
        assert_eq!(chat(body).unwrap().fallbacks.unwrap(), ["a/b"]);
        assert_eq!(forwarded(body), without);
    }
    let stream = r#"{"fallbacks":["a/b"],"model":"m","stream":true}"#;
    assert_eq!(
        forwarded(stream),
        r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#
    );
}

#[test]
fn no_list_and_an_empty_one_are_not_the_same() {
    for (value, read) in [("null", None), ("[]", Some(Vec::new()))] {
        let body = format!(r#"{{"model":"m","fallbacks":{value}}}"#);
        assert_eq!(chat(&body).unwrap().fallbacks, read);
        assert_eq!(forwarded(&body), r#"{"model":"m"}"#);
    }
    assert_eq!(chat(r#"{"model":"m"}"#).unwrap().fallbacks, None);
}

/// R-44
#[test]
fn the_bound_of_the_output_is_where_it_was() {
    let body = r#"{"fallbacks":["a/b"],"model":"longer","max_tokens":17,"n":1}"#;
    let rewritten = chat(body).unwrap().rewrite("m").unwrap();
    let forwarded = rewritten.body.unwrap();
    let slots: Vec<&[u8]> = rewritten
        .output_slots
        .iter()
        .map(|slot| &forwarded[slot.clone()])
        .collect();
    assert_eq!(slots, [b"17"]);
}

/// R-32
#[test]
fn what_is_no_list_of_models_with_their_providers_is_refused() {
    let many = format!("[{}]", [r#""a/b""#; 17].join(","));
    for value in [
        r#""a/b""#,
        "1",
        "{}",
        "[1]",
        "[null]",
        r#"["gpt-4o"]"#,
        r#"["a/b c"]"#,
        r#"["a/.."]"#,
        r#"[{"provider":"a","model":"b"}]"#,
        &many,
    ] {
        let error = error_with(Endpoint::ChatCompletions, &format!("\"fallbacks\":{value}"));
        assert_eq!(error.field(), Some("fallbacks"), "{value}: {error}");
    }
}

/// R-32
#[test]
fn elsewhere_they_are_refused() {
    for endpoint in json_apis() {
        if matches!(endpoint.home(), WireFormat::Gemini | WireFormat::Bedrock) {
            let error = error_with(endpoint, r#""fallbacks":["a/b"]"#);
            assert_eq!(
                error,
                RequestError::Forbidden { field: "fallbacks" },
                "{endpoint:?}"
            );
        }
    }
    let inside = r#""stream":true,"stream_options":{"fallbacks":["a/b"]}"#;
    assert_eq!(
        error_with(Endpoint::ChatCompletions, inside),
        RequestError::Forbidden { field: "fallbacks" }
    );
}
