//! Models that stand in paths, and the paths at which providers are asked.

use reeve_llm::{Endpoint, PathError, WireFormat, find};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn model(path: &str) -> Result<String, PathError> {
    find(b"POST", path.as_bytes())
        .api
        .map(|found| found.model.unwrap())
}

///
#[test]
fn a_model_in_a_path_is_read_whole_and_decoded_once() {
    let longest = "m".repeat(160);
    for (path, expected) in [
        (
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "gemini-2.5-pro",
        ),
        (
            "/genai/v1/models/gemini%2d2.5-pro:countTokens",
            "gemini-2.5-pro",
        ),
        ("/v1beta/models/a:b:streamGenerateContent", "a:b"),
        // The last verb is the one that Google goes by.
        (
            "/v1beta/models/m:generateContent:countTokens",
            "m:generateContent",
        ),
        (
            "/model/anthropic.claude-3-5-sonnet-20241022-v2:0/invoke",
            "anthropic.claude-3-5-sonnet-20241022-v2:0",
        ),
        (
            "/bedrock/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream",
            "us.anthropic.claude-sonnet-4-20250514-v1:0",
        ),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ax/converse",
            "arn:aws:bedrock:us-east-1:123456789012:x",
        ),
        ("/model/%61mazon.titan/invoke", "amazon.titan"),
        ("/model/.../converse", "..."),
        (
            "/openai/deployments/my-gpt4o_2/chat/completions",
            "my-gpt4o_2",
        ),
        (
            "/openai/openai/deployments/whisper/audio/transcriptions",
            "whisper",
        ),
        (&format!("/model/{longest}/converse"), &longest),
    ] {
        assert_eq!(model(path).as_deref(), Ok(expected), "{path}");
    }
}

///
#[test]
fn what_is_no_model_is_refused_wherever_a_path_has_one() {
    let too_long = "m".repeat(161);
    for (before, after) in [
        ("/v1beta/models/", ":generateContent"),
        ("/genai/v1beta/models/", ":batchEmbedContents"),
        ("/model/", "/converse"),
        ("/bedrock/model/", "/invoke-with-response-stream"),
        ("/openai/deployments/", "/chat/completions"),
        ("/openai/deployments/", "/images/edits"),
    ] {
        for bad in [
            // Directions, to whoever cuts paths.
            ".",
            "..",
            "%2e",
            "%2E%2e",
            ".%2e",
            // Slashes: an ARN has one, and has to be given a name in the catalogue instead.
            "a%2Fb",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.anthropic.claude-v2",
            "%2e%2e%2fx",
            "a%5cb",
            "a\\b",
            // Encoded twice.
            "a%253A0",
            "%2561",
            // Not in the alphabet of names.
            "a b",
            "a%20b",
            "a%00",
            "a\0",
            "a%0d%0ax:y",
            "a;b",
            "a%3bc",
            "a#b",
            "a%23",
            "a%3fb",
            "a&b",
            "a=b",
            "a,b",
            "(a)",
            "a*",
            "~a",
            "caf\u{e9}",
            "caf%C3%A9",
            "g%D1%80t",
            "a%ff",
            "a%c0%ae",
            "a%",
            "a%4",
            "a%zz",
            &too_long,
        ] {
            let path = format!("{before}{bad}{after}");
            assert_eq!(model(&path), Err(PathError::BadModel), "{path:?}");
        }
        // Of several segments, or none, it is another path.
        for other in ["", "a/b", "a//", "/a", "../a", "publishers/google/models/a"] {
            let path = format!("{before}{other}{after}");
            let error = model(&path).unwrap_err();
            // Gemini's can be asked about: any name, by GET.
            let known = [PathError::NotFound, PathError::MethodNotAllowed("GET")];
            assert!(known.contains(&error), "{path}: {error:?}");
        }
    }
}

