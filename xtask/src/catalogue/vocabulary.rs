//! The source's words → the words of the catalogue file.
//!
//! What is not named here stays out of the file; the report counts it, so that a new kind of price
//! in the source is noticed when the catalogue is refreshed.

/// Reeve's name for a provider of the source, which has several names for one and the same.
pub(super) fn provider(name: &str) -> &str {
    match name {
        "azure_text" => "azure",
        "bedrock_converse" => "bedrock",
        "cohere_chat" => "cohere",
        "fireworks_ai" | "fireworks_ai-embedding-models" => "fireworks",
        "text-completion-openai" => "openai",
        "together_ai" => "together",
        _ if name == "vertex_ai" || name.starts_with("vertex_ai-") => "vertex",
        _ => name.strip_prefix("text-completion-").unwrap_or(name),
    }
}

/// The model's name at its provider: the source's key without the provider in front.
pub(super) fn model<'a>(key: &'a str, provider_name: &str) -> &'a str {
    match key.split_once('/') {
        Some((first, rest)) if provider(first) == provider_name => rest,
        _ => key,
    }
}

/// Whether the catalogue lists models of this mode. Left out: web searches, guardrails, vector
/// stores and other services that are not called by a model's name.
pub(super) fn is_listed_mode(mode: &str) -> bool {
    matches!(
        mode,
        "audio_speech"
            | "audio_transcription"
            | "chat"
            | "completion"
            | "embedding"
            | "image_edit"
            | "image_generation"
            | "moderation"
            | "ocr"
            | "realtime"
            | "rerank"
            | "responses"
            | "video_generation"
    )
}

/// Whether models of this mode write text, so that a limit on their output exists.
pub(super) fn writes_text(mode: &str) -> bool {
    matches!(mode, "chat" | "completion" | "realtime" | "responses")
}

/// Whether a key of the source names no model but a price bracket or a rented machine,
/// or holds notes.
pub(super) fn is_not_a_model(key: &str) -> bool {
    key == "sample_spec"
        || key == "fallback_generalizations"
        || key.starts_with("fireworks-ai-")
        || key.starts_with("together-ai-")
        || key.contains("-commitment/")
        || key.ends_with("/container")
}

/// Where a price of the source belongs in the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PriceField {
    /// What is counted, for example `in` or `read`.
    pub(super) meter: &'static str,
    /// Which rates: empty for the standard ones, else a service tier, a threshold, or both:
    /// `batch`, `>200000`, `priority>200000`.
    pub(super) card: String,
}

/// The suffixes of service tiers that differ in price.
const SERVICES: [(&str, &str); 5] = [
    ("_batches", "batch"),
    ("_flex", "flex"),
    ("_priority", "priority"),
    ("_balanced", "balanced"),
    ("_ultrafast", "ultrafast"),
];

/// Takes the name of a price apart:
/// `input_cost_per_token_above_200k_tokens_priority` is `in` of `priority>200000`.
pub(super) fn price_field(name: &str) -> Option<PriceField> {
    let (name, service) = SERVICES
        .iter()
        .find_map(|(suffix, service)| Some((name.strip_suffix(suffix)?, *service)))
        .unwrap_or((name, ""));
    let threshold = name
        .strip_suffix("k_tokens")
        .and_then(|name| name.rsplit_once("_above_"))
        .and_then(|(name, thousands)| Some((name, thousands.parse::<u32>().ok()?)));
    let (name, card) = match threshold {
        Some((name, thousands)) => (name, format!("{service}>{thousands}000")),
        None => (name, service.to_owned()),
    };
    Some(PriceField {
        meter: meter(name)?,
        card,
    })
}

