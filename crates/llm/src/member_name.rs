//! Which member names of a request decide something, and which only look as if they did.
//!
//! A body is judged here and read again by the provider. A name that one side takes for `model` and
//! the other does not (`Model`, `maxTokens`, a full-width `ｍodel`, `model\u0000`) would let a caller
//! be judged for one request and served another; so names that come close are refused outright.

/// What to do with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A governed name, spelt exactly.
    Governed(&'static str),
    /// A governed name that no caller may send: it would choose another model or another
    /// destination than the one that was judged, or bring its own credential.
    Forbidden(&'static str),
    /// Any other name; goes to the provider as it is.
    Other,
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadName {
    /// Not printable ASCII. No vendor has such a member at the top level, and every trick with
    /// Unicode (full width, look-alikes, invisible characters) ends here.
    NotAscii,
    /// Some parsers take it for this governed name, others do not.
    Resembles(&'static str),
}

const GOVERNED: [&str; 14] = [
    "model",
    "messages",
    "input",
    "prompt",
    "system",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "tools",
    "include_usage",
];

const FORBIDDEN: [&str; 9] = [
    "api_base",
    "base_url",
    "api_key",
    "custom_llm_provider",
    "models",
    "fallbacks",
    "route",
    "provider",
    "extra_body",
];

/// Judges a member name of a request, escapes already decoded.
pub(crate) fn judge(name: &str) -> Result<Meaning, BadName> {
    if let Some(governed) = GOVERNED.iter().find(|governed| **governed == name) {
        return Ok(Meaning::Governed(governed));
    }
    if let Some(forbidden) = FORBIDDEN.iter().find(|forbidden| **forbidden == name) {
        return Ok(Meaning::Forbidden(forbidden));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadName::NotAscii);
    }
    let lookalike = GOVERNED
        .iter()
        .chain(&FORBIDDEN)
        .find(|known| resembles(name, known));
    lookalike.map_or(Ok(Meaning::Other), |known| Err(BadName::Resembles(known)))
}

/// Equal but for case and punctuation: covers case-insensitive parsers and those that take camel
/// case for snake case (protobuf's JSON).
fn resembles(name: &str, known: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> + '_ {
        let bytes = text.bytes().filter(u8::is_ascii_alphanumeric);
        bytes.map(|byte| byte.to_ascii_lowercase())
    }
    letters(name).eq(letters(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn exact_names_have_their_meaning() {
        assert_eq!(judge("model"), Ok(Meaning::Governed("model")));
        assert_eq!(judge("api_base"), Ok(Meaning::Forbidden("api_base")));
        for other in [
            "temperature",
            "modeler",
            "top_p",
            "N2",
            "max_token",
            "x-y.z",
        ] {
            assert_eq!(judge(other), Ok(Meaning::Other), "{other}");
        }
    }

    #[test]
    fn names_that_a_lax_parser_takes_for_a_governed_one_are_refused() {
        for (name, known) in [
            ("Model", "model"),
            ("MODEL", "model"),
            ("maxTokens", "max_tokens"),
            ("max-tokens", "max_tokens"),
            ("MAX_TOKENS", "max_tokens"),
            ("N", "n"),
            ("apiBase", "api_base"),
            ("Models", "models"),
            ("_model", "model"),
        ] {
            assert_eq!(judge(name), Err(BadName::Resembles(known)), "{name}");
        }
    }

    #[test]
    fn names_outside_printable_ascii_are_refused() {
        for name in [
            "ｍodel",
            "mode\u{217C}",
            "\u{212A}ey",
            "me\u{17F}\u{17F}ages",
            "mo\u{200B}del",
            "m\u{43E}del",
            "model\0",
            "model ",
            "\u{FEFF}model",
            "mod\tel",
        ] {
            assert_eq!(judge(name), Err(BadName::NotAscii), "{name:?}");
        }
    }
}
