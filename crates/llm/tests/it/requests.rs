//! What is read from a request, and what is refused.

use reeve_llm::json::JsonError;
use reeve_llm::{Endpoint, Request, RequestError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn chat(body: &str) -> Result<Request<'_>, RequestError> {
    Request::read(Endpoint::ChatCompletions, body.as_bytes())
}

fn error(body: &str) -> RequestError {
    match chat(body) {
        Ok(request) => panic!("accepted {body}: {request:?}"),
        Err(error) => error,
    }
}

/// The error for a body that is right but for this member.
fn error_with(member: &str) -> RequestError {
    error(&format!("{{\"model\":\"gpt-4o\",{member}}}"))
}

#[test]
fn the_facts_of_a_request_are_read_wherever_they_stand() {
    let body = r#" {"messages":[{"role":"user","content":"\"model\":\"evil\""}],"stream":true,
        "stream_options":{"include_usage":false},"max_tokens":100,"n":3,"best_of":4,
        "temperature":0.7,"model":"openai/gpt-4o"} "#;
    let request = chat(body).unwrap();
    assert_eq!(request.model, "openai/gpt-4o");
    assert!(request.stream);
    assert_eq!(request.include_usage, Some(false));
    assert_eq!(request.max_output_tokens, Some(100));
    assert_eq!(request.choices, 4);
    assert_eq!(request.input_bytes, body.len() as u64);
}

#[test]
fn what_is_absent_or_null_has_its_default() {
    for body in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","stream":null,"stream_options":null,"max_tokens":null,"n":null}"#,
    ] {
        let request = chat(body).unwrap();
        assert!(!request.stream);
        assert_eq!(
            (request.include_usage, request.max_output_tokens),
            (None, None)
        );
        assert_eq!(request.choices, 1);
    }
}

#[test]
fn the_model_is_required() {
    for body in ["{}", r#"{"messages":[]}"#, r#"{"metadata":{"model":"x"}}"#] {
        assert_eq!(error(body), RequestError::Missing { field: "model" });
    }
}

