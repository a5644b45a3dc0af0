//! The model catalogue that ships with Reeve: `control-plane/catalogue/`, parsed once.
//!
//! Two files, one format (their README describes it): `models.jsonl` is made by
//! `cargo xtask catalogue`; `supplement.jsonl` is written by hand, for models that the source has
//! dropped. What an operator sets through the admin API stands above both; this module knows
//! nothing of it.

mod rates;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

pub use rates::{Meter, Rates};

/// Version of the file format that this module reads.
const FORMAT: u32 = 1;

const GENERATED: &str = include_str!("../../catalogue/models.jsonl");
const SUPPLEMENT: &str = include_str!("../../catalogue/supplement.jsonl");

/// Every model that Reeve knows without being told, sorted by provider and model.
#[derive(Debug)]
pub struct Catalogue {
    header: Header,
    entries: Vec<Entry>,
}

/// Why a catalogue file cannot be read. Impossible in a build whose tests ran.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model catalogue, {file} line {line}: {reason}")]
pub struct CatalogueError {
    file: &'static str,
    line: usize,
    reason: String,
}

/// A model of a provider: what it costs, how much it reads and writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Provider, by Reeve's name: `openai`, `vertex`.
    pub provider: &'static str,
    /// Model, by the provider's exact name.
    pub model: &'static str,
    /// What the model is for.
    pub mode: Mode,
    /// Longest prompt, tokens.
    pub max_input_tokens: Option<u64>,
    /// Longest answer, tokens.
    pub max_output_tokens: Option<u64>,
    /// Day on which the provider means to switch the model off, `YYYY-MM-DD`.
    pub deprecated_on: Option<&'static str>,
    /// Prices of an ordinary request.
    pub standard: Rates,
    /// Prices of other service tiers and of long prompts; whatever a card does not name costs the
    /// same as without the card.
    pub cards: Vec<Card>,
}

/// Prices that hold under a condition.
#[derive(Debug, PartialEq, Eq)]
pub struct Card {
    /// The service tier that the request was served in.
    pub service: Service,
    /// The prompt has more tokens than this; all of the request then costs these prices.
    pub above_tokens: u64,
    /// The prices.
    pub rates: Rates,
}

/// Service tiers with prices of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// An ordinary request.
    Standard,
    /// Through the provider's batch API.
    Batch,
    /// Slower and cheaper.
    Flex,
    /// Between flex and priority.
    Balanced,
    /// Faster and dearer.
    Priority,
    /// Fastest and dearest.
    Ultrafast,
}

/// What a model is for, in the words of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    AudioSpeech,
    AudioTranscription,
    Chat,
    Completion,
    Embedding,
    ImageEdit,
    ImageGeneration,
    Moderation,
    Ocr,
    Realtime,
    Rerank,
    Responses,
    VideoGeneration,
}

impl Catalogue {
    /// The built-in catalogue; parsed at the first call (some 10 ms), then at hand.
    pub fn builtin() -> Result<&'static Self, CatalogueError> {
        static BUILTIN: OnceLock<Result<Catalogue, CatalogueError>> = OnceLock::new();
        BUILTIN
            .get_or_init(|| Self::parse(GENERATED, SUPPLEMENT))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The model of that exact name.
    pub fn get(&self, provider: &str, model: &str) -> Option<&Entry> {
        let place = self
            .entries
            .binary_search_by(|entry| (entry.provider, entry.model).cmp(&(provider, model)));
        place.ok().and_then(|index| self.entries.get(index))
    }

    /// All models of a provider, by name; none for a provider the catalogue does not know.
    pub fn provider_models(&self, provider: &str) -> impl Iterator<Item = &Entry> {
        let start = self
            .entries
            .partition_point(|entry| entry.provider < provider);
        let end = self
            .entries
            .partition_point(|entry| entry.provider <= provider);
        self.entries.get(start..end).unwrap_or_default().iter()
    }

    /// All models, by provider and name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Version of the prices, for the ledger: a price that changes changes it.
    pub fn price_version(&self) -> u64 {
        self.header.price_version
    }

