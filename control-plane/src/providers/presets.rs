//! Providers that are known by name: of what kind they are, and where.
//!
//! The addresses are facts from the vendors' documentation. A vendor may move, and a proxy may
//! stand before it: `network_config.base_url` overrides them. The kind is part of what a name means.

use super::BaseProviderType as Kind;

/// A provider that is known by its name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// Its kind.
    pub base_provider_type: Kind,
    /// Where it is.
    pub address: Address,
    /// Whether it asks for no key unless it is told otherwise.
    pub is_key_less: bool,
}

/// Where a provider is.
#[derive(Debug, Clone, Copy)]
pub enum Address {
    /// At this base URL, for everybody.
    Public(&'static str),
    /// At an address of the operator's own, which looks like this one.
    Own {
        /// For the message that asks for it.
        example: &'static str,
    },
}

/// Every provider that is known by its name.
pub const PRESETS: &[Preset] = &[
    public("openai", Kind::OpenAi, "https://api.openai.com/v1"),
    public("anthropic", Kind::Anthropic, "https://api.anthropic.com/v1"),
    public(
        "gemini",
        Kind::Gemini,
        "https://generativelanguage.googleapis.com/v1beta",
    ),
    own(
        "bedrock",
        Kind::Bedrock,
        "https://bedrock-runtime.<region>.amazonaws.com",
    ),
    public("cohere", Kind::Cohere, "https://api.cohere.com"),
    own(
        "azure",
        Kind::Azure,
        "https://<resource>.openai.azure.com/openai/v1",
    ),
    compatible("mistral", "https://api.mistral.ai/v1"),
    compatible("groq", "https://api.groq.com/openai/v1"),
    compatible("deepseek", "https://api.deepseek.com/v1"),
    compatible("xai", "https://api.x.ai/v1"),
    compatible("openrouter", "https://openrouter.ai/api/v1"),
    compatible("together", "https://api.together.xyz/v1"),
    compatible("fireworks", "https://api.fireworks.ai/inference/v1"),
    compatible("perplexity", "https://api.perplexity.ai"),
    compatible("cerebras", "https://api.cerebras.ai/v1"),
    compatible("sambanova", "https://api.sambanova.ai/v1"),
    compatible("nvidia_nim", "https://integrate.api.nvidia.com/v1"),
    compatible("deepinfra", "https://api.deepinfra.com/v1/openai"),
    compatible("huggingface", "https://router.huggingface.co/v1"),
    compatible("nebius", "https://api.tokenfactory.nebius.com/v1"),
    compatible("novita", "https://api.novita.ai/openai/v1"),
    compatible("hyperbolic", "https://api.hyperbolic.xyz/v1"),
    compatible("moonshot", "https://api.moonshot.ai/v1"),
    compatible(
        "dashscope",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    ),
    compatible("parasail", "https://api.parasail.io/v1"),
    self_hosted("ollama", "http://localhost:11434/v1"),
    self_hosted("vllm", "http://localhost:8000/v1"),
    self_hosted("sglang", "http://localhost:30000/v1"),
];

/// The provider that a name is known for.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

const fn public(name: &'static str, base_provider_type: Kind, base_url: &'static str) -> Preset {
    Preset {
        name,
        base_provider_type,
        address: Address::Public(base_url),
        is_key_less: false,
    }
}

const fn own(name: &'static str, base_provider_type: Kind, example: &'static str) -> Preset {
    Preset {
        name,
        base_provider_type,
        address: Address::Own { example },
        is_key_less: false,
    }
}

const fn compatible(name: &'static str, base_url: &'static str) -> Preset {
    public(name, Kind::OpenAi, base_url)
}

const fn self_hosted(name: &'static str, example: &'static str) -> Preset {
    Preset {
        is_key_less: true,
        ..own(name, Kind::OpenAi, example)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{BaseUrl, Private};

    #[test]
    fn every_public_address_may_be_sent_keys() {
        for preset in PRESETS {
            if let Address::Public(base_url) = preset.address {
                let parsed = BaseUrl::parse(base_url, Private::Refused).unwrap();
                assert_eq!(parsed.to_string(), base_url);
            }
        }
    }

    #[test]
    fn a_name_means_one_provider() {
        let mut names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn the_description_of_the_api_lists_every_name() {
        let description = serde_json::to_string(&crate::router::openapi()).unwrap();
        for preset in PRESETS {
            assert!(
                description.contains(&format!("`{}`", preset.name)),
                "{}",
                preset.name
            );
        }
    }
}
