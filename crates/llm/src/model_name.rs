//! Names of models: which characters they have, and where a provider's name in front ends.

/// Longest name, bytes. The longest in use are Bedrock's ARNs, with some 110.
const MAX_LENGTH: usize = 160;

/// Is this a name that may be compared, forwarded and shown? 1 to 160 characters of
/// `A-Z a-z 0-9 . _ : / @ + -`. No vendor has a model with another character, and every trick with
/// look-alikes, invisible characters and line breaks ends here. So do the two segments that the reader
/// of a path would take for directions, behind a provider's name too: `azure/..` is no model.
pub fn is_model_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
    let direction = |segment| matches!(segment, "." | "..");
    (1..=MAX_LENGTH).contains(&name.len())
        && name.bytes().all(known)
        && !name.split('/').any(direction)
}

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

    #[test]
    fn a_name_has_known_characters_only() {
        for good in [
            "gpt-4o",
            "anthropic.claude-3-5-sonnet-20241022-v2:0",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-v2",
            "meta-llama/Llama-3@v1+x",
        ] {
            assert!(is_model_name(good), "{good}");
        }
        let long = "m".repeat(161);
        for bad in [
            "",
            " gpt",
            "gpt 4",
            "g\u{440}t",
            "a\n",
            "a\0",
            "a;b",
            "a%2Fb",
            "a\\b",
            ".",
            "..",
            "azure/..",
            "azure/.",
            "../gpt-4o",
            "a/../b",
            &long,
        ] {
            assert!(!is_model_name(bad), "{bad:?}");
        }
    }
}