/// What a price of the source is a price of.
pub(super) fn meter(name: &str) -> Option<&'static str> {
    Some(match name {
        "input_cost_per_token" => "in",
        "output_cost_per_token" => "out",
        "cache_read_input_token_cost" => "read",
        "cache_creation_input_token_cost" => "write",
        "cache_creation_input_token_cost_above_1hr" => "write1h",
        "output_cost_per_reasoning_token" => "reason",
        "citation_cost_per_token" => "cite",
        "input_cost_per_audio_token" => "audio_in",
        "output_cost_per_audio_token" => "audio_out",
        "cache_read_input_audio_token_cost" => "audio_read",
        "cache_creation_input_audio_token_cost" => "audio_write",
        "input_cost_per_image_token" => "image_in",
        "output_cost_per_image_token" => "image_out",
        "cache_read_input_image_token_cost" => "image_read",
        "input_cost_per_video_token" => "video_in",
        "output_cost_per_video_token" => "video_out",
        "input_cost_per_character" => "chars_in",
        "output_cost_per_character" => "chars_out",
        "input_cost_per_image" => "images_in",
        "output_cost_per_image" => "images_out",
        "input_cost_per_pixel" => "pixels_in",
        "output_cost_per_pixel" => "pixels_out",
        "input_cost_per_second" => "seconds_in",
        "output_cost_per_second" => "seconds_out",
        "input_cost_per_audio_per_second" => "audio_seconds_in",
        "input_cost_per_video_per_second" => "video_seconds_in",
        "output_cost_per_video_per_second" => "video_seconds_out",
        "ocr_cost_per_page" => "pages",
        "annotation_cost_per_page" => "annotated_pages",
        "input_cost_per_query" => "queries",
        "input_cost_per_request" => "requests",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{PriceField, model, price_field, provider};

    fn field(meter: &'static str, card: &str) -> PriceField {
        PriceField {
            meter,
            card: card.to_owned(),
        }
    }

    #[test]
    fn a_price_name_is_taken_apart_into_meter_threshold_and_service() {
        for (name, expected) in [
            ("input_cost_per_token", field("in", "")),
            ("output_cost_per_token_batches", field("out", "batch")),
            (
                "input_cost_per_token_above_128k_tokens",
                field("in", ">128000"),
            ),
            (
                "cache_read_input_token_cost_above_272k_tokens_flex",
                field("read", "flex>272000"),
            ),
            (
                "cache_creation_input_token_cost_above_1hr",
                field("write1h", ""),
            ),
            (
                "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
                field("write1h", ">200000"),
            ),
            (
                "input_cost_per_audio_token_priority",
                field("audio_in", "priority"),
            ),
        ] {
            assert_eq!(price_field(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_price_of_an_unknown_thing_is_not_taken_for_a_known_one() {
        for name in [
            "input_dbu_cost_per_token",
            "output_cost_per_second_1080p",
            "input_cost_per_video_per_second_above_8s_interval",
            "input_cost_per_token_decisions",
            "input_cost_per_token_above_k_tokens",
            "max_tokens",
        ] {
            assert_eq!(price_field(name), None, "{name}");
        }
    }

    #[test]
    fn one_provider_has_one_name() {
        for (theirs, ours) in [
            ("vertex_ai", "vertex"),
            ("vertex_ai-anthropic_models", "vertex"),
            ("bedrock_converse", "bedrock"),
            ("text-completion-openai", "openai"),
            ("text-completion-codestral", "codestral"),
            ("together_ai", "together"),
            ("fireworks_ai", "fireworks"),
            ("azure_ai", "azure_ai"),
            ("groq", "groq"),
        ] {
            assert_eq!(provider(theirs), ours);
        }
    }

    #[test]
    fn only_the_providers_own_prefix_leaves_a_model_name() {
        assert_eq!(model("gpt-4o", "openai"), "gpt-4o");
        assert_eq!(model("vertex_ai/claude-opus-5", "vertex"), "claude-opus-5");
        assert_eq!(
            model("groq/openai/gpt-oss-20b", "groq"),
            "openai/gpt-oss-20b"
        );
        assert_eq!(model("azure/eu/gpt-4o", "azure"), "eu/gpt-4o");
        assert_eq!(
            model("hd/1024-x-1024/dall-e-3", "openai"),
            "hd/1024-x-1024/dall-e-3"
        );
    }
}
