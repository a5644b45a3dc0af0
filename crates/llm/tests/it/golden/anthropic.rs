//! Anthropic.

use super::{Golden, golden};

/// See [`super::all`].
pub(super) fn goldens() -> Vec<Golden> {
    vec![
        golden!(
            "anthropic/messages.json",
            Messages,
            input_tokens = 2095,
            cache_read_tokens = 512,
            cache_write_5m_tokens = 1800,
            cache_write_1h_tokens = 0,
            output_tokens = 503
        ),
        golden!(
            "anthropic/messages_tool_use.json",
            Messages,
            input_tokens = 472,
            output_tokens = 91
        ),
        golden!(
            "anthropic/messages_cache_1h.json",
            Messages,
            input_tokens = 2048,
            cache_read_tokens = 1800,
            cache_write_5m_tokens = 148,
            cache_write_1h_tokens = 100,
            output_tokens = 503,
            reasoning_tokens = 400
        ),
        // What compacting cost is in `iterations` only.
        golden!(
            "anthropic/messages_compaction.json",
            Messages,
            input_tokens = 203_000,
            cache_read_tokens = 500,
            cache_write_5m_tokens = 0,
            output_tokens = 4500
        ),
        golden!(
            "anthropic/messages.sse",
            Messages,
            input_tokens = 25,
            cache_read_tokens = 1200,
            cache_write_5m_tokens = 300,
            output_tokens = 15
        )
        .text("Hello", 36),
        golden!(
            "anthropic/messages_thinking_tool_use.sse",
            Messages,
            input_tokens = 472,
            cache_read_tokens = 0,
            cache_write_5m_tokens = 0,
            output_tokens = 89
        )
        .text("They want weather.", 47),
        golden!(
            "anthropic/messages_cache_1h.sse",
            Messages,
            input_tokens = 3,
            cache_read_tokens = 0,
            cache_write_5m_tokens = 200,
            cache_write_1h_tokens = 800,
            output_tokens = 7
        )
        .text("Cached", 6),
        golden!(
            "anthropic/messages_compaction.sse",
            Messages,
            input_tokens = 203_000,
            cache_read_tokens = 0,
            cache_write_5m_tokens = 0,
            output_tokens = 4500
        )
        .text("They spoke.", 25),
        golden!(
            "anthropic/messages_overloaded.sse",
            Messages,
            input_tokens = 25,
            output_tokens = 1
        )
        .text("Half of", 14)
        .incomplete(),
        // Free.
        golden!("anthropic/count_tokens.json", CountMessageTokens),
    ]
}
