//! From what an Envoy sends to what is stored. Pure.
//!
//! The sender is our own filter, so a record that breaks a rule is the sign of a fault, not of an
//! attack. It is kept as it came. Its charges are posted all the same as far as they make sense:
//! money that was spent stays spent even if the record about it cannot be filed.

use std::collections::BTreeMap;

use prost::Message as _;
use reeve_policy::price::MAX_TOKENS;
use reeve_proto::v1;

use super::Tokens;
use crate::ledger::Key;

/// Most that one record may cost or charge to one limit: a million dollars in nano-dollars.
const MAX_AMOUNT: i64 = 1_000_000_000_000_000;
/// Longest text in a record, bytes.
const MAX_TEXT: usize = 256;
/// Most limits that one record is charged to.
const MAX_CHARGES: usize = 256;
/// 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write.
const MAX_TIME_MS: i64 = 253_402_300_799_999;
const OUTCOMES: [&str; 4] = [
    "complete",
    "downstream_disconnect",
    "upstream_reset",
    "filter_trap",
];

/// A record that keeps every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub sequence: i64,
    pub request_id: String,
    pub reserved_at: i64,
    pub finished_at: i64,
    pub virtual_key_id: Option<String>,
    pub team_id: Option<String>,
    pub customer_id: Option<String>,
    pub provider_config_id: Option<String>,
    pub provider: String,
    pub model: String,
    pub operation: String,
    pub tokens: Tokens,
    pub cost_nanos: i64,
    pub estimated: bool,
    pub status: Option<i64>,
    pub streamed: bool,
    pub outcome: String,
    /// Of the prices that it was charged by.
    pub price_version: Option<i64>,
    /// The tier that the provider said it served it in.
    pub service_tier: Option<String>,
    /// All but the last failed before an answer began.
    pub attempts: i64,
    /// Place of the provider among all that were thought of.
    pub fallback_index: i64,
    /// What the caller called the model.
    pub alias: Option<String>,
}

/// A record that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its number.
    pub sequence: i64,
    /// The rule.
    pub reason: Broken,
    /// The encoded message.
    pub bytes: Vec<u8>,
}

/// Which rule a record breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Nothing where something must be.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Too long, or holds control characters.
    #[error("{0} is longer than {MAX_TEXT} bytes or holds control characters")]
    Text(&'static str),
    /// Outside of its range.
    #[error("{field} is {value}, beyond 0 to {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// What it says.
        value: i128,
        /// The most it may say.
        max: i128,
    },
    /// A word that is not known.
    #[error("outcome is none of {OUTCOMES:?}")]
    Outcome,
    /// More charges than any request has limits.
    #[error("more than {MAX_CHARGES} charges")]
    TooManyCharges,
}

/// What to store of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Posting {
    /// New records, in order.
    pub records: Vec<Record>,
    /// New records that break a rule, in order.
    pub rejected: Vec<Rejected>,
    /// What the new records are charged, each limit's window once.
    pub charges: BTreeMap<Key, i64>,
    /// The last number that is stored once this is.
    pub acknowledged: i64,
    /// How many numbers were passed over: records that will never come.
    pub missing: i64,
    /// How many records have a number that cannot be one (0, or beyond the range): they cannot be
    /// told apart, so they are not stored.
    pub unnumbered: usize,
}

/// What to store of `batch`, when everything up to `acknowledged` is stored already.
pub fn post(mut batch: Vec<v1::UsageRecord>, acknowledged: i64) -> Posting {
    let mut posting = Posting {
        acknowledged,
        ..Posting::default()
    };
    batch.sort_by_key(|record| record.sequence);
    for record in batch {
        let Some(sequence) = i64::try_from(record.sequence)
            .ok()
            .filter(|number| *number > 0)
        else {
            posting.unnumbered = posting.unnumbered.saturating_add(1);
            continue;
        };
        let Some(ahead) = sequence
            .checked_sub(posting.acknowledged)
            .filter(|ahead| *ahead > 0)
        else {
            continue;
        };
        posting.missing = posting.missing.saturating_add(ahead.saturating_sub(1));
        posting.acknowledged = sequence;
        posting.take(&record, sequence);
    }
    posting
}

