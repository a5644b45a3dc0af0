//! multipart bodies. How a form is framed has tests of its own, beside its reader; here it is
//! what its fields say.

use reeve_llm::multipart::MultipartError;
use reeve_llm::{Body, BodyKind, Endpoint, Request, RequestError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const MODEL: &str = "name=\"model\"\r\n\r\nwhisper-1";
const FILE: &str =
    "name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\0\r\n--X-\r\nmodel=evil";

/// A form of these parts, each from behind `form-data; ` to the end of its value.
fn form(parts: &[&str]) -> Vec<u8> {
    let parts = parts
        .iter()
        .map(|part| format!("--XbX\r\nContent-Disposition: form-data; {part}\r\n"));
    (parts.collect::<String>() + "--XbX--\r\n").into_bytes()
}

fn read<'b>(
    endpoint: Endpoint,
    path_model: Option<&'b str>,
    bytes: &'b [u8],
) -> Result<Request<'b>, RequestError> {
    let boundary = b"XbX";
    Request::read(endpoint, path_model, Body::Form { boundary, bytes })
}

fn error(parts: &[&str]) -> RequestError {
    match read(Endpoint::Transcriptions, None, &form(parts)) {
        Ok(request) => panic!("accepted {parts:?}: {request:?}"),
        Err(error) => error,
    }
}

fn form_apis() -> impl Iterator<Item = Endpoint> {
    let all = Endpoint::ALL.into_iter();
    all.filter(|endpoint| endpoint.body() == BodyKind::Multipart)
}

#[test]
fn the_facts_of_a_form_are_read_before_and_behind_its_file() {
    let stream = "name=\"stream\"\r\n\r\ntrue";
    let n = "name=\"n\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n3";
    for endpoint in form_apis() {
        for parts in [[MODEL, stream, n, FILE], [FILE, n, stream, MODEL]] {
            let body = form(&parts);
            let request = read(endpoint, None, &body).unwrap();
            assert_eq!(request.model, "whisper-1");
            assert_eq!((request.stream, request.choices), (true, 3));
            assert_eq!(request.max_output_tokens, None);
            assert_eq!(request.input_bytes, body.len() as u64);
        }
        let body = form(&[MODEL, FILE]);
        let request = read(endpoint, None, &body).unwrap();
        assert_eq!((request.stream, request.choices), (false, 1));
    }
}

#[test]
fn a_form_needs_one_model_in_a_field_of_its_own() {
    for (parts, expected) in [
        (&[FILE][..], "`model` is required"),
        (
            &["name=\"model\"; filename=\"model\"\r\n\r\nm"],
            "without a file name",
        ),
        (
            &["name=\"model\"\r\nContent-Type: application/json\r\n\r\nm"],
            "without a file name",
        ),
        (
            &["name=\"model\"\r\nContent-Type: text/plain; charset=utf-16\r\n\r\nm"],
            "without a file name",
        ),
        (
            &["name=\"model\"\r\nContent-Type: application/octet-stream\r\n\r\nm"],
            "without a file name",
        ),
        (&["name=\"model\"\r\n\r\n"], "`model` must be"),
        (&["name=\"model\"\r\n\r\n m"], "`model` must be"),
        (&["name=\"model\"\r\n\r\nm\r\n"], "`model` must be"),
        (&["name=\"model\"\r\n\r\nm\0"], "`model` must be"),
        (&["name=\"model\"\r\n\r\ng\u{440}t"], "`model` must be"),
        (&["name=\"model\"\r\n\r\n.."], "`model` must be"),
    ] {
        let message = error(parts).to_string();
        assert!(message.contains(expected), "{parts:?}: {message}");
    }
}

///
#[test]
fn a_second_model_in_a_form_is_refused_in_every_disguise() {
    let duplicate = RequestError::Form(MultipartError::DuplicateName);
    assert_eq!(error(&[MODEL, MODEL]), duplicate);
    assert_eq!(
        error(&[MODEL, FILE, "name=\"model\"\r\n\r\nother"]),
        duplicate
    );
    assert_eq!(error(&[MODEL, "name=\"model[]\"\r\n\r\nother"]), duplicate);
    for name in [
        "Model", "MODEL", "_model", "model.", " model", "model ", "[model]", "mo-del",
    ] {
        let second = format!("name=\"{name}\"\r\n\r\nother");
        let error = error(&[MODEL, &second]);
        assert!(
            matches!(
                error,
                RequestError::Ambiguous { field: "model" } | RequestError::MemberName
            ),
            "{name}: {error:?}"
        );
    }
    for name in ["model[]", "Model[]"] {
        let only = format!("name=\"{name}\"\r\n\r\nm");
        assert_eq!(error(&[&only]), RequestError::Ambiguous { field: "model" });
    }
    for encoded in ["=?utf-8?q?model?=", "=?us-ascii?b?bW9kZWw=?="] {
        let second = format!("name=\"{encoded}\"\r\n\r\nother");
        assert_eq!(
            error(&[MODEL, &second]),
            RequestError::Form(MultipartError::Name),
            "{encoded}"
        );
    }
    let extended = "name=\"x\"; name*=utf-8''model\r\n\r\nother";
    assert!(matches!(error(&[MODEL, extended]), RequestError::Form(_)));
    let escaped = "name=\"mod\\el\"\r\n\r\nother";
    assert_eq!(
        error(&[MODEL, escaped]),
        RequestError::Form(MultipartError::Escape)
    );
    // Some readers take it for the encoding of all other fields.
    let charset = "name=\"_charset_\"\r\n\r\nutf-7";
    assert_eq!(error(&[charset, MODEL]).field(), Some("_charset_"));
}

