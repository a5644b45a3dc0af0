//! Gemini, and its OpenAI-compatible side.

use super::{Golden, golden};

/// See [`super::all`].
pub(super) fn goldens() -> Vec<Golden> {
    vec![
        golden!(
            "gemini/generate.json",
            GenerateContent,
            input_tokens = 450,
            cache_read_tokens = 2000,
            output_tokens = 552,
            reasoning_tokens = 512,
            audio_input_tokens = 0,
            image_input_tokens = 258
        ),
        golden!(
            "gemini/generate_image.json",
            GenerateContent,
            input_tokens = 9,
            output_tokens = 1290,
            image_output_tokens = 1290
        ),
        golden!(
            "gemini/blocked.json",
            GenerateContent,
            input_tokens = 11,
            output_tokens = 0
        ),
        golden!(
            "gemini/stream.sse",
            StreamGenerateContent,
            input_tokens = 8,
            output_tokens = 51,
            reasoning_tokens = 42
        )
        .text("The sky", 32),
        golden!(
            "gemini/stream.json",
            StreamGenerateContent,
            input_tokens = 12,
            output_tokens = 21
        )
        .text("Brackets", 88),
        golden!(
            "gemini/blocked.sse",
            StreamGenerateContent,
            input_tokens = 11,
            output_tokens = 0
        ),
        golden!("gemini/embed.json", EmbedContent, input_tokens = 5),
        // Reports nothing.
        golden!("gemini/batch_embed.json", BatchEmbedContents).incomplete(),
        // Free.
        golden!("gemini/count_tokens.json", CountTokens),
        // Thoughts show in the total only.
        golden!(
            "gemini/openai_chat.json",
            ChatCompletions,
            input_tokens = 6,
            output_tokens = 67
        ),
        golden!(
            "gemini/openai_chat.sse",
            ChatCompletions,
            input_tokens = 6,
            output_tokens = 67
        )
        .text("Hi", 3),
    ]
}
