//! The facts of every API's body.

use std::collections::BTreeSet;

use reeve_llm::{Body, BodyKind, Endpoint, Request, RequestError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{MODEL, body_with, chat, error_of, flat_apis, read};

/// A body, with what is to be read from it: stream, bound of the output, answers.
type Row = (Endpoint, &'static str, bool, Option<u64>, u64);

const ROWS: [Row; 27] = {
    use Endpoint::*;
    [
        (
            ChatCompletions,
            r#""messages":[{"role":"user","content":"\"model\":\"evil\",\"n\":9"}],"stream":true,
               "max_completion_tokens":100,"n":3,"temperature":0.7,"tools":[{"type":"function",
               "function":{"name":"f","parameters":{"properties":{"model":{"type":"string"}}}}}]"#,
            true,
            Some(100),
            3,
        ),
        (
            Completions,
            r#""prompt":["a","b"],"suffix":"c","max_tokens":16,"n":2,"best_of":4,"stream":false"#,
            false,
            Some(16),
            8,
        ),
        (
            Responses,
            r#""input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}],
               "instructions":"be brief","max_output_tokens":200,"stream":true,"store":false,
               "background":false,"previous_response_id":null,"conversation":null,"prompt":null"#,
            true,
            Some(200),
            1,
        ),
        (
            Embeddings,
            r#""input":["a","b"],"dimensions":256,"encoding_format":"float""#,
            false,
            None,
            1,
        ),
        (
            ImageGenerations,
            r#""prompt":"a cat","n":4,"size":"1024x1024","stream":true,"background":"opaque""#,
            true,
            None,
            4,
        ),
        (
            Speech,
            r#""input":"hi","voice":"alloy","stream_format":"sse""#,
            false,
            None,
            1,
        ),
        (Moderations, r#""input":"hi""#, false, None, 1),
        (
            Rerank,
            r#""query":"q","documents":["a","b"],"top_n":1"#,
            false,
            None,
            1,
        ),
        (
            Messages,
            r#""system":"s","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t",
               "name":"f","input":{"model":"x","file_id":"y","source":1}}]}],"max_tokens":1024,
               "stream":true,"thinking":{"type":"enabled","budget_tokens":1000}"#,
            true,
            Some(1024),
            1,
        ),
        (
            CountMessageTokens,
            r#""messages":[{"role":"user","content":"hi"}]"#,
            false,
            None,
            1,
        ),
        (
            GenerateContent,
            r#""contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":50,
               "candidateCount":2,"temperature":1,"responseSchema":{"properties":{"model":{}}}}"#,
            false,
            Some(50),
            2,
        ),
        (
            GenerateContent,
            r#""contents":[],"generation_config":{"max_output_tokens":50,"candidate_count":2}"#,
            false,
            Some(50),
            2,
        ),
        (
            StreamGenerateContent,
            r#""contents":[],"systemInstruction":{"parts":[]},"generationConfig":null"#,
            true,
            None,
            1,
        ),
        (
            CountTokens,
            r#""generateContentRequest":{"model":"models/anthropic.claude-v2:1","contents":[]}"#,
            false,
            None,
            1,
        ),
        (
            EmbedContent,
            r#""model":"models/anthropic.claude-v2:1","content":{"parts":[{"text":"hi"}]}"#,
            false,
            None,
            1,
        ),
        (
            BatchEmbedContents,
            r#""requests":[{"model":"models/anthropic.claude-v2:1","content":{}},{"content":{}}]"#,
            false,
            None,
            1,
        ),
        (
            InvokeModel,
            r#""anthropic_version":"bedrock-2023-05-31","messages":[],"max_tokens":30"#,
            false,
            Some(30),
            1,
        ),
        (
            InvokeModelStream,
            r#""anthropic_version":"bedrock-2023-05-31","messages":[],"max_tokens":30,"n":2"#,
            true,
            Some(30),
            2,
        ),
        (
            Converse,
            r#""messages":[],"inferenceConfig":{"maxTokens":40,"temperature":0}"#,
            false,
            Some(40),
            1,
        ),
        (
            ConverseStream,
            r#""messages":[],"inferenceConfig":null,"additionalModelRequestFields":null"#,
            true,
            None,
            1,
        ),
        // Another bound may be among what goes to the model as it is.
        (
            Converse,
            r#""inferenceConfig":{"maxTokens":40},"additionalModelRequestFields":{"max_tokens":9}"#,
            false,
            None,
            1,
        ),
        (
            CohereChat,
            r#""messages":[],"documents":["d"],"max_tokens":60,"stream":true"#,
            true,
            Some(60),
            1,
        ),
        (
            CohereEmbed,
            r#""texts":["a"],"input_type":"search_query","embedding_types":["float"]"#,
            false,
            None,
            1,
        ),
        (CohereEmbedV1, r#""texts":["a"]"#, false, None, 1),
        (
            CohereRerank,
            r#""query":"q","documents":["d"]"#,
            false,
            None,
            1,
        ),
        (
            CohereRerankV1,
            r#""query":"q","documents":[{"text":"d"}],"return_documents":true"#,
            false,
            None,
            1,
        ),
        // A bound of another API is none.
        (ChatCompletions, r#""max_output_tokens":5"#, false, None, 1),
    ]
};