///
#[test]
fn verbs_of_gemini_that_nobody_judges_are_refused() {
    for verb in [
        ":predict",
        ":predictLongRunning",
        ":generateAnswer",
        ":generateText",
        ":GenerateContent",
        ":generateContent2",
        "",
        ":",
        "/operations",
    ] {
        let path = format!("/v1beta/models/gemini-2.5-pro{verb}");
        assert_eq!(
            model(&path),
            Err(PathError::MethodNotAllowed("GET")),
            "{path}"
        );
    }
    for path in [
        "/v1beta/tunedModels/mine:generateContent",
        "/v1beta/models/m:batchGenerateContent",
        "/v1beta/models/m:asyncBatchEmbedContent",
    ] {
        assert!(matches!(model(path), Err(PathError::Unserved(_))), "{path}");
    }
    for path in [
        "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
        "/v1beta/dynamic/m:generateContent",
    ] {
        assert_eq!(model(path), Err(PathError::NotFound), "{path}");
    }
}

#[test]
fn a_provider_is_asked_at_the_path_of_its_own_api() {
    use Endpoint::*;
    use WireFormat::{Anthropic, Bedrock, Cohere, Gemini, OpenAi};
    let served = [
        (ChatCompletions, OpenAi, "/chat/completions"),
        (ChatCompletions, Anthropic, "/chat/completions"),
        (ChatCompletions, Gemini, "/openai/chat/completions"),
        (
            ChatCompletions,
            Cohere,
            "/compatibility/v1/chat/completions",
        ),
        (Completions, OpenAi, "/completions"),
        (Responses, OpenAi, "/responses"),
        (Embeddings, OpenAi, "/embeddings"),
        (Embeddings, Gemini, "/openai/embeddings"),
        (ImageGenerations, OpenAi, "/images/generations"),
        (ImageGenerations, Gemini, "/openai/images/generations"),
        (ImageEdits, OpenAi, "/images/edits"),
        (ImageVariations, OpenAi, "/images/variations"),
        (Speech, OpenAi, "/audio/speech"),
        (Transcriptions, OpenAi, "/audio/transcriptions"),
        (Translations, OpenAi, "/audio/translations"),
        (Moderations, OpenAi, "/moderations"),
        (Rerank, OpenAi, "/rerank"),
        (Rerank, Cohere, "/v2/rerank"),
        (Messages, Anthropic, "/messages"),
        (CountMessageTokens, Anthropic, "/messages/count_tokens"),
        (GenerateContent, Gemini, "/models/m:generateContent"),
        (
            StreamGenerateContent,
            Gemini,
            "/models/m:streamGenerateContent",
        ),
        (CountTokens, Gemini, "/models/m:countTokens"),
        (EmbedContent, Gemini, "/models/m:embedContent"),
        (BatchEmbedContents, Gemini, "/models/m:batchEmbedContents"),
        (InvokeModel, Bedrock, "/model/m/invoke"),
        (
            InvokeModelStream,
            Bedrock,
            "/model/m/invoke-with-response-stream",
        ),
        (Converse, Bedrock, "/model/m/converse"),
        (ConverseStream, Bedrock, "/model/m/converse-stream"),
        (CohereChat, Cohere, "/v2/chat"),
        (CohereEmbed, Cohere, "/v2/embed"),
        (CohereEmbedV1, Cohere, "/v1/embed"),
        (CohereRerank, Cohere, "/v2/rerank"),
        (CohereRerankV1, Cohere, "/v1/rerank"),
    ];
    for endpoint in Endpoint::ALL {
        for format in WireFormat::ALL {
            let row = served
                .iter()
                .find(|row| (row.0, row.1) == (endpoint, format));
            let path = row.map(|(_, _, path)| (*path).to_owned());
            assert_eq!(
                endpoint.upstream_path(format, "m"),
                path,
                "{endpoint:?} {format:?}"
            );
            assert_eq!(endpoint.is_served_by(format), path.is_some());
        }
    }
    // Which header the key travels in depends on the side that a path is on.
    for (endpoint, format, path) in served {
        let own_format_too = (endpoint, format) == (Rerank, Cohere);
        let on_that_side = endpoint.home() == OpenAi && format != OpenAi && !own_format_too;
        let begins_so = format
            .openai_side()
            .is_some_and(|side| path.starts_with(side));
        assert_eq!(begins_so, on_that_side, "{endpoint:?} {format:?}");
    }
    // Whatever else it is, the name of a model is one segment.
    let path = Converse.upstream_path(Bedrock, "arn:aws:x/us.a");
    assert_eq!(path.as_deref(), Some("/model/arn:aws:x%2Fus.a/converse"));
}
