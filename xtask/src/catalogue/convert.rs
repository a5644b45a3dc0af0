//! One row of the source → one line of the catalogue.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::value::RawValue;

use super::decimal;
use super::report::Report;
use super::vocabulary;

/// A row of the source, its numbers still text.
pub(super) type Row = BTreeMap<String, Box<RawValue>>;

/// Prices by what they count, in nano-dollars per 1,000,000.
pub(super) type Rates = BTreeMap<&'static str, i64>;

/// A line of the catalogue file; its README explains the short names.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Line {
    #[serde(rename = "p")]
    pub(super) provider: String,
    #[serde(rename = "m")]
    pub(super) model: String,
    #[serde(rename = "k")]
    pub(super) mode: String,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub(super) max_input_tokens: Option<u64>,
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    pub(super) max_output_tokens: Option<u64>,
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub(super) deprecated_on: Option<String>,
    #[serde(rename = "$", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) standard: Rates,
    #[serde(rename = "x", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) others: BTreeMap<String, Rates>,
}

impl Line {
    /// How much the line knows, to choose between two rows for one model.
    pub(super) fn prices(&self) -> usize {
        self.standard.len() + self.others.values().map(BTreeMap::len).sum::<usize>()
    }
}

/// Converts the row of `key`; `None` when the catalogue does not list such rows.
pub(super) fn line(key: &str, row: &Row, report: &mut Report) -> Result<Option<Line>> {
    if vocabulary::is_not_a_model(key) {
        report.skipped("no model");
        return Ok(None);
    }
    let Some(provider) = text(row, "litellm_provider")? else {
        report.skipped("no provider");
        return Ok(None);
    };
    let provider = vocabulary::provider(&provider).to_owned();
    let mode = text(row, "mode")?.unwrap_or_default();
    if !vocabulary::is_listed_mode(&mode) {
        report.skipped("mode not listed");
        return Ok(None);
    }

    let mut cards = read_prices(row, report)?;
    drop_placeholder_zeros(&mut cards, report);
    let standard = cards.remove("").unwrap_or_default();

    // The source's older name for the limit; for a model that writes text it bounds the output.
    let max_output_tokens = match limit(row, "max_output_tokens")? {
        None if vocabulary::writes_text(&mode) => limit(row, "max_tokens")?,
        known => known,
    };
    Ok(Some(Line {
        model: vocabulary::model(key, &provider).to_owned(),
        provider,
        mode,
        max_input_tokens: limit(row, "max_input_tokens")?,
        max_output_tokens,
        deprecated_on: date(row)?,
        standard,
        others: cards,
    }))
}

/// Every price of the row, by card.
fn read_prices(row: &Row, report: &mut Report) -> Result<BTreeMap<String, Rates>> {
    let mut cards = BTreeMap::<String, Rates>::new();
    for (name, value) in row {
        let text = value.get();
        match name.as_str() {
            "search_context_cost_per_query" => {
                if let Some(dearest) = dearest_search(text, report)? {
                    cards
                        .entry(String::new())
                        .or_default()
                        .insert("searches", dearest);
                }
            }
            "tiered_pricing" => read_tiers(text, &mut cards, report)?,
            _ => match vocabulary::price_field(name) {
                Some(field) => {
                    let nano = report.price(decimal::price(text).with_context(|| name.clone())?);
                    cards
                        .entry(field.card)
                        .or_default()
                        .insert(field.meter, nano);
                }
                None if name.contains("cost") => report.unread(name),
                None => {}
            },
        }
    }
    Ok(cards)
}

/// The source prices a web search by the size of the context it adds. The request does not always
/// say which one was used, so the catalogue keeps the dearest.
fn dearest_search(text: &str, report: &mut Report) -> Result<Option<i64>> {
    let sizes: Row = serde_json::from_str(text).context("search_context_cost_per_query")?;
    let mut dearest = None;
    for (size, value) in &sizes {
        let price = decimal::price(value.get()).with_context(|| size.clone())?;
        dearest = dearest.max(Some(report.price(price)));
    }
    Ok(dearest)
}

