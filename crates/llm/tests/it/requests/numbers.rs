//! R-44: bounds of the output, and numbers of answers.

use reeve_llm::{Endpoint, RequestError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{body_with, error_with, read};

/// Where an API has a bound: its name, and a member with `@` for the number.
const BOUNDS: [(Endpoint, &str, &str); 12] = {
    use Endpoint::*;
    [
        (ChatCompletions, "max_tokens", r#""max_tokens":@"#),
        (
            ChatCompletions,
            "max_completion_tokens",
            r#""max_completion_tokens":@"#,
        ),
        (Completions, "max_tokens", r#""max_tokens":@"#),
        (Responses, "max_output_tokens", r#""max_output_tokens":@"#),
        (Messages, "max_tokens", r#""max_tokens":@"#),
        (CohereChat, "max_tokens", r#""max_tokens":@"#),
        (
            GenerateContent,
            "maxOutputTokens",
            r#""generationConfig":{"maxOutputTokens":@}"#,
        ),
        (
            StreamGenerateContent,
            "maxOutputTokens",
            r#""generation_config":{"max_output_tokens":@}"#,
        ),
        (
            Converse,
            "inferenceConfig.maxTokens",
            r#""inferenceConfig":{"maxTokens":@}"#,
        ),
        (
            ConverseStream,
            "inferenceConfig.maxTokens",
            r#""inferenceConfig":{"maxTokens":@}"#,
        ),
        (InvokeModel, "max_tokens", r#""max_tokens":@"#),
        (InvokeModelStream, "max_tokens", r#""max_tokens":@"#),
    ]
};

/// Where an API has a number of answers.
const CHOICES: [(Endpoint, &str, &str); 8] = {
    use Endpoint::*;
    [
        (ChatCompletions, "n", r#""n":@"#),
        (Completions, "n", r#""n":@"#),
        (Completions, "best_of", r#""best_of":@"#),
        (ImageGenerations, "n", r#""n":@"#),
        (
            GenerateContent,
            "candidateCount",
            r#""generationConfig":{"candidateCount":@}"#,
        ),
        (InvokeModel, "n", r#""n":@"#),
        (InvokeModel, "num_generations", r#""num_generations":@"#),
        (InvokeModelStream, "numResults", r#""numResults":@"#),
    ]
};

/// What two readers may read differently, and what none should.
const NO_NUMBERS: [&str; 14] = [
    "-1",
    "-0",
    "1.0",
    "0.5",
    "1e3",
    "1E0",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "\"100\"",
    "true",
    "[]",
    "[1]",
    "{}",
];

#[test]
fn a_bound_is_a_whole_number_and_zero_is_none() {
    for (endpoint, field, member) in BOUNDS {
        for (value, expected) in [
            ("null", None),
            // Some servers take it for "unlimited".
            ("0", None),
            ("1", Some(1)),
            ("4096", Some(4096)),
            ("4294967295", Some(u64::from(u32::MAX))),
        ] {
            let body = body_with(endpoint, &member.replace('@', value));
            let request = read(endpoint, &body).unwrap();
            assert_eq!(request.max_output_tokens, expected, "{endpoint:?} {body}");
        }
        for bad in NO_NUMBERS {
            let error = error_with(endpoint, &member.replace('@', bad));
            assert_eq!(error.field(), Some(field), "{endpoint:?} {bad}: {error}");
            assert!(error.to_string().contains(field));
        }
    }
}

#[test]
fn answers_are_a_whole_number_from_1_to_128() {
    for (endpoint, field, member) in CHOICES {
        for (value, expected) in [("null", 1), ("1", 1), ("2", 2), ("128", 128)] {
            let body = body_with(endpoint, &member.replace('@', value));
            assert_eq!(read(endpoint, &body).unwrap().choices, expected, "{body}");
        }
        for bad in NO_NUMBERS.iter().chain(&["0", "129"]) {
            let error = error_with(endpoint, &member.replace('@', bad));
            assert_eq!(error.field(), Some(field), "{endpoint:?} {bad}: {error}");
        }
    }
}

#[test]
fn the_larger_of_n_and_best_of_counts_for_each_prompt() {
    for (members, expected) in [
        (r#""n":2,"best_of":5"#, 5),
        (r#""n":5,"best_of":2"#, 5),
        (r#""prompt":"a","n":2"#, 2),
        (r#""prompt":["a","b","c"],"n":2"#, 6),
        (r#""prompt":["a"]"#, 1),
        (r#""prompt":[]"#, 1),
        (r#""prompt":null"#, 1),
        // One prompt, as tokens; and two.
        (r#""prompt":[1,2,3],"n":2"#, 2),
        (r#""prompt":[[1,2],[3]],"n":2"#, 4),
        (r#""prompt":["a","b"],"best_of":128,"n":128"#, 256),
    ] {
        let body = body_with(Endpoint::Completions, members);
        let request = read(Endpoint::Completions, &body).unwrap();
        assert_eq!(request.choices, expected, "{members}");
    }
    let chat = body_with(Endpoint::ChatCompletions, r#""prompt":["a","b"],"n":2"#);
    assert_eq!(read(Endpoint::ChatCompletions, &chat).unwrap().choices, 2);
}

#[test]
fn two_bounds_must_agree() {
    let conflict = error_with(
        Endpoint::ChatCompletions,
        r#""max_tokens":1,"max_completion_tokens":1000"#,
    );
    assert_eq!(
        conflict,
        RequestError::Conflict {
            field: "max_tokens",
            other: "max_completion_tokens"
        }
    );
    for members in [
        r#""max_tokens":5,"max_completion_tokens":5"#,
        r#""max_tokens":null,"max_completion_tokens":5"#,
        r#""max_completion_tokens":null,"max_tokens":5"#,
    ] {
        let body = body_with(Endpoint::ChatCompletions, members);
        let request = read(Endpoint::ChatCompletions, &body).unwrap();
        assert_eq!(request.max_output_tokens, Some(5), "{members}");
    }
}

#[test]
fn a_bound_that_the_api_does_not_know_is_no_bound() {
    let body = body_with(
        Endpoint::Embeddings,
        r#""max_tokens":1,"max_completion_tokens":1,"max_output_tokens":2"#,
    );
    use Endpoint::*;
    for (endpoint, expected) in [
        (ChatCompletions, Some(1)),
        (Completions, Some(1)),
        (Messages, Some(1)),
        (CohereChat, Some(1)),
        (Responses, Some(2)),
        (Embeddings, None),
        (Rerank, None),
        (CountMessageTokens, None),
    ] {
        let request = read(endpoint, &body).unwrap();
        assert_eq!(request.max_output_tokens, expected, "{endpoint:?}");
    }
}

/// Each vendor's models have their own names in a body of InvokeModel.
#[test]
fn a_body_for_an_unknown_vendor_of_bedrock_has_no_bound() {
    use reeve_llm::{Body, Request};
    let bound = |model: &str| {
        let body = Body::Json(br#"{"max_tokens":5}"#);
        let request = Request::read(Endpoint::InvokeModel, Some(model), body).unwrap();
        request.max_output_tokens
    };
    for model in [
        "anthropic.claude-v2:1",
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-v2",
        "mistral.mistral-large-2407-v1:0",
    ] {
        assert_eq!(bound(model), Some(5), "{model}");
    }
    for model in [
        "amazon.titan-text-express-v1",
        "meta.llama3-8b-instruct-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
        "not-anthropic.x",
        "anthropic-like",
    ] {
        assert_eq!(bound(model), None, "{model}");
    }
}
