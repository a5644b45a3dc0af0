//! How a provider is asked to serve a request, and says that it has.
//!
//! Source: the API references of OpenAI (`service_tier` of a request and at the top of its answer) and
//! Anthropic (`service_tier` of a request and in the usage of its answer).

use crate::json::{Kind, Value};

/// The tier of a request or of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceTier {
    /// As an ordinary request: `default`, `standard`, `standard_only`.
    Standard,
    /// Slower and cheaper.
    Flex,
    /// Between flex and priority.
    Balanced,
    /// Faster and dearer.
    Priority,
    /// Fastest and dearest.
    Ultrafast,
    /// `auto`, or something that we do not know.
    Other,
}

impl ServiceTier {
    /// `null` is none.
    pub(crate) fn read(value: &Value<'_>) -> Option<Self> {
        let Kind::String(text) = value.kind else {
            return (value.kind != Kind::Null).then_some(Self::Other);
        };
        Some(match &*text.decode() {
            "default" | "standard" | "standard_only" => Self::Standard,
            "flex" => Self::Flex,
            "balanced" => Self::Balanced,
            "priority" => Self::Priority,
            "ultrafast" => Self::Ultrafast,
            _ => Self::Other,
        })
    }
}
