//! What of an exchange is billed beside tokens, as the request and its answer tell.

use reeve_llm::{Endpoint, Metered, Request};
use reeve_policy::units::{UnitPrices, Units};

/// Documents that a search is enough for, and characters at which a document counts as one more: Cohere
/// counts a long document by its parts, of 500 tokens less those of the query.
const DOCUMENTS_PER_SEARCH: u64 = 100;
const BYTES_PER_PART: u64 = 256;
/// The fewest bytes that a second of speech has. A codec for telephones gets by with about 700.
const BYTES_PER_SECOND: u64 = 500;

/// The most that a request can come to.
pub(crate) fn most(request: &Request<'_>) -> Units {
    let part = |count: u64, of: u64| count.checked_div(of).unwrap_or_default();
    match request.endpoint {
        Endpoint::Rerank | Endpoint::CohereRerank | Endpoint::CohereRerankV1 => {
            let parts = part(request.input_bytes, BYTES_PER_PART);
            Units {
                searches: request
                    .documents
                    .saturating_add(parts)
                    .div_ceil(DOCUMENTS_PER_SEARCH)
                    .max(1),
                ..Units::default()
            }
        }
        Endpoint::Speech => Units {
            characters: request.characters,
            ..Units::default()
        },
        Endpoint::Transcriptions | Endpoint::Translations => Units {
            seconds: part(request.input_bytes, BYTES_PER_SECOND).saturating_add(1),
            ..Units::default()
        },
        Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => Units {
            images: request.choices,
            ..Units::default()
        },
        _ => Units::default(),
    }
}

/// What an answer came to. `None`: it does not say, and the request does not tell.
pub(crate) fn used(endpoint: Endpoint, most: Units, metered: &Metered) -> Option<Units> {
    if metered.usage_error.is_some() {
        return None;
    }
    match endpoint {
        Endpoint::Rerank | Endpoint::CohereRerank | Endpoint::CohereRerankV1 => Some(Units {
            searches: metered.search_units?,
            ..Units::default()
        }),
        Endpoint::Transcriptions | Endpoint::Translations => Some(Units {
            seconds: metered.seconds?,
            ..Units::default()
        }),
        // The request tells.
        _ => Some(most),
    }
}

/// Are these the prices of what this API is billed by? A model that is used for another API than its own
/// would be free.
pub(crate) const fn are_of(prices: UnitPrices, endpoint: Endpoint) -> bool {
    let price = match endpoint {
        Endpoint::Rerank | Endpoint::CohereRerank | Endpoint::CohereRerankV1 => prices.search,
        Endpoint::Speech => prices.character,
        Endpoint::Transcriptions | Endpoint::Translations => prices.second,
        Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => {
            prices.image
        }
        _ => 0,
    };
    price > 0
}
