//! Cohere.

use super::{Golden, golden};

/// See [`super::all`].
pub(super) fn goldens() -> Vec<Golden> {
    vec![
        golden!(
            "cohere/chat.json",
            CohereChat,
            input_tokens = 5,
            output_tokens = 418
        ),
        golden!(
            "cohere/chat.sse",
            CohereChat,
            input_tokens = 37,
            output_tokens = 28
        )
        .text("I look", 21),
        golden!("cohere/embed.json", CohereEmbed, input_tokens = 12),
        golden!(
            "cohere/embed_images.json",
            CohereEmbed,
            input_tokens = 262,
            image_input_tokens = 258
        ),
        // Billed by the search, which nobody here counts.
        golden!("cohere/rerank.json", CohereRerank).incomplete(),
    ]
}