#[test]
fn the_facts_of_every_api_are_read_from_its_body() {
    for (endpoint, members, stream, max_output_tokens, choices) in ROWS {
        let separator = if members.contains("models/") {
            ""
        } else {
            "\n"
        };
        let body = format!("{separator}{}\n", body_with(endpoint, members));
        let request = read(endpoint, &body).unwrap();
        assert_eq!(request.model, MODEL, "{body}");
        assert_eq!(request.stream, stream, "{body}");
        assert_eq!(request.max_output_tokens, max_output_tokens, "{body}");
        assert_eq!(request.choices, choices, "{body}");
        assert_eq!(request.input_bytes, body.len() as u64);
        assert!(!request.stream || endpoint.streams(), "{endpoint:?}");
    }
    let shown: BTreeSet<_> = ROWS.iter().map(|row| row.0.name()).collect();
    for endpoint in Endpoint::ALL {
        let is_shown = shown.contains(endpoint.name());
        assert_eq!(is_shown, endpoint.body() == BodyKind::Json, "{endpoint:?}");
    }
}

#[test]
fn what_is_absent_or_null_has_its_default() {
    for members in [
        "",
        r#""stream":null,"stream_options":null,"max_tokens":null,"n":null,"best_of":null"#,
    ] {
        for endpoint in flat_apis() {
            let body = body_with(endpoint, members);
            let request = read(endpoint, &body).unwrap();
            assert!(!request.stream, "{endpoint:?}");
            assert_eq!(request.include_usage, None);
            assert_eq!((request.max_output_tokens, request.choices), (None, 1));
        }
    }
}

#[test]
fn the_model_is_required_where_no_path_has_it() {
    for endpoint in flat_apis() {
        for body in ["{}", r#"{"messages":[]}"#, r#"{"metadata":{"model":"x"}}"#] {
            assert_eq!(
                error_of(endpoint, body),
                RequestError::Missing { field: "model" },
                "{endpoint:?} {body}"
            );
        }
    }
}

