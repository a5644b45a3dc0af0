//! The families of wire formats: what a caller's SDK speaks, and what a provider speaks.

/// A wire format. The caller's dialect and the provider's format are the same set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireFormat {
    /// OpenAI's API, and that of everyone compatible with it.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Amazon Bedrock's runtime API.
    Bedrock,
    /// Cohere's API.
    Cohere,
}

impl WireFormat {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::OpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Bedrock,
        Self::Cohere,
    ];

    /// Its name in configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
        }
    }

    /// A vendor with an API of its own may serve OpenAI's beside it: what the paths there begin with, below
    /// the vendor's base URL. `None`: it is OpenAI's API that it serves, or there is no such side.
    ///
    /// Whatever header the vendor's own API wants its key in, this side takes it as
    /// `authorization: Bearer`, as OpenAI's SDKs send it. Sources:
    ///
    /// * <https://platform.claude.com/docs/en/api/openai-sdk>
    /// * <https://ai.google.dev/gemini-api/docs/openai>
    /// * <https://docs.cohere.com/docs/compatibility-api>
    pub const fn openai_side(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => Some("/chat/completions"),
            Self::Gemini => Some("/openai/"),
            Self::Cohere => Some("/compatibility/v1/"),
            Self::OpenAi | Self::Bedrock => None,
        }
    }
}
