//! Usage read naively: from a tree, by the vendors' documents. For a response that names nothing
//! twice, this is what must be billed.

use reeve_llm::{Endpoint, Usage, WireFormat};
use serde_json::Value;

/// Where a document of this API reports its usage.
pub fn place(endpoint: Endpoint, document: &Value) -> &Value {
    match endpoint.home() {
        WireFormat::Gemini => &document["usageMetadata"],
        WireFormat::Cohere if endpoint != Endpoint::CohereChat => &document["meta"],
        _ => &document["usage"],
    }
}

/// Are details there in both of their spellings? Then the last one counts, which a tree cannot say.
pub fn is_told_twice(usage: &Value) -> bool {
    ["input", "output"].iter().any(|side| {
        let has = |unit: &str| usage.get(format!("{side}_{unit}_details")).is_some();
        has("token") && has("tokens")
    })
}

/// What an event of a stream reports, where each report takes the place of the one before.
pub fn of_event(endpoint: Endpoint, event: &Value) -> Option<&Value> {
    let kind = event["type"].as_str().unwrap_or_default();
    let usage = match endpoint {
        Endpoint::ChatCompletions | Endpoint::Completions => &event["usage"],
        Endpoint::StreamGenerateContent => &event["usageMetadata"],
        Endpoint::Responses => match kind {
            "response.completed" | "response.incomplete" | "response.failed" => {
                &event["response"]["usage"]
            }
            _ => return None,
        },
        Endpoint::CohereChat if kind == "message-end" => &event["delta"]["usage"],
        _ => return None,
    };
    let says_something =
        endpoint != Endpoint::CohereChat || read(endpoint, usage) != Usage::default();
    (usage.is_object() && says_something).then_some(usage)
}

/// The usage that an object reports. Counts that are none are for the caller to rule out.
pub fn read(endpoint: Endpoint, usage: &Value) -> Usage {
    match endpoint {
        Endpoint::ChatCompletions
        | Endpoint::Completions
        | Endpoint::Embeddings
        | Endpoint::Rerank => openai(endpoint, usage, ["prompt", "completion"]),
        Endpoint::Converse | Endpoint::ConverseStream => converse(usage),
        _ => match endpoint.home() {
            WireFormat::OpenAi => openai(endpoint, usage, ["input", "output"]),
            WireFormat::Anthropic | WireFormat::Bedrock => anthropic(usage),
            WireFormat::Gemini => gemini(usage),
            WireFormat::Cohere => Usage {
                input_tokens: usage["billed_units"]["input_tokens"].as_u64(),
                output_tokens: usage["billed_units"]["output_tokens"].as_u64(),
                ..Usage::default()
            },
        },
    }
}

fn openai(endpoint: Endpoint, usage: &Value, [input, output]: [&str; 2]) -> Usage {
    let total = usage["total_tokens"].as_u64();
    let details = |side: &str| {
        let singular = &usage[format!("{side}_token_details")];
        if singular.is_object() && input == "input" {
            singular
        } else {
            &usage[format!("{side}_tokens_details")]
        }
    };
    let (of_input, of_output) = (details(input), details(output));
    let cached = of_input["cached_tokens"].as_u64().or(usage["cached_tokens"]
        .as_u64()
        .max(usage["prompt_cache_hit_tokens"].as_u64()));
    let written = of_input["cache_write_tokens"].as_u64();
    let mut all_input = usage[format!("{input}_tokens")].as_u64();
    if endpoint.output() == reeve_llm::Output::Nothing {
        all_input = all_input.or(total);
    }
    let mut all_output = usage[format!("{output}_tokens")].as_u64();
    if let (Some(input), Some(output), Some(total)) = (all_input, all_output, total) {
        all_output = Some(output.max(total.saturating_sub(input)));
    }
    Usage {
        input_tokens: all_input.map(|all| all - cached.unwrap_or(0) - written.unwrap_or(0)),
        cache_read_tokens: cached,
        cache_write_5m_tokens: written,
        cache_write_1h_tokens: None,
        output_tokens: all_output,
        reasoning_tokens: of_output["reasoning_tokens"].as_u64(),
        audio_input_tokens: of_input["audio_tokens"].as_u64(),
        audio_output_tokens: of_output["audio_tokens"].as_u64(),
        image_input_tokens: of_input["image_tokens"].as_u64(),
        image_output_tokens: of_output["image_tokens"].as_u64(),
    }
}

fn anthropic(usage: &Value) -> Usage {
    let written = usage["cache_creation_input_tokens"].as_u64();
    let hour = usage["cache_creation"]["ephemeral_1h_input_tokens"].as_u64();
    let minutes = usage["cache_creation"]["ephemeral_5m_input_tokens"].as_u64();
    Usage {
        input_tokens: usage["input_tokens"].as_u64(),
        cache_read_tokens: usage["cache_read_input_tokens"].as_u64(),
        cache_write_5m_tokens: match (written, hour) {
            (Some(all), Some(hour)) => Some((all - hour).max(minutes.unwrap_or(0))),
            (Some(all), None) => Some(all),
            (None, _) => minutes,
        },
        cache_write_1h_tokens: hour,
        output_tokens: usage["output_tokens"].as_u64(),
        ..Usage::default()
    }
}

fn converse(usage: &Value) -> Usage {
    let all = usage["cacheWriteInputTokens"].as_u64();
    let hours: Vec<u64> = usage["cacheDetails"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["ttl"] == "1h")
        .map(|entry| entry["inputTokens"].as_u64().unwrap_or(0))
        .collect();
    let hour = (!hours.is_empty()).then(|| hours.iter().sum());
    Usage {
        input_tokens: usage["inputTokens"].as_u64(),
        cache_read_tokens: usage["cacheReadInputTokens"].as_u64(),
        cache_write_5m_tokens: all.map(|all| all - hour.unwrap_or(0)),
        cache_write_1h_tokens: hour,
        output_tokens: usage["outputTokens"].as_u64(),
        ..Usage::default()
    }
}

fn gemini(usage: &Value) -> Usage {
    let count = |name: &str| usage[name].as_u64();
    let prompt = count("promptTokenCount");
    let cached = count("cachedContentTokenCount");
    let tools = count("toolUsePromptTokenCount").unwrap_or(0);
    let thoughts = count("thoughtsTokenCount");
    let candidates = count("candidatesTokenCount");
    let said = (candidates.is_some() || thoughts.is_some())
        .then(|| candidates.unwrap_or(0) + thoughts.unwrap_or(0));
    let left = count("totalTokenCount")
        .zip(prompt)
        .map(|(total, prompt)| total.saturating_sub(prompt + tools));
    let modality = |details: &str, modality: &str| {
        let counts: Vec<u64> = usage[details]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["modality"] == modality)
            .map(|entry| entry["tokenCount"].as_u64().unwrap_or(0))
            .collect();
        (!counts.is_empty()).then(|| counts.iter().sum())
    };
    Usage {
        input_tokens: prompt.map(|prompt| prompt - cached.unwrap_or(0) + tools),
        cache_read_tokens: cached,
        output_tokens: said.max(left),
        reasoning_tokens: thoughts,
        audio_input_tokens: modality("promptTokensDetails", "AUDIO"),
        audio_output_tokens: modality("candidatesTokensDetails", "AUDIO"),
        image_input_tokens: modality("promptTokensDetails", "IMAGE"),
        image_output_tokens: modality("candidatesTokensDetails", "IMAGE"),
        ..Usage::default()
    }
}
