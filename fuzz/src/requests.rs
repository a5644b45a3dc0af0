//! What must hold for any body that is accepted: serde_json reads the same facts from it, and what
//! is forwarded is, to serde_json, the same document but for the members that we set.

use reeve_llm::{Body, Endpoint, Request, WireFormat};
use serde_json::{Value, json};

use crate::strict_json;

/// The model that paths name here. Mistral's models take `max_tokens` on Bedrock.
const PATH_MODEL: &str = "mistral.large:0";
/// What a body is changed to ask for.
const ANOTHER: &str = "another/model";
/// For the gateway alone, where bodies are flat; elsewhere forbidden like the next.
const FALLBACKS: &str = "fallbacks";
/// Members that would choose another model, place or credential.
const FORBIDDEN: [&str; 8] = [
    "api_base",
    "base_url",
    "api_key",
    "custom_llm_provider",
    "models",
    "route",
    "provider",
    "extra_body",
];

/// Judges a JSON body for an API, with and without a model in the path.
pub fn check_json(endpoint: Endpoint, body: &[u8]) {
    let path_models = if endpoint.names_model_in_path() {
        &[Some(PATH_MODEL)][..]
    } else {
        &[None, Some(PATH_MODEL)]
    };
    for &path_model in path_models {
        let Ok(request) = Request::read(endpoint, path_model, Body::Json(body)) else {
            continue;
        };
        let theirs = strict_json::read(body);
        check_names(endpoint, &theirs);
        check_facts(&request, path_model, &theirs);
        check_rewriting(&request, path_model, body, theirs);
    }
}

/// No name at the top is another one to somebody who ignores case.
fn check_names(endpoint: Endpoint, theirs: &Value) {
    let object = theirs.as_object().expect("a request is an object");
    for name in object.keys() {
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
        let lower = name.to_lowercase();
        assert!(!FORBIDDEN.contains(&lower.as_str()), "{name}");
        assert!(lower != "model" || name == "model", "{name}");
        assert!(
            lower != FALLBACKS || (name == FALLBACKS && is_flat(endpoint)),
            "{name}"
        );
    }
}

fn is_flat(endpoint: Endpoint) -> bool {
    !matches!(endpoint.home(), WireFormat::Gemini | WireFormat::Bedrock)
}

fn check_facts(request: &Request<'_>, path_model: Option<&str>, theirs: &Value) {
    let endpoint = request.endpoint;
    let (bound, choices) = match endpoint.home() {
        WireFormat::Gemini => {
            let repeated = [&theirs["model"], &theirs["generateContentRequest"]["model"]];
            let snake = &theirs["generate_content_request"]["model"];
            let in_list = theirs["requests"].as_array().into_iter().flatten();
            for model in repeated
                .into_iter()
                .chain([snake])
                .chain(in_list.map(|request| &request["model"]))
                .filter_map(Value::as_str)
            {
                assert_eq!(model.strip_prefix("models/").unwrap_or(model), PATH_MODEL);
            }
            let config = in_either_case(theirs, "generationConfig", "generation_config");
            let bound = in_either_case(config, "maxOutputTokens", "max_output_tokens");
            let choices = in_either_case(config, "candidateCount", "candidate_count");
            (bound.as_u64(), choices.as_u64().unwrap_or(1))
        }
        WireFormat::Bedrock => {
            for name in ["model", "modelId"] {
                let is_it = theirs.get(name).is_none_or(|model| model == PATH_MODEL);
                // To the vendor of a model, `modelId` is a name like any other.
                assert!(is_it || (name == "modelId" && !is_converse(endpoint)));
            }
            if is_converse(endpoint) {
                let vendors = !theirs["additionalModelRequestFields"].is_null();
                let bound = theirs["inferenceConfig"]["maxTokens"].as_u64();
                (bound.filter(|_| !vendors), 1)
            } else {
                let choices = ["n", "num_generations", "numResults"]
                    .map(|name| theirs[name].as_u64().unwrap_or(1));
                (
                    theirs["max_tokens"].as_u64(),
                    choices.into_iter().max().unwrap_or(1),
                )
            }
        }
        _ => {
            match theirs.get("model") {
                Some(model) => assert_eq!(model, &*request.model),
                None => assert_eq!(path_model, Some(&*request.model)),
            }
            (flat_bound(endpoint, theirs), flat_choices(endpoint, theirs))
        }
    };
    if let Some(path_model) = path_model {
        assert_eq!(request.model, path_model);
    }
    assert_eq!(request.max_output_tokens, bound.filter(|&bound| bound > 0));
    assert_eq!(request.choices, choices);
    let fallbacks = theirs.get(FALLBACKS).filter(|list| !list.is_null());
    assert_eq!(
        request.fallbacks.as_ref().map(|list| json!(list)).as_ref(),
        fallbacks
    );
    for name in request.fallbacks.iter().flatten() {
        assert!(
            name.contains('/') && reeve_llm::is_model_name(name),
            "{name}"
        );
    }
    if !endpoint.names_model_in_path() {
        assert_eq!(request.stream, theirs["stream"].as_bool().unwrap_or(false));
        let asked = theirs["stream_options"]["include_usage"].as_bool();
        assert_eq!(request.include_usage, asked);
    }
}

