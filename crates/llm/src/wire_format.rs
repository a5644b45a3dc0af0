//! The two families of wire formats: what a caller's SDK speaks, and what a provider speaks.

/// A wire format. The caller's dialect and the provider's format are the same set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireFormat {
    /// OpenAI's API, and that of everyone compatible with it.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
}

impl WireFormat {
    /// Its name in configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// The format of that name, exactly as [`WireFormat::as_str`] writes it.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic]
            .into_iter()
            .find(|format| format.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_read_back_exactly() {
        assert_eq!(WireFormat::parse("openai"), Some(WireFormat::OpenAi));
        assert_eq!(WireFormat::parse("anthropic"), Some(WireFormat::Anthropic));
        for other in ["OpenAI", "gemini", "", "openai "] {
            assert_eq!(WireFormat::parse(other), None, "{other:?}");
        }
    }
}