    /// Where the prices come from: `PyPI litellm 1.106.2 (MIT), retrieved 2026-11-23`.
    pub fn source(&self) -> String {
        let Header {
            source,
            source_version,
            license,
            retrieved,
            ..
        } = &self.header;
        format!("{source} {source_version} ({license}), retrieved {retrieved}")
    }

    fn parse(generated: &'static str, supplement: &'static str) -> Result<Self, CatalogueError> {
        let (header, lines) = generated.split_once('\n').unwrap_or((generated, ""));
        let at = |file, line, reason| CatalogueError { file, line, reason };
        let header: Header = serde_json::from_str(header)
            .map_err(|error| at("models.jsonl", 1, error.to_string()))?;
        if header.format != FORMAT {
            let reason = format!(
                "format {} is not {FORMAT}, which is read here",
                header.format
            );
            return Err(at("models.jsonl", 1, reason));
        }
        let mut entries = Vec::with_capacity(header.models);
        read_lines("models.jsonl", 2, lines, &mut entries)?;
        if entries.len() != header.models {
            let reason = format!(
                "{} models announced, {} present",
                header.models,
                entries.len()
            );
            return Err(at("models.jsonl", 1, reason));
        }
        read_lines("supplement.jsonl", 1, supplement, &mut entries)?;
        entries.sort_unstable_by_key(|entry| (entry.provider, entry.model));
        if let Some([twice, _]) = entries
            .array_windows()
            .find(|[a, b]| (a.provider, a.model) == (b.provider, b.model))
        {
            let reason = format!("{}/{} is listed twice", twice.provider, twice.model);
            return Err(at("supplement.jsonl", 1, reason));
        }
        Ok(Self { header, entries })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    source: String,
    source_version: String,
    license: String,
    retrieved: String,
    price_version: u64,
    models: usize,
}

/// A line of the file, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "p")]
    provider: &'static str,
    #[serde(rename = "m")]
    model: &'static str,
    #[serde(rename = "k")]
    mode: Mode,
    #[serde(rename = "i")]
    max_input_tokens: Option<u64>,
    #[serde(rename = "o")]
    max_output_tokens: Option<u64>,
    #[serde(rename = "d")]
    deprecated_on: Option<&'static str>,
    #[serde(rename = "$", default)]
    standard: Rates,
    #[serde(rename = "x", default)]
    cards: BTreeMap<&'static str, Rates>,
}

fn read_lines(
    file: &'static str,
    first: usize,
    text: &'static str,
    entries: &mut Vec<Entry>,
) -> Result<(), CatalogueError> {
    for (index, text) in text.lines().enumerate() {
        let entry = serde_json::from_str::<Line>(text)
            .map_err(|error| error.to_string())
            .and_then(Line::into_entry)
            .map_err(|reason| CatalogueError {
                file,
                line: first + index,
                reason,
            })?;
        entries.push(entry);
    }
    Ok(())
}

impl Line {
    fn into_entry(self) -> Result<Entry, String> {
        let mut cards = Vec::with_capacity(self.cards.len());
        for (name, rates) in self.cards {
            let (service, above_tokens) =
                condition(name).ok_or_else(|| format!("{name:?} is no service tier"))?;
            cards.push(Card {
                service,
                above_tokens,
                rates,
            });
        }
        Ok(Entry {
            provider: self.provider,
            model: self.model,
            mode: self.mode,
            max_input_tokens: self.max_input_tokens,
            max_output_tokens: self.max_output_tokens,
            deprecated_on: self.deprecated_on,
            standard: self.standard,
            cards,
        })
    }
}

/// `batch`, `>200000`, `priority>200000`.
fn condition(name: &str) -> Option<(Service, u64)> {
    let (service, above) = name.split_once('>').unwrap_or((name, "0"));
    let service = match service {
        "" => Service::Standard,
        "batch" => Service::Batch,
        "flex" => Service::Flex,
        "balanced" => Service::Balanced,
        "priority" => Service::Priority,
        "ultrafast" => Service::Ultrafast,
        _ => return None,
    };
    Some((service, above.parse().ok()?))
}

#[cfg(test)]
mod tests;