#[test]
fn the_model_is_a_string_of_the_known_characters() {
    let long = "m".repeat(129);
    for bad in [
        "null",
        "1",
        "true",
        "[\"gpt-4o\"]",
        "{\"a\":1}",
        "\"\"",
        "\"gpt 4o\"",
        "\" gpt-4o\"",
        "\"gpt-4o \"",
        "\"g\u{440}t-4o\"",
        "\"gpt-4o\\n\"",
        "\"gpt-4o\\u0000\"",
        "\"a;b\"",
        "\"a%2Fb\"",
        "\"a\\\\b\"",
        &format!("\"{long}\""),
    ] {
        let error = error(&format!("{{\"model\":{bad}}}"));
        assert!(
            matches!(error, RequestError::Invalid { field: "model", .. }),
            "{bad}: {error}"
        );
    }
    for good in [
        "gpt-4o",
        "ft:gpt-4o:org::id",
        "@cf/meta/llama-3.1",
        "a+b_c",
        &long[1..],
    ] {
        assert_eq!(
            chat(&format!("{{\"model\":\"{good}\"}}")).unwrap().model,
            good
        );
    }
    assert_eq!(chat(r#"{"model":"gpt\u002d4o"}"#).unwrap().model, "gpt-4o");
}

#[test]
fn a_second_model_is_refused_in_every_disguise() {
    for second in ["model", "\\u006dodel", "mod\\u0065l"] {
        assert!(matches!(
            error_with(&format!("\"{second}\":\"o1\"")),
            RequestError::Json(JsonError::DuplicateMember { .. })
        ));
    }
    for second in ["Model", "MODEL", "\\u004dodel", "_model", "m-o-d-e-l"] {
        let expected = RequestError::Ambiguous { field: "model" };
        assert_eq!(error_with(&format!("\"{second}\":\"o1\"")), expected);
    }
    for second in [
        "\u{FF4D}odel",
        "model\\u0000",
        "model ",
        "mod\u{435}l",
        "\\ufeffmodel",
    ] {
        assert_eq!(
            error_with(&format!("\"{second}\":\"o1\"")),
            RequestError::MemberName
        );
    }
    let far = format!("\"messages\":\"{}\",\"model\":\"o1\"", "x".repeat(1 << 20));
    assert!(matches!(
        error_with(&far),
        RequestError::Json(JsonError::DuplicateMember { .. })
    ));
}

#[test]
fn any_top_level_member_may_occur_once_only() {
    assert!(matches!(
        error_with(r#""seed":1,"seed":2"#),
        RequestError::Json(JsonError::DuplicateMember { .. })
    ));
}

#[test]
fn members_that_choose_another_model_or_destination_are_refused() {
    for field in [
        "api_base",
        "base_url",
        "api_key",
        "custom_llm_provider",
        "models",
        "fallbacks",
        "route",
        "provider",
        "extra_body",
    ] {
        for value in ["\"x\"", "null", "[]"] {
            let error = error_with(&format!("\"{field}\":{value}"));
            assert_eq!(error, RequestError::Forbidden { field });
            assert_eq!(error.field(), Some(field));
        }
    }
    let disguised = error_with(r#""apiBase":"http://evil""#);
    assert_eq!(disguised, RequestError::Ambiguous { field: "api_base" });
}

#[test]
fn counts_of_the_wrong_type_are_refused_by_name() {
    for field in [
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "n",
        "best_of",
    ] {
        for bad in [
            "\"100\"",
            "-1",
            "1.0",
            "1e3",
            "true",
            "[]",
            "4294967296",
            "9223372036854775808",
        ] {
            let error = error_with(&format!("\"{field}\":{bad}"));
            assert_eq!(error.field(), Some(field), "{field}: {bad}: {error}");
            assert!(error.to_string().contains(field));
        }
    }
    for field in ["n", "best_of"] {
        for bad in ["0", "129"] {
            assert_eq!(
                error_with(&format!("\"{field}\":{bad}")).field(),
                Some(field)
            );
        }
    }
}

#[test]
fn flags_of_the_wrong_type_are_refused_by_name() {
    for bad in ["1", "\"true\"", "[]", "{}"] {
        assert_eq!(
            error_with(&format!("\"stream\":{bad}")).field(),
            Some("stream")
        );
        let option = format!("\"stream_options\":{{\"include_usage\":{bad}}}");
        assert_eq!(
            error_with(&option).field(),
            Some("stream_options.include_usage")
        );
    }
    for bad in ["1", "\"x\"", "[]", "true"] {
        let error = error_with(&format!("\"stream_options\":{bad}"));
        assert_eq!(error.field(), Some("stream_options"));
    }
}

#[test]
fn include_usage_cannot_be_said_twice() {
    for second in ["include_usage", "include_\\u0075sage"] {
        let options = format!("\"stream_options\":{{\"include_usage\":true,\"{second}\":false}}");
        let error = error_with(&options);
        assert!(matches!(
            error,
            RequestError::Json(JsonError::DuplicateMember { .. })
        ));
    }
    let disguised = error_with(r#""stream_options":{"includeUsage":false}"#);
    assert_eq!(
        disguised,
        RequestError::Ambiguous {
            field: "include_usage"
        }
    );
}

#[test]
fn only_the_bound_that_the_api_knows_is_a_bound() {
    let body = r#"{"model":"m","max_tokens":1,"max_output_tokens":2}"#;
    let bound = |endpoint| {
        Request::read(endpoint, body.as_bytes())
            .unwrap()
            .max_output_tokens
    };
    assert_eq!(bound(Endpoint::ChatCompletions), Some(1));
    assert_eq!(bound(Endpoint::Messages), Some(1));
    assert_eq!(bound(Endpoint::Responses), Some(2));
    assert_eq!(bound(Endpoint::Embeddings), None);
    assert_eq!(
        chat(r#"{"model":"m","max_tokens":0}"#)
            .unwrap()
            .max_output_tokens,
        None
    );
}

#[test]
fn two_bounds_must_agree() {
    let conflict = error_with(r#""max_tokens":1,"max_completion_tokens":1000"#);
    assert_eq!(
        conflict,
        RequestError::Conflict {
            field: "max_tokens",
            other: "max_completion_tokens"
        }
    );
    let same = chat(r#"{"model":"m","max_tokens":5,"max_completion_tokens":5}"#).unwrap();
    assert_eq!(same.max_output_tokens, Some(5));
}

#[test]
fn other_encodings_are_refused() {
    let utf16: Vec<u8> = r#"{"model":"m"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [
        &b"\xEF\xBB\xBF{\"model\":\"m\"}"[..],
        &utf16,
        b"\xFE\xFF\0{",
        b"{\"model\":\"m\",\"x\":\"\xC0\xAE\"}",
        b"{\"model\":\"m\",\"x\":\"\xED\xA0\x80\"}",
        b"{\"model\":\"m\",\"x\":\"\\ud800\"}",
        b"{\"model\":\"m\"}\0",
    ] {
        let answer = Request::read(Endpoint::ChatCompletions, body);
        assert!(matches!(answer, Err(RequestError::Json(_))), "{answer:?}");
    }
}

#[test]
fn bodies_that_are_no_single_object_are_refused() {
    for body in ["", " ", "[]", "\"model\"", "null", "[{\"model\":\"m\"}]"] {
        assert!(matches!(error(body), RequestError::Json(_)), "{body}");
    }
    for trailing in ["{}", ",", "x", "]"] {
        error(&format!("{{\"model\":\"m\"}}{trailing}"));
    }
}

#[test]
fn bombs_are_refused_and_cheap() {
    let deep = format!("{{\"model\":\"m\",\"x\":{}", "[".repeat(1_000_000));
    assert!(matches!(
        error(&deep),
        RequestError::Json(JsonError::TooDeep { .. })
    ));
    let members: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
    let wide = error_with(&members.join(","));
    assert_eq!(wide, RequestError::Json(JsonError::TooManyMembers));
    let number = error_with("\"x\":1e999999");
    assert!(matches!(
        number,
        RequestError::Json(JsonError::NumberTooLarge { .. })
    ));
    let long = format!("{{\"model\":\"m\",\"x\":\"{}\"}}", "\\n".repeat(5_000_000));
    assert!(chat(&long).is_ok());
}

#[test]
fn messages_repeat_nothing_of_the_body() {
    for body in [
        r#"{"model":"s3cret!"}"#,
        r#"{"model":"m","s3cret!":1,"s3cret!":2}"#,
        r#"{"model":"m","s3cret\u0000":1}"#,
        r#"{"model":"m","stream":"s3cret!"}"#,
        r#"{"model":"m" s3cret!}"#,
    ] {
        assert!(!error(body).to_string().contains("s3cret"), "{body}");
    }
}
