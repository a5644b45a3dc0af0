//! The kinds of providers: whose API one speaks, and where it wants its key.

use reeve_exchange::route::format_of;
use reeve_policy::view::WireFormat;
use reeve_xds::Credential;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose API a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BaseProviderType {
    /// OpenAI's API and all that are compatible with it; the key goes into `authorization: Bearer`.
    OpenAi,
    /// OpenAI's API on Azure; `api-key`.
    Azure,
    /// Anthropic's API; `x-api-key`, and `authorization: Bearer` on its OpenAI-compatible side.
    Anthropic,
    /// Google's Gemini API; `x-goog-api-key`, and `authorization: Bearer` on its OpenAI-compatible side.
    Gemini,
    /// Amazon Bedrock; its API keys go into `authorization: Bearer`.
    Bedrock,
    /// Cohere's API; `authorization: Bearer`.
    Cohere,
}

impl BaseProviderType {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::OpenAi,
        Self::Azure,
        Self::Anthropic,
        Self::Gemini,
        Self::Bedrock,
        Self::Cohere,
    ];

    /// The word for it in the API and the database; also the catalogue's name for the vendor.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
        }
    }

    /// Reads [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// How its requests, usage and errors are written.
    pub const fn wire_format(self) -> WireFormat {
        match self {
            Self::OpenAi | Self::Azure => WireFormat::OpenAi,
            Self::Anthropic => WireFormat::Anthropic,
            Self::Gemini => WireFormat::Gemini,
            Self::Bedrock => WireFormat::Bedrock,
            Self::Cohere => WireFormat::Cohere,
        }
    }

    /// The header that a key travels in, and what precedes it there.
    pub const fn credential_header(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenAi | Self::Bedrock | Self::Cohere => ("authorization", "Bearer "),
            Self::Azure => ("api-key", ""),
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
        }
    }

    /// What paths begin with where it serves OpenAI's API and wants its key as OpenAI does, and not in
    /// [`Self::credential_header`]. `None`: there is no such place.
    pub fn openai_side(self) -> Option<&'static str> {
        format_of(self.wire_format())
            .openai_side()
            .filter(|_| self.credential_header() != Credential::ON_OPENAI_SIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_word_everywhere() {
        for kind in BaseProviderType::ALL {
            assert_eq!(BaseProviderType::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(BaseProviderType::parse("OpenAI"), None);
    }

    #[test]
    fn only_where_the_header_is_another_one_an_openai_side_matters_to_the_key() {
        let sides = BaseProviderType::ALL.map(|kind| (kind.as_str(), kind.openai_side()));
        let sides: Vec<_> = sides
            .into_iter()
            .filter(|(_, side)| side.is_some())
            .collect();
        assert_eq!(
            sides,
            [
                ("anthropic", Some("/chat/completions")),
                ("gemini", Some("/openai/"))
            ]
        );
    }
}
