//! What is JSON, and what only some parser takes for it.

use reeve_llm::json::JsonError;
use reeve_llm::{Body, Endpoint, Request, RequestError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{MODEL, body_with, chat, error_of, error_with, json_apis};

///
#[test]
fn other_encodings_than_utf_8_are_refused() {
    let text = format!("{{\"model\":\"{MODEL}\"}}");
    let utf_16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    };
    let utf_32 = |to_bytes: fn(u32) -> [u8; 4]| -> Vec<u8> {
        text.chars()
            .flat_map(|character| to_bytes(character.into()))
            .collect()
    };
    let in_value = |bytes: &[u8]| {
        [
            text.trim_end_matches('}').as_bytes(),
            b",\"x\":\"",
            bytes,
            b"\"}",
        ]
        .concat()
    };
    for body in [
        [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
        utf_16(u16::to_le_bytes),
        utf_16(u16::to_be_bytes),
        [b"\xFF\xFE".to_vec(), utf_16(u16::to_le_bytes)].concat(),
        [b"\xFE\xFF".to_vec(), utf_16(u16::to_be_bytes)].concat(),
        utf_32(u32::to_le_bytes),
        utf_32(u32::to_be_bytes),
        // UTF-7.
        b"+AHsAIg-model+ACI-:+ACI-m+ACIAfQ-".to_vec(),
        // Overlong, halves of surrogates, beyond Unicode, cut short.
        in_value(b"\xC0\xAE"),
        in_value(b"\xE0\x80\xAE"),
        in_value(b"\xED\xA0\x80"),
        in_value(b"\xF4\x90\x80\x80"),
        in_value(b"\xE2\x82"),
        in_value(b"\x80"),
        in_value(b"\\ud800"),
        in_value(b"\\udc00\\ud800"),
        in_value(b"\0"),
        [text.as_bytes(), b"\0"].concat(),
        [text.as_bytes(), b"\x1A"].concat(),
    ] {
        for endpoint in json_apis() {
            let path_model = endpoint.names_model_in_path().then_some(MODEL);
            let answer = Request::read(endpoint, path_model, Body::Json(&body));
            let error = answer.map(|request| request.model).unwrap_err();
            assert!(
                matches!(error, RequestError::Json(_)),
                "{endpoint:?} {body:?}"
            );
        }
    }
}

///
#[test]
fn bodies_that_are_no_single_object_are_refused() {
    for endpoint in json_apis() {
        for body in [
            "",
            " ",
            "[]",
            "\"model\"",
            "null",
            "1",
            "[{\"model\":\"m\"}]",
        ] {
            assert!(
                matches!(error_of(endpoint, body), RequestError::Json(_)),
                "{body}"
            );
        }
        for trailing in ["{}", ",", "x", "]", "}", "//", "\u{a0}", "\u{2028}"] {
            let body = body_with(endpoint, "") + trailing;
            assert!(
                matches!(error_of(endpoint, &body), RequestError::Json(_)),
                "{body}"
            );
        }
        for lax in [
            "\"a\":1,",
            "a:1",
            "'a':1",
            "\"a\":NaN",
            "\"a\":Infinity",
            "\"a\":+1",
            "\"a\":.5",
            "\"a\":01",
            "\"a\":0x1",
            "\"a\":'b'",
            "\"a\":undefined",
            "\"a\":True",
            "/**/\"a\":1",
            "\"a\"\u{a0}:1",
            "\"a\":\"\t\"",
            "\"a\":\"\\x41\"",
        ] {
            let error = error_with(endpoint, lax);
            assert!(
                matches!(error, RequestError::Json(_)),
                "{endpoint:?} {lax}: {error:?}"
            );
        }
    }
}

///
#[test]
fn bombs_are_refused() {
    for endpoint in json_apis() {
        let brackets = format!("\"x\":{}", "[".repeat(30_000));
        let objects = format!("\"x\":{}", "{\"a\":".repeat(30_000));
        for deep in [brackets, objects] {
            let error = error_with(endpoint, &deep);
            assert!(
                matches!(error, RequestError::Json(JsonError::TooDeep { .. })),
                "{endpoint:?}"
            );
        }
        for number in ["1e999999", "-1e400", &"9".repeat(200)] {
            let error = error_with(endpoint, &format!("\"x\":{number}"));
            assert!(
                matches!(error, RequestError::Json(JsonError::NumberTooLarge { .. })),
                "{endpoint:?} {number}"
            );
        }
    }
}

/// names are compared without a hash table, whose collisions a caller could bring about.
#[test]
fn too_many_names_are_refused_at_the_top_and_inside() {
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("\"k{n}\":0")).collect();
        names.join(",")
    };
    let chat_error = |members: &str| error_with(Endpoint::ChatCompletions, members);
    let too_many = RequestError::Json(JsonError::TooManyMembers);
    assert_eq!(chat_error(&names(1_000_000)), too_many);
    let inside = |count| chat(&format!("{{\"model\":\"m\",\"x\":{{{}}}}}", names(count))).is_ok();
    assert!(inside(10_000) && !inside(10_001));
    let long = format!("\"{}\":0", "k".repeat(129));
    let error = chat_error(&long);
    assert!(matches!(
        error,
        RequestError::Json(JsonError::NameTooLong { .. })
    ));
}

///
#[test]
fn a_long_string_is_nothing_special() {
    for content in [
        "\\n".repeat(16 << 20),
        "x".repeat(32 << 20),
        "\\ud83d\\ude00".repeat(1 << 20),
    ] {
        let body = format!("{{\"model\":\"m\",\"x\":\"{content}\"}}");
        assert_eq!(chat(&body).unwrap().input_bytes, body.len() as u64);
    }
}
