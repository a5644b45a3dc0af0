//! OpenAI.

use super::{Golden, golden};

/// See [`super::all`].
pub(super) fn goldens() -> Vec<Golden> {
    vec![
        golden!(
            "openai/chat.json",
            ChatCompletions,
            input_tokens = 93,
            cache_read_tokens = 1024,
            output_tokens = 46,
            reasoning_tokens = 0,
            audio_input_tokens = 0,
            audio_output_tokens = 0
        ),
        golden!(
            "openai/chat_reasoning_tools.json",
            ChatCompletions,
            input_tokens = 82,
            cache_read_tokens = 0,
            output_tokens = 593,
            reasoning_tokens = 576,
            audio_input_tokens = 0,
            audio_output_tokens = 0
        ),
        golden!(
            "openai/chat_audio.json",
            ChatCompletions,
            input_tokens = 240,
            cache_read_tokens = 0,
            output_tokens = 310,
            reasoning_tokens = 0,
            audio_input_tokens = 200,
            audio_output_tokens = 260,
            image_input_tokens = 0
        ),
        golden!(
            "openai/chat_with_usage.sse",
            ChatCompletions,
            input_tokens = 15,
            cache_read_tokens = 4,
            output_tokens = 10,
            reasoning_tokens = 0,
            audio_input_tokens = 0,
            audio_output_tokens = 0
        )
        .text("Hel", 42)
        .with_usage_chunk(),
        golden!("openai/chat_without_usage.sse", ChatCompletions)
            .text("Hel", 42)
            .incomplete(),
        golden!(
            "openai/chat_tools_usage_with_choices.sse",
            ChatCompletions,
            input_tokens = 60,
            cache_read_tokens = 0,
            output_tokens = 17
        )
        .text("loc", 20),
        golden!(
            "openai/chat_audio.sse",
            ChatCompletions,
            input_tokens = 240,
            cache_read_tokens = 0,
            output_tokens = 31,
            reasoning_tokens = 0,
            audio_input_tokens = 200,
            audio_output_tokens = 26
        )
        .text("Good", 9)
        .with_usage_chunk(),
        golden!(
            "openai/completions.json",
            Completions,
            input_tokens = 5,
            output_tokens = 23
        ),
        golden!(
            "openai/completions.sse",
            Completions,
            input_tokens = 5,
            output_tokens = 14
        )
        .text("This", 37)
        .with_usage_chunk(),
        golden!(
            "openai/responses.json",
            Responses,
            input_tokens = 200,
            cache_read_tokens = 128,
            output_tokens = 87,
            reasoning_tokens = 64
        ),
        golden!(
            "openai/responses.sse",
            Responses,
            input_tokens = 200,
            cache_read_tokens = 128,
            output_tokens = 87,
            reasoning_tokens = 64
        )
        .text("In a peaceful grove,", 66),
        golden!(
            "openai/responses_tools.sse",
            Responses,
            input_tokens = 220,
            cache_read_tokens = 1280,
            output_tokens = 420,
            reasoning_tokens = 384
        )
        .text("Weather.", 37),
        golden!(
            "openai/responses_incomplete.sse",
            Responses,
            input_tokens = 36,
            cache_read_tokens = 0,
            output_tokens = 16,
            reasoning_tokens = 16
        ),
        golden!("openai/responses_failed.sse", Responses)
            .text("Half", 4)
            .incomplete(),
        golden!("openai/embeddings.json", Embeddings, input_tokens = 8),
        golden!(
            "openai/images.json",
            ImageGenerations,
            input_tokens = 345,
            output_tokens = 272,
            image_input_tokens = 323,
            image_output_tokens = 272
        ),
        // Models that are billed by the picture report nothing.
        golden!("openai/images_by_piece.json", ImageVariations).incomplete(),
        golden!(
            "openai/images.sse",
            ImageGenerations,
            input_tokens = 50,
            output_tokens = 4160,
            image_input_tokens = 0
        ),
        golden!(
            "openai/image_edits.sse",
            ImageEdits,
            input_tokens = 400,
            output_tokens = 1056,
            image_input_tokens = 388
        ),
        golden!(
            "openai/speech.sse",
            Speech,
            input_tokens = 14,
            output_tokens = 101
        ),
        golden!(
            "openai/transcription.json",
            Transcriptions,
            input_tokens = 114,
            output_tokens = 45,
            audio_input_tokens = 100
        ),
        // Models that are billed by time report seconds, which nobody here counts.
        golden!("openai/transcription_by_time.json", Translations).incomplete(),
        golden!(
            "openai/transcription.sse",
            Transcriptions,
            input_tokens = 14,
            output_tokens = 9,
            audio_input_tokens = 14
        )
        .text("And", 16),
        // Free.
        golden!("openai/moderation.json", Moderations),
    ]
}
