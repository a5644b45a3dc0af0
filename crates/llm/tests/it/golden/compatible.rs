//! Those who speak as OpenAI does, and what is theirs alone.

use super::{Golden, golden};

/// See [`super::all`].
pub(super) fn goldens() -> Vec<Golden> {
    vec![
        golden!(
            "azure/chat.json",
            ChatCompletions,
            input_tokens = 25,
            cache_read_tokens = 0,
            output_tokens = 3,
            reasoning_tokens = 0,
            audio_input_tokens = 0,
            audio_output_tokens = 0
        ),
        golden!(
            "azure/chat.sse",
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
        golden!(
            "deepseek/chat.json",
            ChatCompletions,
            input_tokens = 104,
            cache_read_tokens = 896,
            output_tokens = 250,
            reasoning_tokens = 240
        ),
        golden!(
            "deepseek/chat.sse",
            ChatCompletions,
            input_tokens = 6,
            cache_read_tokens = 64,
            output_tokens = 5
        )
        .text("Hm", 4),
        golden!(
            "fireworks/chat.sse",
            ChatCompletions,
            input_tokens = 32,
            cache_read_tokens = 480,
            output_tokens = 2
        )
        .text("Sparks", 6),
        golden!(
            "groq/chat.json",
            ChatCompletions,
            input_tokens = 16,
            cache_read_tokens = 64,
            output_tokens = 60,
            reasoning_tokens = 41
        ),
        golden!(
            "groq/chat.sse",
            ChatCompletions,
            input_tokens = 43,
            output_tokens = 12
        )
        .text("Fast", 43)
        .with_usage_chunk(),
        golden!(
            "groq/chat_x_groq_only.sse",
            ChatCompletions,
            input_tokens = 43,
            output_tokens = 2
        )
        .text("Fast", 4),
        golden!("jina/rerank.json", Rerank, input_tokens = 815),
        golden!(
            "mistral/chat.json",
            ChatCompletions,
            input_tokens = 161,
            output_tokens = 129
        ),
        golden!(
            "mistral/chat.sse",
            ChatCompletions,
            input_tokens = 9,
            output_tokens = 9
        )
        .text("Bon", 19),
        golden!(
            "ollama/chat.sse",
            ChatCompletions,
            input_tokens = 11,
            output_tokens = 4
        )
        .text("Ok", 5)
        .with_usage_chunk(),
        golden!(
            "openrouter/chat.json",
            ChatCompletions,
            input_tokens = 300,
            cache_read_tokens = 500,
            cache_write_5m_tokens = 1200,
            output_tokens = 300,
            reasoning_tokens = 120,
            audio_input_tokens = 0,
            image_output_tokens = 0
        ),
        golden!(
            "openrouter/chat.sse",
            ChatCompletions,
            input_tokens = 66,
            cache_read_tokens = 128,
            output_tokens = 66,
            reasoning_tokens = 64,
            audio_input_tokens = 0
        )
        .text("Hm", 4)
        .with_usage_chunk(),
        // Ends without `[DONE]`, and repeats all that was said in each chunk.
        golden!(
            "perplexity/chat.json",
            ChatCompletions,
            input_tokens = 8,
            output_tokens = 439
        ),
        golden!(
            "perplexity/chat.sse",
            ChatCompletions,
            input_tokens = 7,
            output_tokens = 4
        )
        .text("Dogs", 10),
        golden!(
            "together/chat.sse",
            ChatCompletions,
            input_tokens = 37,
            output_tokens = 2
        )
        .text("Yes", 3),
        golden!(
            "vllm/chat_continuous.sse",
            ChatCompletions,
            input_tokens = 20,
            output_tokens = 3
        )
        .text("One", 7)
        .with_usage_chunk(),
        // Reasoning stands beside the completion, and shows in the total.
        golden!(
            "xai/chat.json",
            ChatCompletions,
            input_tokens = 26,
            cache_read_tokens = 6,
            output_tokens = 103,
            reasoning_tokens = 94,
            audio_input_tokens = 0,
            audio_output_tokens = 0,
            image_input_tokens = 0
        ),
        golden!(
            "xai/chat.sse",
            ChatCompletions,
            input_tokens = 1,
            cache_read_tokens = 31,
            output_tokens = 95,
            reasoning_tokens = 94,
            audio_input_tokens = 0,
            audio_output_tokens = 0,
            image_input_tokens = 0
        )
        .text("3*101", 8)
        .with_usage_chunk(),
    ]
}
