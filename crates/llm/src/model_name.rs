//! `provider/model`: where the provider's name ends.

/// Splits a requested model at its first `/`, but only behind the name of a configured provider:
/// `openai/gpt-4o` is OpenAI's `gpt-4o`, while `meta-llama/Llama-3-8b` is one model's whole name.
/// A provider without a model behind it (`openai/`) is not split either.
pub fn split_model(requested: &str, is_provider: impl Fn(&str) -> bool) -> (Option<&str>, &str) {
    match requested.split_once('/') {
        Some((prefix, model)) if !model.is_empty() && is_provider(prefix) => (Some(prefix), model),
        _ => (None, requested),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_is_split_only_behind_a_configured_provider() {
        let split = |name| split_model(name, |prefix| prefix == "openai");
        assert_eq!(split("openai/gpt-4o"), (Some("openai"), "gpt-4o"));
        assert_eq!(split("openai/ft/a/b"), (Some("openai"), "ft/a/b"));
        assert_eq!(split("openai/openai/x"), (Some("openai"), "openai/x"));
        for whole in [
            "gpt-4o",
            "meta-llama/Llama-3",
            "OpenAI/gpt-4o",
            "openai/",
            "/gpt-4o",
            "",
        ] {
            assert_eq!(split(whole), (None, whole));
        }
    }
}
