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

/// The names that mean something to one dialect.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) governed: &'static [&'static str],
    /// The dialect is protobuf's JSON, whose parsers take `max_output_tokens` for `maxOutputTokens`.
    pub(crate) snake_case_too: bool,
}

/// Names that every dialect forbids: members of gateways that may stand behind this one, and of
/// their SDKs, that choose a model, a provider or a place to send to.
const FORBIDDEN: [&str; 11] = [
    "api_base",
    "base_url",
    "api_key",
    "custom_llm_provider",
    "models",
    "fallbacks",
    "route",
    "provider",
    "providerOptions",
    "preset",
    "extra_body",
];

/// OpenAI's, Anthropic's and Cohere's.
pub(crate) const FLAT: Names = Names {
    governed: &[
        "model",
        "messages",
        "input",
        "prompt",
        "system",
        "instructions",
        "query",
        "documents",
        "texts",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "n",
        "best_of",
        "tools",
        "include_usage",
        "previous_response_id",
        "conversation",
        "background",
        "service_tier",
    ],
    snake_case_too: false,
};

/// Gemini's, at the top and in the objects that are looked into.
pub(crate) const GEMINI: Names = Names {
    governed: &[
        "model",
        "contents",
        "content",
        "systemInstruction",
        "generationConfig",
        "generateContentRequest",
        "requests",
        "tools",
        "cachedContent",
        "maxOutputTokens",
        "candidateCount",
        "routingConfig",
    ],
    snake_case_too: true,
};

/// Bedrock's Converse, at the top and in `inferenceConfig`.
pub(crate) const CONVERSE: Names = Names {
    governed: &[
        "model",
        "modelId",
        "messages",
        "system",
        "inferenceConfig",
        "toolConfig",
        "additionalModelRequestFields",
        "maxTokens",
    ],
    snake_case_too: false,
};

/// Bodies for models of Bedrock that take `max_tokens`.
pub(crate) const INVOKE_WITH_MAX_TOKENS: Names = Names {
    governed: &[
        "model",
        "messages",
        "system",
        "prompt",
        "max_tokens",
        "n",
        "num_generations",
        "numResults",
    ],
    snake_case_too: false,
};

/// Bodies for other models of Bedrock: each vendor has its own names.
pub(crate) const INVOKE: Names = Names {
    governed: &[
        "model",
        "messages",
        "system",
        "prompt",
        "n",
        "num_generations",
        "numResults",
    ],
    snake_case_too: false,
};

impl Names {
    /// Judges a member name of a request, escapes already decoded.
    pub(crate) fn judge(&self, name: &str) -> Result<Meaning, BadName> {
        if let Some(governed) = self.governed.iter().find(|governed| **governed == name) {
            return Ok(Meaning::Governed(governed));
        }
        if let Some(forbidden) = FORBIDDEN.iter().find(|forbidden| **forbidden == name) {
            return Ok(Meaning::Forbidden(forbidden));
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadName::NotAscii);
        }
        let in_disguise = |known: &&&'static str| resembles(name, known);
        if let Some(governed) = self.governed.iter().find(in_disguise)
            && self.snake_case_too
            && is_snake_case_of(name, governed)
        {
            return Ok(Meaning::Governed(governed));
        }
        let mut known = self.governed.iter().chain(&FORBIDDEN);
        match known.find(in_disguise) {
            None => Ok(Meaning::Other),
            Some(known) => Err(BadName::Resembles(known)),
        }
    }
}

/// Equal but for case and punctuation: covers case-insensitive parsers and those that take camel
/// case for snake case (protobuf's JSON). A character that is not ASCII counts as none, so that
/// `ｍmodel` and the like are caught where names need not be ASCII.
pub(super) fn resembles(name: &str, known: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> + '_ {
        let bytes = text.bytes().filter(u8::is_ascii_alphanumeric);
        bytes.map(|byte| byte.to_ascii_lowercase())
    }
    letters(name).eq(letters(known))
}

/// `max_output_tokens` for `maxOutputTokens`.
fn is_snake_case_of(name: &str, camel: &str) -> bool {
    let spelt = camel.chars().flat_map(|character| {
        let underscore = character.is_ascii_uppercase().then_some('_');
        underscore
            .into_iter()
            .chain([character.to_ascii_lowercase()])
    });
    name.chars().eq(spelt)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn protobuf_reads_both_spellings_and_no_third() {
        for name in ["maxOutputTokens", "max_output_tokens"] {
            assert_eq!(
                GEMINI.judge(name),
                Ok(Meaning::Governed("maxOutputTokens")),
                "{name}"
            );
        }
        for name in [
            "MaxOutputTokens",
            "maxoutputtokens",
            "max_outputTokens",
            "_max_output_tokens",
        ] {
            assert_eq!(
                GEMINI.judge(name),
                Err(BadName::Resembles("maxOutputTokens")),
                "{name}"
            );
        }
    }

    #[test]
    fn the_number_of_answers_cannot_be_disguised_from_us_on_bedrock() {
        for names in [&INVOKE, &INVOKE_WITH_MAX_TOKENS] {
            for (name, known) in [
                ("N", "n"),
                ("numGenerations", "num_generations"),
                ("num_results", "numResults"),
            ] {
                assert_eq!(names.judge(name), Err(BadName::Resembles(known)), "{name}");
                assert_eq!(names.judge(known), Ok(Meaning::Governed(known)));
            }
        }
    }

    #[test]
    fn a_name_that_need_not_be_ascii_is_noticed_in_disguise() {
        for name in [
            "model",
            "Model",
            "MODEL",
            "mo_del",
            "model\u{200B}",
            "\u{FF4D}model",
        ] {
            assert!(resembles(name, "model"), "{name}");
        }
        for name in ["model_id", "modality", "m\u{43E}del", "name"] {
            assert!(!resembles(name, "model"), "{name}");
        }
    }
}