impl Posting {
    fn take(&mut self, message: &v1::UsageRecord, sequence: i64) {
        let charges = check_charges(&message.charges);
        for charge in message.charges.iter().take(MAX_CHARGES) {
            if check_charge(charge).is_ok() {
                let key = Key {
                    limit_id: charge.limit_id.clone(),
                    window_start_ms: charge.window_start_ms,
                };
                let amount = self.charges.entry(key).or_default();
                *amount = amount.saturating_add(charge.amount);
            }
        }
        match charges.and_then(|()| read(message, sequence)) {
            Ok(record) => self.records.push(record),
            Err(reason) => {
                let bytes = message.encode_to_vec();
                self.rejected.push(Rejected {
                    sequence,
                    reason,
                    bytes,
                });
            }
        }
    }
}

fn read(message: &v1::UsageRecord, sequence: i64) -> Result<Record, Broken> {
    if !OUTCOMES.contains(&message.outcome.as_str()) {
        return Err(Broken::Outcome);
    }
    Ok(Record {
        sequence,
        request_id: text("request_id", &message.request_id)?,
        reserved_at: within("reserved_at_ms", message.reserved_at_ms, MAX_TIME_MS)?,
        finished_at: within("finished_at_ms", message.finished_at_ms, MAX_TIME_MS)?,
        virtual_key_id: optional("virtual_key_id", &message.virtual_key_id)?,
        team_id: optional("team_id", &message.team_id)?,
        customer_id: optional("customer_id", &message.customer_id)?,
        provider_config_id: optional("provider_config_id", &message.provider_config_id)?,
        provider: text("provider", &message.provider)?,
        model: text("model", &message.model)?,
        operation: text("operation", &message.operation)?,
        tokens: all_tokens(&message.usage.unwrap_or_default())?,
        cost_nanos: within("cost_nanos", message.cost_nanos, MAX_AMOUNT)?,
        estimated: message.estimated,
        status: match message.status {
            0 => None,
            status => Some(within("status", i64::from(status), 999)?),
        },
        streamed: message.streamed,
        outcome: message.outcome.clone(),
        price_version: match message.price_version {
            0 => None,
            version => Some(i64::try_from(version).map_err(|_| Broken::Range {
                field: "price_version",
                value: version.into(),
                max: i64::MAX.into(),
            })?),
        },
        service_tier: optional("service_tier", &message.service_tier)?,
        // A filter of an older release says nothing of it, and makes one.
        attempts: i64::from(message.attempts.max(1)),
        fallback_index: i64::from(message.fallback_index),
        alias: optional("alias", &message.alias)?,
    })
}

fn check_charges(charges: &[v1::Charge]) -> Result<(), Broken> {
    if charges.len() > MAX_CHARGES {
        return Err(Broken::TooManyCharges);
    }
    charges.iter().try_for_each(check_charge)
}

fn check_charge(charge: &v1::Charge) -> Result<(), Broken> {
    text("charges.limit_id", &charge.limit_id)?;
    // A rolling window is laid out from its anchor, so the window of a clock that is wrong may
    // start before 1970; a window is still where its charge belongs.
    let distance = charge.window_start_ms.checked_abs().unwrap_or(i64::MAX);
    within("charges.window_start_ms", distance, MAX_TIME_MS)?;
    within("charges.amount", charge.amount, MAX_AMOUNT)?;
    Ok(())
}

fn text(field: &'static str, text: &str) -> Result<String, Broken> {
    optional(field, text)?.ok_or(Broken::Empty(field))
}

fn optional(field: &'static str, text: &str) -> Result<Option<String>, Broken> {
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(Broken::Text(field));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn within(field: &'static str, value: i64, max: i64) -> Result<i64, Broken> {
    if (0..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Broken::Range {
            field,
            value: value.into(),
            max: max.into(),
        })
    }
}