/// Prices by ranges of the prompt's length: `[{"range": [0, 32000], "input_cost_per_token": ..}]`.
fn read_tiers(text: &str, cards: &mut BTreeMap<String, Rates>, report: &mut Report) -> Result<()> {
    let tiers: Vec<Row> = serde_json::from_str(text).context("tiered_pricing")?;
    for tier in tiers {
        let Some(range) = tier.get("range") else {
            report.unread("tiered_pricing without a range of tokens");
            continue;
        };
        let range: Vec<Box<RawValue>> = serde_json::from_str(range.get()).context("range")?;
        let Some(above) = range.first() else {
            bail!("tiered_pricing: the range is empty")
        };
        let card = match decimal::count(above.get()).context("range")? {
            0 => String::new(),
            above => format!(">{above}"),
        };
        for (name, value) in tier.iter().filter(|(name, _)| name.as_str() != "range") {
            let Some(meter) = vocabulary::meter(name) else {
                report.unread(name);
                continue;
            };
            let price = decimal::price(value.get()).with_context(|| name.clone())?;
            cards
                .entry(card.clone())
                .or_default()
                .insert(meter, report.price(price));
        }
    }
    Ok(())
}

/// Zeros that say "not known" or "not charged apart", and must never make tokens free.
///
/// * Only zeros: the source fills in zero for prices it does not know. No price at all is the
///   truth, and the model is refused until somebody prices it.
/// * Cache prices of zero next to an input price: cached tokens are billed as input.
fn drop_placeholder_zeros(cards: &mut BTreeMap<String, Rates>, report: &mut Report) {
    if !cards.is_empty()
        && cards
            .values()
            .flat_map(BTreeMap::values)
            .all(|&price| price == 0)
    {
        cards.clear();
        report.only_zeros += 1;
        return;
    }
    for rates in cards.values_mut() {
        if rates.get("in").is_some_and(|&input| input > 0) {
            let before = rates.len();
            rates.retain(|meter, price| {
                *price > 0 || !matches!(*meter, "read" | "write" | "write1h")
            });
            report.zero_cache_prices += before - rates.len();
        }
    }
}

fn text(row: &Row, name: &str) -> Result<Option<String>> {
    row.get(name)
        .map(|value| serde_json::from_str(value.get()).with_context(|| name.to_owned()))
        .transpose()
}

/// A limit in tokens; the source writes zero where it knows none.
fn limit(row: &Row, name: &str) -> Result<Option<u64>> {
    let Some(value) = row.get(name) else {
        return Ok(None);
    };
    let limit = decimal::count(value.get()).with_context(|| name.to_owned())?;
    Ok(Some(limit).filter(|&limit| limit > 0))
}

fn date(row: &Row) -> Result<Option<String>> {
    let date = text(row, "deprecation_date")?;
    if let Some(date) = &date {
        super::check_date(date).context("deprecation_date")?;
    }
    Ok(date)
}

#[cfg(test)]
mod tests {
    use super::{Line, line};
    use crate::catalogue::report::Report;

    fn convert(key: &str, row: &str) -> (Option<Line>, Report) {
        let mut report = Report::default();
        let line = line(key, &serde_json::from_str(row).unwrap(), &mut report).unwrap();
        (line, report)
    }

    fn json(key: &str, row: &str) -> String {
        serde_json::to_string(&convert(key, row).0.expect("is listed")).unwrap()
    }