fn is_converse(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::Converse | Endpoint::ConverseStream)
}

/// Protobuf's JSON has two spellings; both at once are refused.
fn in_either_case<'v>(object: &'v Value, camel: &str, snake: &str) -> &'v Value {
    assert!(object.get(camel).is_none() || object.get(snake).is_none());
    object.get(snake).unwrap_or(&object[camel])
}

fn flat_bound(endpoint: Endpoint, theirs: &Value) -> Option<u64> {
    match endpoint {
        Endpoint::ChatCompletions => theirs["max_completion_tokens"]
            .as_u64()
            .or(theirs["max_tokens"].as_u64()),
        Endpoint::Responses => theirs["max_output_tokens"].as_u64(),
        Endpoint::Completions | Endpoint::Messages | Endpoint::CohereChat => {
            theirs["max_tokens"].as_u64()
        }
        _ => None,
    }
}

fn flat_choices(endpoint: Endpoint, theirs: &Value) -> u64 {
    let answers = ["n", "best_of"].map(|name| theirs[name].as_u64().unwrap_or(1));
    let prompts = match &theirs["prompt"] {
        Value::Array(prompts) if endpoint == Endpoint::Completions => prompts
            .iter()
            .filter(|prompt| prompt.is_string() || prompt.is_array())
            .count(),
        _ => 1,
    };
    let prompts = u64::try_from(prompts.max(1)).expect("it fits");
    answers.into_iter().max().unwrap_or(1) * prompts
}

fn check_rewriting(
    request: &Request<'_>,
    path_model: Option<&str>,
    body: &[u8],
    mut expected: Value,
) {
    let rewritten = request.rewrite(ANOTHER).expect("only forms can fail");
    if request.endpoint.names_model_in_path() {
        assert_eq!(rewritten.body, None);
        return;
    }
    let had_fallbacks = expected
        .as_object_mut()
        .is_some_and(|body| body.remove(FALLBACKS).is_some());
    expected["model"] = ANOTHER.into();
    if rewritten.usage_injected {
        if !expected["stream_options"].is_object() {
            expected["stream_options"] = json!({});
        }
        expected["stream_options"]["include_usage"] = true.into();
    }
    let forwarded = rewritten.body.as_deref().unwrap_or(body);
    assert_eq!(strict_json::read(forwarded), expected);

    // Our own reader finds in it what was put there, and nothing left to do.
    let again = Request::read(request.endpoint, None, Body::Json(forwarded)).expect("we wrote it");
    assert_eq!(again.model, ANOTHER);
    assert_eq!(again.stream, request.stream);
    assert_eq!(again.max_output_tokens, request.max_output_tokens);
    assert_eq!(again.choices, request.choices);
    assert_eq!(again.fallbacks, None);
    assert_eq!(
        again.rewrite(ANOTHER).expect("only forms can fail").body,
        None
    );

    // Asked to change nothing, it changes nothing but what it must.
    let same = request
        .rewrite(&request.model)
        .expect("only forms can fail");
    if had_fallbacks {
        assert!(same.body.is_some());
    } else if !same.usage_injected && (path_model.is_none() || body_names_model(request, body)) {
        assert_eq!(same.body, None);
    }
}

fn body_names_model(request: &Request<'_>, body: &[u8]) -> bool {
    Request::read(request.endpoint, None, Body::Json(body)).is_ok()
}
