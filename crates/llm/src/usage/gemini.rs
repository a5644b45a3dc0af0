//! Gemini's usage. Cached tokens are part of the prompt, thoughts are no part of the candidates, and
//! a zero is left out, as protobuf's JSON has it.
//!
//! Source: Google's Gemini API reference, `UsageMetadata`.

use super::{Usage, UsageError, count, object};
use crate::json::{self, Kind, Member, Value};

#[derive(Default)]
struct Counts {
    prompt: Option<u64>,
    /// Of the prompt.
    cached: Option<u64>,
    /// What tools put into the prompt, beside it.
    tools: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
    total: Option<u64>,
    prompt_details: Modalities,
    /// Of the cached part of the prompt.
    cache_details: Modalities,
    candidates_details: Modalities,
}

/// Tokens of a part, by what it is.
#[derive(Clone, Copy, Default)]
struct Modalities {
    audio: Option<u64>,
    image: Option<u64>,
}

/// Reads an object of usage.
pub(crate) fn parse(value: &Value<'_>) -> Result<Usage, UsageError> {
    let mut found = Counts::default();
    for member in object("usageMetadata", value)? {
        found.take(&member?)?;
    }
    found.into_usage()
}

impl Counts {
    fn take(&mut self, member: &Member<'_>) -> Result<(), UsageError> {
        let value = &member.value;
        let (field, place) = match &*member.key {
            "promptTokenCount" => ("promptTokenCount", &mut self.prompt),
            "cachedContentTokenCount" => ("cachedContentTokenCount", &mut self.cached),
            "toolUsePromptTokenCount" => ("toolUsePromptTokenCount", &mut self.tools),
            "candidatesTokenCount" => ("candidatesTokenCount", &mut self.candidates),
            "thoughtsTokenCount" => ("thoughtsTokenCount", &mut self.thoughts),
            "totalTokenCount" => ("totalTokenCount", &mut self.total),
            "promptTokensDetails" => {
                self.prompt_details = Modalities::read("promptTokensDetails", value)?;
                return Ok(());
            }
            "cacheTokensDetails" => {
                self.cache_details = Modalities::read("cacheTokensDetails", value)?;
                return Ok(());
            }
            "candidatesTokensDetails" => {
                self.candidates_details = Modalities::read("candidatesTokensDetails", value)?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        *place = count(field, value)?;
        Ok(())
    }

    fn into_usage(self) -> Result<Usage, UsageError> {
        let tools = self.tools.unwrap_or(0);
        let input = match self.prompt {
            Some(prompt) => {
                let uncached = prompt.checked_sub(self.cached.unwrap_or(0));
                let uncached = uncached.ok_or(UsageError::Inconsistent {
                    field: "cachedContentTokenCount",
                })?;
                Some(uncached.saturating_add(tools))
            }
            None => None,
        };
        let said = match (self.candidates, self.thoughts) {
            (None, None) => None,
            (candidates, thoughts) => Some(
                candidates
                    .unwrap_or(0)
                    .saturating_add(thoughts.unwrap_or(0)),
            ),
        };
        // With the total, output that is not mentioned is known too: none, or what is left.
        let left = self.total.zip(self.prompt);
        let left = left.map(|(total, prompt)| total.saturating_sub(prompt).saturating_sub(tools));
        Usage {
            input_tokens: input,
            cache_read_tokens: self.cached,
            output_tokens: said.max(left),
            reasoning_tokens: self.thoughts,
            audio_input_tokens: uncached(self.prompt_details.audio, self.cache_details.audio)?,
            audio_output_tokens: self.candidates_details.audio,
            image_input_tokens: uncached(self.prompt_details.image, self.cache_details.image)?,
            image_output_tokens: self.candidates_details.image,
            ..Usage::default()
        }
        .checked()
    }
}

/// What of a part of the prompt came from no cache.
fn uncached(part: Option<u64>, cached: Option<u64>) -> Result<Option<u64>, UsageError> {
    let Some(part) = part else {
        return Ok(None);
    };
    let uncached = part.checked_sub(cached.unwrap_or(0));
    uncached.map(Some).ok_or(UsageError::Inconsistent {
        field: "cacheTokensDetails",
    })
}

impl Modalities {
    /// `[{"modality": "AUDIO", "tokenCount": 5}, ...]`
    fn read(field: &'static str, value: &Value<'_>) -> Result<Self, UsageError> {
        let mut found = Self::default();
        if !matches!(value.kind, Kind::Array | Kind::Null) {
            return Err(UsageError::NotAnObject { field });
        }
        for element in json::elements(value) {
            found.add(element?)?;
        }
        Ok(found)
    }

    fn add(&mut self, element: &str) -> Result<(), UsageError> {
        let (mut audio, mut image, mut tokens) = (false, false, None);
        for member in json::members(element) {
            let member = member?;
            match (&*member.key, member.value.kind) {
                ("modality", Kind::String(modality)) => {
                    audio = modality.is("AUDIO");
                    image = modality.is("IMAGE");
                }
                ("tokenCount", _) => tokens = count("tokenCount", &member.value)?,
                _ => {}
            }
        }
        for (is_it, place) in [(audio, &mut self.audio), (image, &mut self.image)] {
            if is_it {
                *place = Some(place.unwrap_or(0).saturating_add(tokens.unwrap_or(0)));
            }
        }
        Ok(())
    }
}
