//! The vocabulary of prices in a catalogue file: what is counted, and what it costs.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Prices by what they count, in nano-dollars per 1,000,000 of it. Never negative.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<Meter, u64>")]
pub struct Rates(BTreeMap<Meter, i64>);

/// What is counted and billed. The names are those of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Prompt tokens that no other meter counts.
    #[serde(rename = "in")]
    Input,
    /// Answer tokens that no other meter counts.
    #[serde(rename = "out")]
    Output,
    /// Prompt tokens found in the provider's cache.
    #[serde(rename = "read")]
    CacheRead,
    /// Prompt tokens stored in the provider's cache for its ordinary time (5 minutes).
    #[serde(rename = "write")]
    CacheWrite,
    /// Prompt tokens stored in the provider's cache for an hour.
    #[serde(rename = "write1h")]
    CacheWriteHour,
    /// Answer tokens spent on reasoning; absent, they are [`Meter::Output`].
    #[serde(rename = "reason")]
    Reasoning,
    /// Tokens of cited sources.
    #[serde(rename = "cite")]
    Citation,
    /// Audio tokens of the prompt.
    AudioIn,
    /// Audio tokens of the answer.
    AudioOut,
    /// Audio tokens found in the cache.
    AudioRead,
    /// Audio tokens stored in the cache.
    AudioWrite,
    /// Image tokens of the prompt.
    ImageIn,
    /// Image tokens of the answer.
    ImageOut,
    /// Image tokens found in the cache.
    ImageRead,
    /// Video tokens of the prompt.
    VideoIn,
    /// Video tokens of the answer.
    VideoOut,
    /// Characters of the prompt.
    CharsIn,
    /// Characters of the answer.
    CharsOut,
    /// Images of the prompt.
    ImagesIn,
    /// Images made.
    ImagesOut,
    /// Pixels of images made, where the provider's list prices them on the input side.
    PixelsIn,
    /// Pixels of images made.
    PixelsOut,
    /// Seconds of input, or of machine time, as the model's mode says.
    SecondsIn,
    /// Seconds of output.
    SecondsOut,
    /// Seconds of audio in the prompt.
    AudioSecondsIn,
    /// Seconds of video in the prompt.
    VideoSecondsIn,
    /// Seconds of video made.
    VideoSecondsOut,
    /// Pages read.
    Pages,
    /// Pages read and annotated.
    AnnotatedPages,
    /// Queries of a reranker.
    Queries,
    /// Requests, on top of what they count otherwise.
    Requests,
    /// Web searches the model made, at the dearest context size.
    Searches,
}

impl Rates {
    /// Nano-dollars per 1,000,000 of `meter`.
    pub fn price(&self, meter: Meter) -> Option<i64> {
        self.0.get(&meter).copied()
    }

    /// All prices.
    pub fn iter(&self) -> impl Iterator<Item = (Meter, i64)> {
        self.0.iter().map(|(meter, price)| (*meter, *price))
    }
}

impl TryFrom<BTreeMap<Meter, u64>> for Rates {
    type Error = String;

    /// Unsigned on the way in: a negative price is not a number to the parser.
    fn try_from(prices: BTreeMap<Meter, u64>) -> Result<Self, String> {
        let signed = |(meter, price)| {
            let price =
                i64::try_from(price).map_err(|_| format!("{price} is too large a price"))?;
            Ok((meter, price))
        };
        prices
            .into_iter()
            .map(signed)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