///
#[test]
fn fields_that_choose_another_model_or_destination_are_refused_in_forms_too() {
    for field in [
        "api_base",
        "base_url",
        "api_key",
        "models",
        "fallbacks",
        "provider",
        "preset",
    ] {
        let part = format!("name=\"{field}\"\r\n\r\nx");
        assert_eq!(error(&[MODEL, &part]), RequestError::Forbidden { field });
    }
}

///
#[test]
fn numbers_and_flags_of_a_form_are_read_in_one_way_only() {
    for bad in [
        "",
        "0",
        "129",
        "-1",
        "+1",
        "1.0",
        "1e1",
        " 1",
        "1 ",
        "01x",
        "\u{661}",
        "4294967297",
    ] {
        let n = format!("name=\"n\"\r\n\r\n{bad}");
        assert_eq!(error(&[MODEL, &n]).field(), Some("n"), "{bad:?}");
    }
    for bad in ["", "True", "TRUE", "1", "yes", " true", "true\r\n", "null"] {
        let stream = format!("name=\"stream\"\r\n\r\n{bad}");
        assert_eq!(error(&[MODEL, &stream]).field(), Some("stream"), "{bad:?}");
    }
    let file = "name=\"n\"; filename=\"n\"\r\n\r\n1";
    assert_eq!(error(&[MODEL, file]).field(), Some("n"));
}

///
#[test]
fn a_form_that_names_another_model_than_its_path_is_refused() {
    let body = form(&[MODEL, FILE]);
    for endpoint in form_apis() {
        let conflict = read(endpoint, Some("other"), &body);
        assert_eq!(
            conflict.map(|request| request.model).unwrap_err(),
            RequestError::ModelConflict
        );
        assert_eq!(
            read(endpoint, Some("whisper-1"), &body).unwrap().model,
            "whisper-1"
        );
        let without = form(&[FILE]);
        assert_eq!(
            read(endpoint, Some("whisper"), &without).unwrap().model,
            "whisper"
        );
    }
}

#[test]
fn only_the_model_of_a_form_changes_on_its_way() {
    let long = "name=\"model\"\r\nContent-Length: 9\r\n\r\nwhisper-1";
    for (parts, expected) in [
        ([MODEL, FILE], ["name=\"model\"\r\n\r\nwhisper-large", FILE]),
        ([FILE, MODEL], [FILE, "name=\"model\"\r\n\r\nwhisper-large"]),
        (
            [long, FILE],
            [
                "name=\"model\"\r\nContent-Length: 13\r\n\r\nwhisper-large",
                FILE,
            ],
        ),
    ] {
        let body = form(&parts);
        let request = read(Endpoint::Transcriptions, None, &body).unwrap();
        let rewritten = request.rewrite("whisper-large").unwrap();
        assert_eq!(rewritten.body, Some(form(&expected)), "{parts:?}");
        assert!(!rewritten.usage_injected);
        assert_eq!(request.rewrite("whisper-1").unwrap().body, None);
    }
}

#[test]
fn the_model_of_a_path_becomes_the_first_field_of_the_form() {
    let body = form(&[FILE]);
    let request = read(Endpoint::Transcriptions, Some("deployment"), &body).unwrap();
    let forwarded = request.rewrite("whisper-1").unwrap().body.unwrap();
    let again = read(Endpoint::Transcriptions, None, &forwarded).unwrap();
    assert_eq!(again.model, "whisper-1");
    assert!(forwarded.ends_with(&body));
}

#[test]
fn a_model_that_holds_the_boundary_is_not_put_into_a_form() {
    let body = form(&[MODEL, FILE]);
    let request = read(Endpoint::Transcriptions, None, &body).unwrap();
    let error = request.rewrite("a--XbX").unwrap_err();
    assert_eq!(error.field(), Some("model"));
}
