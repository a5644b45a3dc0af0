//! Nothing that leaves the sanitiser can end a line, and no text can leave its string in an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_fuzz::strict_json;
use reeve_llm::{ErrorBody, Scalar, WireFormat, render_error, sanitise};

fuzz_target!(|bytes: &[u8]| {
    let clean = sanitise(bytes);
    assert!(clean.len() <= 256);
    assert!(clean.bytes().all(|byte| (0x20..=0x7E).contains(&byte)));

    // It is for reading: what is printable stays as it is.
    let printable = bytes
        .iter()
        .take_while(|byte| (0x20..=0x7E).contains(*byte));
    let printable: Vec<u8> = printable.take(256).copied().collect();
    assert!(clean.as_bytes().starts_with(&printable));

    // The other way out: text in an error body, not sanitised but escaped.
    let message = String::from_utf8_lossy(bytes);
    for dialect in WireFormat::ALL {
        let error = ErrorBody {
            status: 400,
            error_type: "invalid_request",
            message: &message,
            code: Some(&message),
            param: Some(&message),
            request_id: &message,
            extra: &[("owner_id", Scalar::Text(&message))],
        };
        let body = strict_json::read(&render_error(dialect, &error));
        let shown = match dialect {
            WireFormat::OpenAi | WireFormat::Anthropic | WireFormat::Gemini => {
                &body["error"]["message"]
            }
            WireFormat::Bedrock | WireFormat::Cohere => &body["message"],
        };
        assert_eq!(shown, &*message);
        assert_eq!(body["request_id"], *message);
        assert_eq!(body["owner_id"], *message);
        assert_eq!(body["status_code"], 400);
    }
});
