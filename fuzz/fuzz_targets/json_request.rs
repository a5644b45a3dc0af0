//! The most attacked parser: what we judge must be what the provider reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{Endpoint, Request};
use serde_json::{Value, json};

const ENDPOINTS: [Endpoint; 4] = [
    Endpoint::ChatCompletions,
    Endpoint::Responses,
    Endpoint::Embeddings,
    Endpoint::Messages,
];

fuzz_target!(|body: &[u8]| {
    for endpoint in ENDPOINTS {
        let Ok(request) = Request::read(endpoint, body) else {
            continue;
        };
        let mut theirs: Value = serde_json::from_slice(body).expect("we accepted it");

        assert_eq!(theirs["model"], *request.model);
        assert_eq!(theirs["stream"].as_bool().unwrap_or(false), request.stream);
        let bound = match endpoint {
            Endpoint::ChatCompletions => theirs["max_completion_tokens"]
                .as_u64()
                .or(theirs["max_tokens"].as_u64()),
            Endpoint::Responses => theirs["max_output_tokens"].as_u64(),
            Endpoint::Messages => theirs["max_tokens"].as_u64(),
            Endpoint::Embeddings => None,
        };
        assert_eq!(bound.filter(|&bound| bound > 0), request.max_output_tokens);
        let choices = [&theirs["n"], &theirs["best_of"]].map(|v| v.as_u64().unwrap_or(1));
        assert_eq!(choices.into_iter().max(), Some(request.choices.into()));
        for forbidden in [
            "api_base",
            "base_url",
            "api_key",
            "custom_llm_provider",
            "models",
        ] {
            assert!(theirs.get(forbidden).is_none());
        }

        let rewritten = request.rewrite("another");
        theirs["model"] = "another".into();
        if rewritten.usage_injected {
            if !theirs["stream_options"].is_object() {
                theirs["stream_options"] = json!({});
            }
            theirs["stream_options"]["include_usage"] = true.into();
        }
        let forwarded = rewritten.body.unwrap_or_else(|| body.to_vec());
        let forwarded: Value = serde_json::from_slice(&forwarded).expect("we wrote it");
        assert_eq!(forwarded, theirs);
    }
});
