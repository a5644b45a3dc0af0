//! Anthropic's usage. Cached tokens are counted beside the input.
//!
//! Source: Anthropic's API reference, Messages, "Prompt caching" and "Compaction".

use super::{Usage, UsageError, count, counts, object};
use crate::json::{self, Member, Value};

/// The counts as they stand there; a stream reports them piece by piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    /// Of the output.
    thinking: Option<u64>,
    cache_read: Option<u64>,
    /// All that was written to the cache.
    cache_write: Option<u64>,
    /// Of that, for five minutes and for an hour.
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
}

/// Reads an object of usage.
pub(crate) fn parse(value: &Value<'_>) -> Result<Usage, UsageError> {
    Counts::read(value)?.into_usage()
}

impl Counts {
    /// A request can make the model work several times. Then `iterations` lists each time, and those
    /// that compacted the conversation are in no other count.
    pub(crate) fn read(value: &Value<'_>) -> Result<Self, UsageError> {
        let mut found = Self::default();
        let mut iterations = Self::default();
        for member in object("usage", value)? {
            let member = member?;
            if member.key == "iterations" {
                iterations = Self::sum(&member.value)?;
            } else {
                found.take(&member)?;
            }
        }
        found.update(iterations);
        Ok(found)
    }

    /// Adds up a list of objects of usage.
    fn sum(list: &Value<'_>) -> Result<Self, UsageError> {
        let mut sum = Self::default();
        for element in json::elements(list) {
            let mut one = Self::default();
            for member in json::members(element?) {
                one.take(&member?)?;
            }
            sum.combine(one, |sum, more| match (sum, more) {
                (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                (sum, more) => sum.or(more),
            });
        }
        Ok(sum)
    }

    fn take(&mut self, member: &Member<'_>) -> Result<(), UsageError> {
        let value = &member.value;
        let (field, place) = match &*member.key {
            "input_tokens" => ("input_tokens", &mut self.input),
            "output_tokens" => ("output_tokens", &mut self.output),
            "cache_read_input_tokens" => ("cache_read_input_tokens", &mut self.cache_read),
            "cache_creation_input_tokens" => ("cache_creation_input_tokens", &mut self.cache_write),
            "cache_creation" => {
                let names = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"];
                [self.cache_write_5m, self.cache_write_1h] =
                    counts("cache_creation", names, value)?;
                return Ok(());
            }
            "output_tokens_details" => {
                [self.thinking] = counts("output_tokens_details", ["thinking_tokens"], value)?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        *place = count(field, value)?;
        Ok(())
    }

    /// Is the output among them?
    pub(crate) const fn tell_output(&self) -> bool {
        self.output.is_some()
    }

    /// Takes in a later report of the same stream: counts are cumulative.
    pub(crate) fn update(&mut self, later: Self) {
        // `None` is smaller than any count.
        self.combine(later, Option::max);
    }

    fn combine(&mut self, other: Self, by: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) {
        for (count, other) in [
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.thinking, other.thinking),
            (&mut self.cache_read, other.cache_read),
            (&mut self.cache_write, other.cache_write),
            (&mut self.cache_write_5m, other.cache_write_5m),
            (&mut self.cache_write_1h, other.cache_write_1h),
        ] {
            *count = by(*count, other);
        }
    }

    /// What is not said to be written for an hour was written for five minutes.
    pub(crate) fn into_usage(self) -> Result<Usage, UsageError> {
        let cache_write_5m = match (self.cache_write, self.cache_write_1h) {
            (Some(all), Some(hour)) => {
                let rest = all.checked_sub(hour).ok_or(UsageError::Inconsistent {
                    field: "ephemeral_1h_input_tokens",
                })?;
                Some(rest.max(self.cache_write_5m.unwrap_or(0)))
            }
            (Some(all), None) => Some(all),
            (None, _) => self.cache_write_5m,
        };
        Usage {
            input_tokens: self.input,
            cache_read_tokens: self.cache_read,
            cache_write_5m_tokens: cache_write_5m,
            cache_write_1h_tokens: self.cache_write_1h,
            output_tokens: self.output,
            reasoning_tokens: self.thinking,
            ..Usage::default()
        }
        .checked()
    }
}