fn all_tokens(usage: &v1::TokenUsage) -> Result<Tokens, Broken> {
    Ok(Tokens {
        input_tokens: tokens("usage.input_tokens", usage.input_tokens)?,
        cache_read_tokens: tokens("usage.cache_read_tokens", usage.cache_read_tokens)?,
        cache_write_5m_tokens: tokens("usage.cache_write_5m_tokens", usage.cache_write_5m_tokens)?,
        cache_write_1h_tokens: tokens("usage.cache_write_1h_tokens", usage.cache_write_1h_tokens)?,
        output_tokens: tokens("usage.output_tokens", usage.output_tokens)?,
        reasoning_tokens: tokens("usage.reasoning_tokens", usage.reasoning_tokens)?,
        audio_input_tokens: tokens("usage.audio_input_tokens", usage.audio_input_tokens)?,
        audio_output_tokens: tokens("usage.audio_output_tokens", usage.audio_output_tokens)?,
        image_input_tokens: tokens("usage.image_input_tokens", usage.image_input_tokens)?,
        image_output_tokens: tokens("usage.image_output_tokens", usage.image_output_tokens)?,
    })
}

fn tokens(field: &'static str, count: Option<u64>) -> Result<Option<i64>, Broken> {
    let Some(count) = count else { return Ok(None) };
    match i64::try_from(count) {
        Ok(tokens) if count <= MAX_TOKENS => Ok(Some(tokens)),
        _ => Err(Broken::Range {
            field,
            value: count.into(),
            max: MAX_TOKENS.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::tests::record;

    fn accounts(posting: &Posting) -> Vec<(&str, i64, i64)> {
        let charges = posting.charges.iter();
        charges
            .map(|(key, amount)| (key.limit_id.as_str(), key.window_start_ms, *amount))
            .collect()
    }

    #[test]
    fn what_is_acknowledged_already_is_not_counted_again() {
        let posting = post((1..=5).map(record).collect(), 3);
        let numbers: Vec<i64> = posting
            .records
            .iter()
            .map(|record| record.sequence)
            .collect();
        assert_eq!(numbers, [4, 5]);
        assert_eq!((posting.acknowledged, posting.missing), (5, 0));
        assert_eq!(
            accounts(&posting),
            [("budget", 1_000, 90), ("requests", 1_000, 2)]
        );
    }

    #[test]
    fn a_number_that_stands_in_the_batch_twice_counts_once() {
        let posting = post(vec![record(2), record(1), record(2)], 0);
        assert_eq!(posting.records.len(), 2);
        assert_eq!(
            accounts(&posting),
            [("budget", 1_000, 30), ("requests", 1_000, 2)]
        );
    }

    #[test]
    fn the_numbers_that_never_came_are_counted() {
        let posting = post(vec![record(3), record(4), record(9)], 1);
        assert_eq!((posting.acknowledged, posting.missing), (9, 5));
    }

    #[test]
    fn a_record_without_a_usable_number_is_left_out_and_holds_up_nothing() {
        let mut batch = vec![record(1), record(1), record(2)];
        batch[0].sequence = 0;
        batch[1].sequence = u64::MAX;
        let posting = post(batch, 1);
        assert_eq!((posting.unnumbered, posting.acknowledged), (2, 2));
        assert_eq!(posting.records.len(), 1);
    }

    #[test]
    fn a_record_that_breaks_a_rule_is_kept_with_the_reason_and_still_charged() {
        type Break = fn(&mut v1::UsageRecord);
        let cases: [(Break, &str); 13] = [
            (|r| r.request_id.clear(), "request_id is empty"),
            (|r| r.provider.clear(), "provider is empty"),
            (
                |r| r.model = "a\0b".into(),
                "model is longer than 256 bytes or holds control characters",
            ),
            (
                |r| r.team_id = "x".repeat(257),
                "team_id is longer than 256 bytes or holds control characters",
            ),
            (
                |r| r.reserved_at_ms = -1,
                "reserved_at_ms is -1, beyond 0 to 253402300799999",
            ),
            (
                |r| r.finished_at_ms = i64::MAX,
                "finished_at_ms is 9223372036854775807, beyond 0 to 253402300799999",
            ),
            (
                |r| r.cost_nanos = -5,
                "cost_nanos is -5, beyond 0 to 1000000000000000",
            ),
            (
                |r| r.cost_nanos = i64::MAX,
                "cost_nanos is 9223372036854775807, beyond 0 to 1000000000000000",
            ),
            (|r| r.status = 1000, "status is 1000, beyond 0 to 999"),
            (
                |r| r.outcome = "fine".into(),
                "outcome is none of [\"complete\", \"downstream_disconnect\", \"upstream_reset\", \
                 \"filter_trap\"]",
            ),
            (
                |r| r.usage.as_mut().unwrap().output_tokens = Some(u64::MAX),
                "usage.output_tokens is 18446744073709551615, beyond 0 to 1099511627776",
            ),
            (
                |r| r.charges.push(v1::Charge::default()),
                "charges.limit_id is empty",
            ),
            (
                |r| {
                    r.charges.push(v1::Charge {
                        limit_id: "l".into(),
                        window_start_ms: 0,
                        amount: -1,
                    });
                },
                "charges.amount is -1, beyond 0 to 1000000000000000",
            ),
        ];
        for (break_it, reason) in cases {
            let mut bad = record(1);
            break_it(&mut bad);
            let posting = post(vec![bad.clone(), record(2)], 0);
            assert_eq!(posting.rejected.len(), 1, "{reason}");
            assert_eq!(posting.rejected[0].reason.to_string(), reason);
            assert_eq!(
                v1::UsageRecord::decode(posting.rejected[0].bytes.as_slice()),
                Ok(bad)
            );
            assert_eq!(
                (posting.records.len(), posting.acknowledged),
                (1, 2),
                "{reason}"
            );
            assert_eq!(
                accounts(&posting),
                [("budget", 1_000, 30), ("requests", 1_000, 2)]
            );
        }
    }

    #[test]
    fn no_kind_of_token_may_be_counted_beyond_the_most_that_can_be_charged() {
        type Count = fn(&mut v1::TokenUsage) -> &mut Option<u64>;
        let kinds: [(Count, &str); 10] = [
            (|usage| &mut usage.input_tokens, "input"),
            (|usage| &mut usage.cache_read_tokens, "cache_read"),
            (|usage| &mut usage.cache_write_5m_tokens, "cache_write_5m"),
            (|usage| &mut usage.cache_write_1h_tokens, "cache_write_1h"),
            (|usage| &mut usage.output_tokens, "output"),
            (|usage| &mut usage.reasoning_tokens, "reasoning"),
            (|usage| &mut usage.audio_input_tokens, "audio_input"),
            (|usage| &mut usage.audio_output_tokens, "audio_output"),
            (|usage| &mut usage.image_input_tokens, "image_input"),
            (|usage| &mut usage.image_output_tokens, "image_output"),
        ];
        for (count, name) in kinds {
            let mut most = record(1);
            *count(most.usage.as_mut().unwrap()) = Some(MAX_TOKENS);
            assert_eq!(post(vec![most], 0).records.len(), 1, "{name}");
            let mut more = record(1);
            *count(more.usage.as_mut().unwrap()) = Some(MAX_TOKENS + 1);
            let reason = format!(
                "usage.{name}_tokens is {}, beyond 0 to {MAX_TOKENS}",
                MAX_TOKENS + 1
            );
            assert_eq!(post(vec![more], 0).rejected[0].reason.to_string(), reason);
        }
    }

    #[test]
    fn what_was_not_reported_is_not_zero() {
        let mut silent = record(1);
        silent.usage = None;
        silent.virtual_key_id.clear();
        silent.status = 0;
        let posting = post(vec![silent], 0);
        let stored = &posting.records[0];
        assert_eq!(stored.tokens, Tokens::default());
        assert_eq!((&stored.virtual_key_id, stored.status), (&None, None));
    }
}
