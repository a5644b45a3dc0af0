//! OpenAI's usage, and that of everyone compatible with it: five things under two sets of names.
//!
//! Source: the API reference of OpenAI (chat completions, responses, embeddings, images, audio);
//! those of the compatible providers for the members that only they have.

use super::{Usage, UsageError, count, counts, object};
use crate::Endpoint;
use crate::endpoint::Output;
use crate::json::{Member, Value};

/// What the same things are called in two sets of APIs.
struct Names {
    input: &'static str,
    output: &'static str,
    input_details: [&'static str; 2],
    output_details: [&'static str; 2],
}

const PROMPT: Names = Names {
    input: "prompt_tokens",
    output: "completion_tokens",
    input_details: ["prompt_tokens_details"; 2],
    output_details: ["completion_tokens_details"; 2],
};

const INPUT: Names = Names {
    input: "input_tokens",
    output: "output_tokens",
    // Transcriptions say `token`, the others `tokens`.
    input_details: ["input_tokens_details", "input_token_details"],
    output_details: ["output_tokens_details", "output_token_details"],
};

/// What stands in an object of usage.
#[derive(Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    /// Part of the input: read from the cache, written to it, audio, images.
    input_details: [Option<u64>; 4],
    /// Part of the output: reasoning, audio, images.
    output_details: [Option<u64>; 3],
    /// Of the input, read from the cache: where some say so who have no details.
    cached: Option<u64>,
}

/// Reads an object of usage. Cached tokens are part of the input here, and are taken out of it.
pub(crate) fn parse(endpoint: Endpoint, value: &Value<'_>) -> Result<Usage, UsageError> {
    let names = match endpoint {
        Endpoint::ChatCompletions
        | Endpoint::Completions
        | Endpoint::Embeddings
        | Endpoint::Rerank => &PROMPT,
        _ => &INPUT,
    };
    let mut found = Counts::default();
    for member in object("usage", value)? {
        found.take(names, &member?)?;
    }
    found.into_usage(endpoint)
}

impl Counts {
    fn take(&mut self, names: &Names, member: &Member<'_>) -> Result<(), UsageError> {
        let Member { key, value, .. } = member;
        let key = &**key;
        if key == names.input {
            self.input = count(names.input, value)?;
        } else if key == names.output {
            self.output = count(names.output, value)?;
        } else if key == "total_tokens" {
            self.total = count("total_tokens", value)?;
        } else if let Some(details) = names.input_details.iter().find(|name| **name == key) {
            let parts = [
                "cached_tokens",
                "cache_write_tokens",
                "audio_tokens",
                "image_tokens",
            ];
            self.input_details = counts(details, parts, value)?;
        } else if let Some(details) = names.output_details.iter().find(|name| **name == key) {
            let parts = ["reasoning_tokens", "audio_tokens", "image_tokens"];
            self.output_details = counts(details, parts, value)?;
        } else if key == "cached_tokens" || key == "prompt_cache_hit_tokens" {
            self.cached = self.cached.max(count("cached_tokens", value)?);
        }
        Ok(())
    }

    fn into_usage(self, endpoint: Endpoint) -> Result<Usage, UsageError> {
        let [cached, written, audio_input, image_input] = self.input_details;
        let [reasoning, audio_output, image_output] = self.output_details;
        let cached = cached.or(self.cached);
        let (mut input, mut output) = (self.input, self.output);
        if endpoint.output() == Output::Nothing {
            // Some give the sum only; there is nothing in it but input.
            input = input.or(self.total);
        }
        // Some compatible providers report reasoning in the total only, and bill for it.
        if let (Some(prompt), Some(visible), Some(total)) = (input, output, self.total) {
            output = Some(visible.max(total.saturating_sub(prompt)));
        }
        let uncached = match input {
            Some(input) => {
                let elsewhere = cached.unwrap_or(0).saturating_add(written.unwrap_or(0));
                let uncached = input.checked_sub(elsewhere);
                Some(uncached.ok_or(UsageError::Inconsistent {
                    field: "cached_tokens",
                })?)
            }
            None => None,
        };
        Usage {
            input_tokens: uncached,
            cache_read_tokens: cached,
            cache_write_5m_tokens: written,
            cache_write_1h_tokens: None,
            output_tokens: output,
            reasoning_tokens: reasoning,
            audio_input_tokens: audio_input,
            audio_output_tokens: audio_output,
            image_input_tokens: image_input,
            image_output_tokens: image_output,
        }
        .checked()
    }
}
