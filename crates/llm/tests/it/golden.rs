//! The golden files and what each says was used. Written by hand after the vendors' references;
//! texts in them try to pass for usage.

use reeve_llm::{Endpoint, Usage};

/// A response and what must be read from it.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) endpoint: Endpoint,
    pub(crate) bytes: &'static [u8],
    pub(crate) usage: Usage,
    pub(crate) complete: bool,
    /// Bytes of generated text; for streams only.
    pub(crate) text_bytes: u64,
}

/// Uncached input, read from cache, written to cache, output, reasoning.
const fn usage(counts: [Option<u64>; 5]) -> Usage {
    let [
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
    ] = counts;
    Usage {
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
    }
}

macro_rules! golden {
    ($name:literal, $endpoint:ident, $counts:expr, complete: $complete:literal, text: $text:literal) => {
        Golden {
            name: $name,
            endpoint: Endpoint::$endpoint,
            bytes: include_bytes!(concat!("../golden/", $name)),
            usage: usage($counts),
            complete: $complete,
            text_bytes: $text,
        }
    };
}

pub(crate) const BODIES: [Golden; 6] = [
    golden!(
        "openai/chat.json",
        ChatCompletions,
        [Some(93), Some(1024), None, Some(46), Some(0)],
        complete: true,
        text: 0
    ),
    golden!(
        "openai/chat_reasoning_tools.json",
        ChatCompletions,
        [Some(82), Some(0), None, Some(593), Some(576)],
        complete: true,
        text: 0
    ),
    golden!(
        "openai/embeddings.json",
        Embeddings,
        [Some(8), None, None, None, None],
        complete: true,
        text: 0
    ),
    golden!(
        "openai/responses.json",
        Responses,
        [Some(200), Some(128), None, Some(87), Some(64)],
        complete: true,
        text: 0
    ),
    golden!(
        "anthropic/messages.json",
        Messages,
        [Some(2095), Some(512), Some(1800), Some(503), None],
        complete: true,
        text: 0
    ),
    golden!(
        "anthropic/messages_tool_use.json",
        Messages,
        [Some(472), None, None, Some(91), None],
        complete: true,
        text: 0
    ),
];

pub(crate) const STREAMS: [Golden; 9] = [
    golden!(
        "openai/chat_with_usage.sse",
        ChatCompletions,
        [Some(15), Some(4), None, Some(10), Some(0)],
        complete: true,
        text: 42
    ),
    golden!(
        "openai/chat_without_usage.sse",
        ChatCompletions,
        [None; 5],
        complete: false,
        text: 42
    ),
    golden!(
        "openai/chat_tools_usage_with_choices.sse",
        ChatCompletions,
        [Some(60), None, None, Some(17), None],
        complete: true,
        text: 20
    ),
    golden!(
        "openai/chat_azure_prompt_filter.sse",
        ChatCompletions,
        [Some(15), Some(4), None, Some(10), Some(0)],
        complete: true,
        text: 42
    ),
    golden!(
        "openai/responses.sse",
        Responses,
        [Some(200), Some(128), None, Some(87), Some(64)],
        complete: true,
        text: 66
    ),
    golden!(
        "openai/responses_incomplete.sse",
        Responses,
        [Some(36), Some(0), None, Some(16), Some(16)],
        complete: true,
        text: 0
    ),
    golden!(
        "anthropic/messages.sse",
        Messages,
        [Some(25), Some(1200), Some(300), Some(15), None],
        complete: true,
        text: 36
    ),
    golden!(
        "anthropic/messages_thinking_tool_use.sse",
        Messages,
        [Some(472), Some(0), Some(0), Some(89), None],
        complete: true,
        text: 47
    ),
    golden!(
        "anthropic/messages_overloaded.sse",
        Messages,
        [Some(25), None, None, Some(1), None],
        complete: false,
        text: 14
    ),
];
