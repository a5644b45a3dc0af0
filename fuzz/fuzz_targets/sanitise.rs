//! Nothing that leaves the sanitiser can end a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{ErrorBody, WireFormat, render_error, sanitise};

fuzz_target!(|bytes: &[u8]| {
    let clean = sanitise(bytes);
    assert!(clean.len() <= 256);
    assert!(clean.bytes().all(|byte| (0x20..=0x7E).contains(&byte)));

    // The other way out: text in an error body, not sanitised but escaped.
    let message = String::from_utf8_lossy(bytes);
    for dialect in [WireFormat::OpenAi, WireFormat::Anthropic] {
        let error = ErrorBody {
            status: 400,
            error_type: "invalid_request",
            message: &message,
            code: None,
            param: Some(&message),
            request_id: &message,
            extra: &[],
        };
        let body: serde_json::Value =
            serde_json::from_slice(&render_error(dialect, &error)).expect("it is JSON");
        assert_eq!(body["error"]["message"], *message);
        assert_eq!(body["request_id"], *message);
    }
});
