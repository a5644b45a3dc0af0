//! What a response says it used, brought to one meaning for all vendors.
//!
//! One rule for what is believed: a count is written in plain digits and is at most 2^40. Absent and
//! `null` are unknown, which is not zero. Anything else (a sign, a fraction, an exponent, a string, a
//! part larger than its whole) spoils the report: nothing of it is believed, and the reservation
//! stands. What is not JSON, or says something twice, is no report: a document of that kind is spoilt
//! too, and an event of a stream counts as text. So no answer is complete by such a report, and none
//! is free.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
mod cohere;
mod gemini;
mod openai;

use crate::endpoint::Output;
use crate::json::{self, JsonError, Kind, Value};
use crate::{Endpoint, ServiceTier, WireFormat};

pub(crate) use gemini::parse as gemini;
pub(crate) use openai::parse as openai;

/// A count beyond this is no count: a trillion tokens is more than any model reads.
const MAX_COUNT: u64 = 1 << 40;

/// Tokens used by one response. `None` means that the provider did not say, which is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit belongs into the name")]
pub struct Usage {
    /// Input that came from no cache and went into none, audio and images included.
    pub input_tokens: Option<u64>,
    /// Input read from the provider's prompt cache.
    pub cache_read_tokens: Option<u64>,
    /// Input written to the provider's prompt cache for its ordinary time (five minutes).
    pub cache_write_5m_tokens: Option<u64>,
    /// Input written to the provider's prompt cache for an hour.
    pub cache_write_1h_tokens: Option<u64>,
    /// Output, reasoning, audio and images included.
    pub output_tokens: Option<u64>,
    /// The part of the output that was reasoning.
    pub reasoning_tokens: Option<u64>,
    /// The part of the input that was audio.
    pub audio_input_tokens: Option<u64>,
    /// The part of the output that was audio.
    pub audio_output_tokens: Option<u64>,
    /// The part of the input that was images.
    pub image_input_tokens: Option<u64>,
    /// The part of the output that was images.
    pub image_output_tokens: Option<u64>,
}

impl Usage {
    /// All tokens, in and out; unknown ones count as none.
    pub fn total_tokens(&self) -> u64 {
        sum([
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
            self.output_tokens,
        ])
    }

    /// All input, whether it went through a cache or not.
    pub fn all_input_tokens(&self) -> Option<u64> {
        known_sum([
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
        ])
    }

    /// Input written to the provider's prompt cache, for however long.
    pub fn cache_write_tokens(&self) -> Option<u64> {
        known_sum([self.cache_write_5m_tokens, self.cache_write_1h_tokens])
    }

    /// Is everything there that a bill for this API needs?
    pub fn is_complete_for(&self, endpoint: Endpoint) -> bool {
        match endpoint.output() {
            Output::Free => true,
            Output::Nothing => self.input_tokens.is_some(),
            Output::Text | Output::Media => {
                self.input_tokens.is_some() && self.output_tokens.is_some()
            }
        }
    }

    /// Takes in a later report of the same stream. Counts in a stream are cumulative, so the larger
    /// one is the later one, whichever events a provider repeats them in.
    pub(crate) fn update(&mut self, later: &Self) {
        // `None` is smaller than any count.
        for (place, later) in [
            (&mut self.input_tokens, later.input_tokens),
            (&mut self.cache_read_tokens, later.cache_read_tokens),
            (&mut self.cache_write_5m_tokens, later.cache_write_5m_tokens),
            (&mut self.cache_write_1h_tokens, later.cache_write_1h_tokens),
            (&mut self.output_tokens, later.output_tokens),
            (&mut self.reasoning_tokens, later.reasoning_tokens),
            (&mut self.audio_input_tokens, later.audio_input_tokens),
            (&mut self.audio_output_tokens, later.audio_output_tokens),
            (&mut self.image_input_tokens, later.image_input_tokens),
            (&mut self.image_output_tokens, later.image_output_tokens),
        ] {
            *place = (*place).max(later);
        }
    }

    /// No part is larger than the whole it is part of.
    fn checked(self) -> Result<Self, UsageError> {
        let input = sum([self.input_tokens, self.cache_read_tokens]);
        let parts = [
            (
                self.reasoning_tokens,
                self.output_tokens,
                "reasoning_tokens",
            ),
            (self.audio_output_tokens, self.output_tokens, "audio_tokens"),
            (self.image_output_tokens, self.output_tokens, "image_tokens"),
            // Some vendors count what was cached of it here as well.
            (
                self.audio_input_tokens,
                self.input_tokens.map(|_| input),
                "audio_tokens",
            ),
            (
                self.image_input_tokens,
                self.input_tokens.map(|_| input),
                "image_tokens",
            ),
        ];
        match parts
            .into_iter()
            .find(|(part, whole, _)| whole.is_some() && part > whole)
        {
            Some((_, _, field)) => Err(UsageError::Inconsistent { field }),
            None => Ok(self),
        }
    }
}

fn sum<const N: usize>(counts: [Option<u64>; N]) -> u64 {
    counts.into_iter().flatten().fold(0, u64::saturating_add)
}

/// `None`: nothing is known.
fn known_sum<const N: usize>(counts: [Option<u64>; N]) -> Option<u64> {
    let known = counts.iter().any(Option::is_some);
    known.then(|| sum(counts))
}