/// R-22
#[test]
fn a_body_that_names_another_model_than_its_path_is_refused() {
    use Endpoint::*;
    let mut rows: Vec<(Endpoint, String)> = flat_apis()
        .map(|endpoint| (endpoint, r#"{"model":"other"}"#.to_owned()))
        .collect();
    for (endpoint, body) in [
        (GenerateContent, r#"{"model":"models/other"}"#),
        (StreamGenerateContent, r#"{"model":"other"}"#),
        (EmbedContent, r#"{"model":"models/models/path-model"}"#),
        (
            CountTokens,
            r#"{"generateContentRequest":{"model":"models/other"}}"#,
        ),
        (CountTokens, r#"{"generate_content_request":{"model":""}}"#),
        (
            BatchEmbedContents,
            r#"{"requests":[{"model":"models/path-model"},{"model":"models/other"}]}"#,
        ),
        (Converse, r#"{"modelId":"other"}"#),
        (ConverseStream, r#"{"model":"other"}"#),
        (InvokeModel, r#"{"model":"other"}"#),
        (InvokeModelStream, r#"{"model":"Path-Model"}"#),
    ] {
        rows.push((endpoint, body.to_owned()));
    }
    for (endpoint, body) in rows {
        let answer = Request::read(endpoint, Some("path-model"), Body::Json(body.as_bytes()));
        assert_eq!(
            answer.map(|request| request.model).unwrap_err(),
            RequestError::ModelConflict,
            "{endpoint:?} {body}"
        );
    }
}

/// R-22
#[test]
fn a_body_may_repeat_the_model_of_its_path() {
    for endpoint in Endpoint::ALL {
        let bodies: &[&str] = match endpoint {
            Endpoint::CountTokens => &[
                r#"{"model":"models/m","generateContentRequest":{"model":"m"}}"#,
                "{}",
            ],
            Endpoint::BatchEmbedContents => &[r#"{"requests":[{"model":"models/m"},{}]}"#],
            Endpoint::Converse | Endpoint::ConverseStream => &[r#"{"model":"m","modelId":"m"}"#],
            _ if endpoint.body() == BodyKind::Json => &[r#"{"model":"m"}"#, "{}"],
            _ => continue,
        };
        for body in bodies {
            let request = Request::read(endpoint, Some("m"), Body::Json(body.as_bytes()));
            assert_eq!(request.unwrap().model, "m", "{endpoint:?} {body}");
        }
    }
}

#[test]
fn an_object_that_is_looked_into_must_be_one() {
    for (endpoint, members, field) in [
        (
            Endpoint::GenerateContent,
            r#""generationConfig":[]"#,
            "generationConfig",
        ),
        (
            Endpoint::GenerateContent,
            r#""generationConfig":"x""#,
            "generationConfig",
        ),
        (
            Endpoint::CountTokens,
            r#""generateContentRequest":7"#,
            "generateContentRequest",
        ),
        (
            Endpoint::BatchEmbedContents,
            r#""requests":{"model":"m"}"#,
            "requests",
        ),
        (
            Endpoint::Converse,
            r#""inferenceConfig":[]"#,
            "inferenceConfig",
        ),
        (
            Endpoint::ChatCompletions,
            r#""stream_options":[]"#,
            "stream_options",
        ),
        (
            Endpoint::ChatCompletions,
            r#""stream_options":true"#,
            "stream_options",
        ),
        (Endpoint::GenerateContent, r#""model":7"#, "model"),
        (Endpoint::InvokeModel, r#""model":null"#, "model"),
    ] {
        let error = error_of(endpoint, &body_with(endpoint, members));
        assert_eq!(error.field(), Some(field), "{members}");
    }
    let element = error_of(
        Endpoint::BatchEmbedContents,
        r#"{"requests":["models/other"]}"#,
    );
    assert!(matches!(element, RequestError::Json(_)));
}

#[test]
fn flags_of_the_wrong_type_are_refused_by_name() {
    for bad in ["1", "0", "\"true\"", "[]", "{}"] {
        for endpoint in flat_apis() {
            let error = error_of(endpoint, &body_with(endpoint, &format!("\"stream\":{bad}")));
            assert_eq!(error.field(), Some("stream"), "{endpoint:?}");
        }
        let options = format!("\"stream_options\":{{\"include_usage\":{bad}}}");
        let error = error_of(
            Endpoint::ChatCompletions,
            &body_with(Endpoint::ChatCompletions, &options),
        );
        assert_eq!(error.field(), Some("stream_options.include_usage"));
    }
}

#[test]
fn a_body_of_another_kind_than_the_api_has_is_refused() {
    let form = Body::Form {
        boundary: b"X",
        bytes: b"--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--X--",
    };
    for endpoint in Endpoint::ALL {
        let json = Body::Json(br#"{"model":"m"}"#);
        for (body, kind) in [(json, BodyKind::Json), (form, BodyKind::Multipart)] {
            let answer = Request::read(endpoint, Some("m"), body);
            if endpoint.body() == kind {
                assert!(answer.is_ok(), "{endpoint:?}");
            } else {
                let error = answer.map(|request| request.model).unwrap_err();
                assert_eq!(error, RequestError::OtherKind, "{endpoint:?}");
            }
        }
    }
}

#[test]
fn messages_repeat_nothing_of_the_body() {
    for body in [
        r#"{"model":"s3cret!"}"#,
        r#"{"model":"m","s3cret!":1,"s3cret!":2}"#,
        r#"{"model":"m","s3cret\u0000":1}"#,
        r#"{"model":"m","stream":"s3cret!"}"#,
        r#"{"model":"m","tools":[{"Model":"s3cret!"}]}"#,
        r#"{"model":"m" s3cret!}"#,
    ] {
        let error = chat(body).map(|request| request.model).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{body}");
    }
}