    #[test]
    fn a_row_becomes_one_line_with_integer_prices() {
        let row = r#"{"litellm_provider": "vertex_ai-language-models", "mode": "chat",
            "max_input_tokens": 1000, "max_output_tokens": 64, "deprecation_date": "2027-01-31",
            "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
            "input_cost_per_token_above_200k_tokens": 2.5e-06,
            "input_cost_per_token_above_200k_tokens_priority": 4.5e-06,
            "input_cost_per_token_batches": 6.25e-07, "cache_read_input_token_cost": 1.25e-07,
            "supports_vision": true, "tpm": 10}"#;
        assert_eq!(
            json("vertex_ai/some-model", row),
            concat!(
                r#"{"p":"vertex","m":"some-model","k":"chat","i":1000,"o":64,"d":"2027-01-31","#,
                r#""$":{"in":1250000000,"out":10000000000,"read":125000000},"#,
                r#""x":{">200000":{"in":2500000000},"batch":{"in":625000000},"#,
                r#""priority>200000":{"in":4500000000}}}"#
            )
        );
    }

    #[test]
    fn ranges_of_prompt_lengths_become_thresholds() {
        let row = r#"{"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [
            {"range": [0, 32000.0], "input_cost_per_token": 3e-07, "output_cost_per_token": 1e-06},
            {"range": [32000.0, 128000.0], "input_cost_per_token": 5e-07}]}"#;
        assert_eq!(
            json("dashscope/some-model", row),
            concat!(
                r#"{"p":"dashscope","m":"some-model","k":"chat","#,
                r#""$":{"in":300000000,"out":1000000000},"x":{">32000":{"in":500000000}}}"#
            )
        );
    }

    #[test]
    fn a_row_of_zeros_is_unpriced_not_free() {
        let row = r#"{"litellm_provider": "ollama", "mode": "chat",
            "input_cost_per_token": 0.0, "output_cost_per_token": 0}"#;
        let (line, report) = convert("ollama/llama3", row);
        assert_eq!(line.unwrap().prices(), 0);
        assert_eq!(report.only_zeros, 1);
    }

    #[test]
    fn cached_tokens_at_zero_are_billed_as_input_but_free_output_stays_free() {
        let row = r#"{"litellm_provider": "deepseek", "mode": "embedding",
            "input_cost_per_token": 1e-06, "output_cost_per_token": 0.0,
            "cache_creation_input_token_cost": 0.0, "cache_read_input_token_cost": 0}"#;
        let (line, report) = convert("deepseek/some-model", row);
        let standard = line.unwrap().standard;
        assert_eq!(
            standard.into_iter().collect::<Vec<_>>(),
            [("in", 1_000_000_000), ("out", 0)]
        );
        assert_eq!(report.zero_cache_prices, 2);
    }

    #[test]
    fn a_web_search_costs_its_dearest_size() {
        let row = r#"{"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06,
            "search_context_cost_per_query":
                {"search_context_size_low": 0.03, "search_context_size_high": 0.05}}"#;
        let (line, _) = convert("some-model", row);
        assert_eq!(
            line.unwrap().standard.get("searches"),
            Some(&50_000_000_000_000)
        );
    }

    #[test]
    fn max_tokens_bounds_the_output_of_models_that_write_only() {
        let row = |mode: &str| {
            format!(r#"{{"litellm_provider": "openai", "mode": "{mode}", "max_tokens": 8191}}"#)
        };
        assert_eq!(
            convert("a", &row("chat")).0.unwrap().max_output_tokens,
            Some(8191)
        );
        assert_eq!(
            convert("a", &row("embedding")).0.unwrap().max_output_tokens,
            None
        );
    }

    #[test]
    fn rows_that_are_no_models_are_skipped_and_counted() {
        let chat = r#"{"litellm_provider": "bedrock", "mode": "chat"}"#;
        for (key, row) in [
            ("sample_spec", chat),
            ("fireworks-ai-up-to-4b", chat),
            ("bedrock/us-west-2/6-month-commitment/some-model", chat),
            (
                "tavily/search",
                r#"{"litellm_provider": "tavily", "mode": "search"}"#,
            ),
            ("nobodys", r#"{"mode": "chat"}"#),
        ] {
            let (line, report) = convert(key, row);
            assert_eq!(line, None, "{key}");
            assert_eq!(report.skipped_rows(), 1, "{key}");
        }
    }

    #[test]
    fn a_price_that_is_not_a_number_stops_the_conversion_and_is_named() {
        for row in [
            r#"{"litellm_provider": "x", "mode": "chat", "input_cost_per_token": "1e-06"}"#,
            r#"{"litellm_provider": "x", "mode": "chat", "input_cost_per_token": -1e-06}"#,
            r#"{"litellm_provider": "x", "mode": "chat", "input_cost_per_token": null}"#,
        ] {
            let row = serde_json::from_str(row).unwrap();
            let error = line("some-model", &row, &mut Report::default()).unwrap_err();
            assert!(
                format!("{error:#}").contains("input_cost_per_token"),
                "{error:#}"
            );
        }
    }
}
