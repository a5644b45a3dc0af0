//! Bedrock's usage: in the body of Converse, in the metrics that end a stream of InvokeModel, and in
//! the header fields and the body of its answer. Cached tokens are counted beside the input.
//!
//! Source: Amazon's Bedrock API reference, `TokenUsage`, `InvokeModel`, and the user guide's
//! "Prompt caching" and "Inference parameters" (Claude, Titan, Nova).

use super::{Usage, UsageError, anthropic, count, counts, object};
use crate::json::{self, Kind, Value};

/// Header fields of InvokeModel's answer: tokens of the input, of the output, read from the cache,
/// written to it.
pub const COUNT_HEADERS: [&str; 4] = [
    "x-amzn-bedrock-input-token-count",
    "x-amzn-bedrock-output-token-count",
    "x-amzn-bedrock-cache-read-input-token-count",
    "x-amzn-bedrock-cache-write-input-token-count",
];

/// Reads the object of usage of Converse.
pub(crate) fn converse(value: &Value<'_>) -> Result<Usage, UsageError> {
    let mut usage = Usage::default();
    let mut written = None;
    let mut for_an_hour = None;
    for member in object("usage", value)? {
        let member = member?;
        let (field, place) = match &*member.key {
            "inputTokens" => ("inputTokens", &mut usage.input_tokens),
            "outputTokens" => ("outputTokens", &mut usage.output_tokens),
            "cacheReadInputTokens" => ("cacheReadInputTokens", &mut usage.cache_read_tokens),
            "cacheWriteInputTokens" => ("cacheWriteInputTokens", &mut written),
            "cacheDetails" => {
                for_an_hour = read_cache_details(&member.value)?;
                continue;
            }
            _ => continue,
        };
        *place = count(field, &member.value)?;
    }
    usage.cache_write_5m_tokens = match (written, for_an_hour) {
        (Some(all), Some(hour)) => {
            let rest = all.checked_sub(hour);
            Some(rest.ok_or(UsageError::Inconsistent {
                field: "cacheDetails",
            })?)
        }
        (all, _) => all,
    };
    usage.cache_write_1h_tokens = for_an_hour;
    Ok(usage)
}

/// Of what was written to the cache, what is kept for an hour:
/// `[{"ttl": "1h", "inputTokens": 5}, ...]`.
fn read_cache_details(value: &Value<'_>) -> Result<Option<u64>, UsageError> {
    let mut for_an_hour: Option<u64> = None;
    for element in json::elements(value) {
        let (mut is_hour, mut written) = (false, None);
        for member in json::members(element?) {
            let member = member?;
            match (&*member.key, member.value.kind) {
                ("ttl", Kind::String(ttl)) => is_hour = ttl.is("1h"),
                ("inputTokens", _) => written = count("inputTokens", &member.value)?,
                _ => {}
            }
        }
        if is_hour {
            let sum = for_an_hour.unwrap_or(0);
            for_an_hour = Some(sum.saturating_add(written.unwrap_or(0)));
        }
    }
    Ok(for_an_hour)
}

/// Reads `amazon-bedrock-invocationMetrics`.
pub(crate) fn metrics(value: &Value<'_>) -> Result<Usage, UsageError> {
    let names = [
        "inputTokenCount",
        "outputTokenCount",
        "cacheReadInputTokenCount",
        "cacheWriteInputTokenCount",
    ];
    let [input, output, cache_read, cache_write] =
        counts("amazon-bedrock-invocationMetrics", names, value)?;
    Ok(Usage {
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: cache_read,
        cache_write_5m_tokens: cache_write,
        ..Usage::default()
    })
}

/// Reads the values of [`COUNT_HEADERS`]. One that is no count is as good as absent.
pub(crate) fn headers(values: [Option<&[u8]>; 4]) -> Usage {
    let [input, output, cache_read, cache_write] = values.map(|value| {
        let digits = str::from_utf8(value?).ok()?;
        let count: u64 = digits.parse().ok()?;
        (count <= super::MAX_COUNT && !digits.starts_with('+')).then_some(count)
    });
    Usage {
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: cache_read,
        cache_write_5m_tokens: cache_write,
        ..Usage::default()
    }
}

/// Reads the body of InvokeModel's answer, which is that of the model's vendor: Anthropic's has an
/// object of usage, Titan's has single counts; what embeds has no output. Of other vendors the
/// header fields tell all there is.
pub(crate) fn invoke(body: &str) -> Result<Option<Usage>, UsageError> {
    let mut usage = Usage::default();
    for member in json::members(body) {
        let member = member?;
        let value = &member.value;
        let found = match &*member.key {
            "usage" if value.kind != Kind::Null => anthropic::parse(value)?,
            "inputTextTokenCount" => Usage {
                input_tokens: count("inputTextTokenCount", value)?,
                ..Usage::default()
            },
            "results" => Usage {
                output_tokens: sum("tokenCount", value)?,
                ..Usage::default()
            },
            "embedding" | "embeddings" | "embeddingsByType" => Usage {
                output_tokens: Some(0),
                ..Usage::default()
            },
            _ => continue,
        };
        usage.update(&found);
    }
    Ok((usage != Usage::default()).then_some(usage))
}

/// Adds up the counts of that name in a list of objects. `None`: there are none.
fn sum(name: &'static str, list: &Value<'_>) -> Result<Option<u64>, UsageError> {
    let mut sum: Option<u64> = None;
    for element in json::elements(list) {
        for member in json::members(element?) {
            let member = member?;
            if member.key == name
                && let Some(more) = count(name, &member.value)?
            {
                sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
    }
    Ok(sum)
}
