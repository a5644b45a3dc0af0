//! A body that is accepted can be rewritten, and the rewritten one says what it should.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{Endpoint, Request};

const ENDPOINTS: [Endpoint; 4] = [
    Endpoint::ChatCompletions,
    Endpoint::Responses,
    Endpoint::Embeddings,
    Endpoint::Messages,
];

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, body) = input;
    let endpoint = ENDPOINTS[usize::from(choice) % ENDPOINTS.len()];
    let Ok(request) = Request::read(endpoint, body) else { return };
    let rewritten = request.rewrite("another-model");
    let sent = rewritten.body.as_deref().unwrap_or(body);
    let again = Request::read(endpoint, sent).expect("what we send is what we would accept");
    assert_eq!(again.model, "another-model");
    assert_eq!(again.stream, request.stream);
    assert_eq!(again.max_output_tokens, request.max_output_tokens);
    assert_eq!(again.choices, request.choices);
    if rewritten.usage_injected {
        assert_eq!(again.include_usage, Some(true));
    }
    assert!(again.rewrite("another-model").body.is_none(), "a second rewrite changes nothing");
});