/// Why reported usage cannot be billed. None of these counts as zero: the reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// The response is not JSON, or says something twice.
    #[error("the response is not acceptable JSON: {0}")]
    Json(#[from] JsonError),
    /// `usage`, or an object in it, is something else than an object.
    #[error("`{field}` is not an object")]
    NotAnObject {
        /// The member.
        field: &'static str,
    },
    /// Negative, fractional, a string, or beyond 2^40.
    #[error("`{field}` is not a plausible token count")]
    NotACount {
        /// The member.
        field: &'static str,
    },
    /// A part is larger than its whole.
    #[error("`{field}` is larger than the count it is part of")]
    Inconsistent {
        /// The part.
        field: &'static str,
    },
    /// The response is longer than [`crate::MAX_BODY_BYTES`].
    #[error("the response is too long to be read")]
    TooLong,
    /// The response is in a content coding, which only its receiver decodes.
    #[error("the response is encoded")]
    Encoded,
    /// The frames of a binary stream are broken.
    #[error("the stream's framing is broken")]
    Framing,
}

/// What a response reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) usage: Option<Usage>,
    pub(crate) service_tier: Option<ServiceTier>,
    /// Searches that a reranker bills.
    pub(crate) search_units: Option<u64>,
    /// Seconds of audio that were listened to.
    pub(crate) seconds: Option<u64>,
}

/// Reads the report of a response that is one JSON document.
pub(crate) fn read_report(endpoint: Endpoint, body: &[u8]) -> Result<Report, UsageError> {
    if !matches!(endpoint.home(), WireFormat::OpenAi | WireFormat::Anthropic) {
        let mut report = Report {
            usage: read_usage(endpoint, body)?,
            ..Report::default()
        };
        if endpoint.operation() == "rerank"
            && let Some(meta) = member(json::document(body)?, "meta")?
        {
            report.search_units = cohere::search_units(&meta)?;
        }
        return Ok(report);
    }
    let mut report = Report::default();
    for member in json::members(json::document(body)?) {
        let member = member?;
        match &*member.key {
            "usage" => {
                report.usage = parse(endpoint, &member.value)?;
                if endpoint.home() == WireFormat::Anthropic {
                    report.service_tier = tier_in(&member.value)?;
                }
                if endpoint.operation() == "transcribe" && member.value.kind == Kind::Object {
                    let [seconds] = counts("usage", ["seconds"], &member.value)?;
                    report.seconds = seconds;
                }
            }
            "meta" if endpoint == Endpoint::Rerank => {
                report.search_units = cohere::search_units(&member.value)?;
            }
            "service_tier" if endpoint.home() == WireFormat::OpenAi => {
                report.service_tier = ServiceTier::read(&member.value);
            }
            _ => {}
        }
    }
    Ok(report)
}

/// The tier that an object names.
pub(crate) fn tier_in(object: &Value<'_>) -> Result<Option<ServiceTier>, JsonError> {
    if object.kind != Kind::Object {
        return Ok(None);
    }
    let value = member(object.raw, "service_tier")?;
    Ok(value.as_ref().and_then(ServiceTier::read))
}

/// Reads the usage of a response that is one JSON document. `Ok(None)`: it reports none.
pub fn read_usage(endpoint: Endpoint, body: &[u8]) -> Result<Option<Usage>, UsageError> {
    let text = json::document(body)?;
    let name = match endpoint.home() {
        WireFormat::Bedrock if !is_converse(endpoint) => return bedrock::invoke(text),
        WireFormat::Gemini => "usageMetadata",
        WireFormat::Cohere if endpoint != Endpoint::CohereChat => "meta",
        _ => "usage",
    };
    match member(text, name)? {
        Some(value) => parse(endpoint, &value),
        None => Ok(None),
    }
}

/// Reads the object in which this API reports usage; `null` is none.
pub(crate) fn parse(endpoint: Endpoint, value: &Value<'_>) -> Result<Option<Usage>, UsageError> {
    if value.kind == Kind::Null {
        return Ok(None);
    }
    match endpoint.home() {
        WireFormat::OpenAi => openai(endpoint, value).map(Some),
        WireFormat::Anthropic => anthropic::parse(value).map(Some),
        WireFormat::Gemini => gemini(value).map(Some),
        WireFormat::Bedrock => bedrock::converse(value).map(Some),
        WireFormat::Cohere => cohere::billed(value),
    }
}

const fn is_converse(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::Converse | Endpoint::ConverseStream)
}

/// The member of that name, with the whole object checked.
pub(crate) fn member<'a>(object: &'a str, name: &str) -> Result<Option<Value<'a>>, JsonError> {
    let mut found = None;
    for member in json::members(object) {
        let member = member?;
        if member.key == name {
            found = Some(member.value);
        }
    }
    Ok(found)
}

fn object<'a>(field: &'static str, value: &Value<'a>) -> Result<json::Members<'a>, UsageError> {
    if value.kind == Kind::Object {
        Ok(value.members())
    } else {
        Err(UsageError::NotAnObject { field })
    }
}

/// A count; `null` is unknown.
fn count(field: &'static str, value: &Value<'_>) -> Result<Option<u64>, UsageError> {
    if value.kind == Kind::Null {
        return Ok(None);
    }
    let count = value.as_u64().filter(|&count| count <= MAX_COUNT);
    count.map(Some).ok_or(UsageError::NotACount { field })
}

/// The counts of those names in an object; `null` in its place is unknown.
fn counts<const N: usize>(
    field: &'static str,
    names: [&'static str; N],
    value: &Value<'_>,
) -> Result<[Option<u64>; N], UsageError> {
    let mut counts = [None; N];
    if value.kind == Kind::Null {
        return Ok(counts);
    }
    for member in object(field, value)? {
        let member = member?;
        for (name, place) in names.iter().zip(&mut counts) {
            if member.key == *name {
                *place = count(name, &member.value)?;
            }
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests;
