//! Bedrock.

use super::{Golden, golden};

/// See [`super::all`].
pub(super) fn goldens() -> Vec<Golden> {
    vec![
        golden!(
            "bedrock/converse.json",
            Converse,
            input_tokens = 30,
            cache_read_tokens = 1024,
            cache_write_5m_tokens = 502,
            cache_write_1h_tokens = 7000,
            output_tokens = 628
        ),
        golden!(
            "bedrock/converse.frames",
            ConverseStream,
            input_tokens = 426,
            cache_read_tokens = 64,
            cache_write_5m_tokens = 0,
            output_tokens = 58
        )
        .text("Songs", 47),
        golden!("bedrock/converse_throttled.frames", ConverseStream)
            .text("Half of", 7)
            .incomplete(),
        golden!(
            "bedrock/invoke_claude.json",
            InvokeModel,
            input_tokens = 14,
            cache_read_tokens = 700,
            cache_write_5m_tokens = 0,
            cache_write_1h_tokens = 2000,
            output_tokens = 61
        )
        .with_counts([Some(b"14"), Some(b"61"), Some(b"700"), Some(b"2000")]),
        golden!(
            "bedrock/invoke_nova.json",
            InvokeModel,
            input_tokens = 26,
            cache_read_tokens = 16,
            cache_write_5m_tokens = 0,
            output_tokens = 9
        )
        .with_counts([Some(b"26"), Some(b"9"), Some(b"16"), Some(b"0")]),
        golden!(
            "bedrock/invoke_titan_text.json",
            InvokeModel,
            input_tokens = 5,
            output_tokens = 17
        )
        .with_counts([Some(b"5"), Some(b"17"), None, None]),
        golden!(
            "bedrock/invoke_titan_embed.json",
            InvokeModel,
            input_tokens = 6,
            output_tokens = 0
        )
        .with_counts([Some(b"6"), None, None, None]),
        golden!(
            "bedrock/invoke_nova_embed.json",
            InvokeModel,
            input_tokens = 8,
            output_tokens = 0
        )
        .with_counts([Some(b"8"), None, None, None]),
        golden!(
            "bedrock/invoke_cohere_embed.json",
            InvokeModel,
            input_tokens = 3,
            output_tokens = 0
        )
        .with_counts([Some(b"3"), None, None, None]),
        golden!(
            "bedrock/invoke_claude.frames",
            InvokeModelStream,
            input_tokens = 14,
            cache_read_tokens = 0,
            cache_write_5m_tokens = 0,
            cache_write_1h_tokens = 1000,
            output_tokens = 22
        )
        .text("Bed", 45),
        // Of an unknown vendor, the whole events stand for the text.
        golden!(
            "bedrock/invoke_titan.frames",
            InvokeModelStream,
            input_tokens = 5,
            output_tokens = 16
        )
        .text("Titan", 355),
    ]
}
