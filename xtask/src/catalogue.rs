//! `cargo xtask catalogue`: a price list by others → `control-plane/catalogue/models.jsonl`.
//!
//! The source is the price table in the PyPI package `litellm` (MIT). The result depends on the
//! arguments alone: same table, same arguments, same bytes. `control-plane/catalogue/README.md`
//! describes the file and how to refresh it.

mod convert;
mod decimal;
mod report;
mod vocabulary;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use convert::{Line, Row};
use report::Report;

/// Version of the file's format; `control-plane/src/models/builtin.rs` reads exactly this one.
const FORMAT: u32 = 1;

/// Fewer priced models than this, and the source changed its format under us.
const MIN_PRICED: usize = 1_000;

/// Converts the price table of the PyPI package `litellm` into the built-in model catalogue.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The package's `model_prices_and_context_window_backup.json`.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Version of the package that the table came with.
    #[arg(long, value_name = "VERSION")]
    package_version: String,
    /// Day on which the package was fetched, YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    retrieved: String,
    /// Version of the prices, written on every ledger row; must grow when a line changes.
    #[arg(long, value_name = "N")]
    price_version: u64,
    /// Where the catalogue goes.
    #[arg(long, value_name = "FILE", default_value_os_t = default_output())]
    to: PathBuf,
}

/// First line of the catalogue file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    source: String,
    source_version: String,
    license: String,
    retrieved: String,
    price_version: u64,
    models: usize,
}

/// Converts, writes, and prints what it did.
pub(crate) fn run(args: Args) -> Result<()> {
    check_date(&args.retrieved).context("--retrieved")?;
    let source = fs::read_to_string(&args.from)
        .with_context(|| format!("cannot read {}", args.from.display()))?;
    let (lines, report) = convert_all(&source)?;
    let priced = lines.iter().filter(|line| line.prices() > 0).count();
    ensure!(
        priced >= MIN_PRICED,
        "only {priced} models have a price, expected at least {MIN_PRICED}: \
         has the source's format changed?"
    );

    let header = Header {
        format: FORMAT,
        source: "PyPI litellm".to_owned(),
        source_version: args.package_version,
        license: "MIT".to_owned(),
        retrieved: args.retrieved,
        price_version: args.price_version,
        models: lines.len(),
    };
    let body = body(&lines)?;
    check_price_version(&args.to, args.price_version, &body)?;
    fs::write(
        &args.to,
        format!("{}\n{body}", serde_json::to_string(&header)?),
    )
    .with_context(|| format!("cannot write {}", args.to.display()))?;

    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}: {} models, {priced} with a price",
        args.to.display(),
        lines.len()
    )?;
    write!(out, "{report}")?;
    Ok(())
}

/// All lines, sorted by provider and model.
fn convert_all(source: &str) -> Result<(Vec<Line>, Report)> {
    let rows: BTreeMap<String, Row> =
        serde_json::from_str(source).context("the source is not an object of objects")?;
    let mut report = Report::default();
    let mut models = BTreeMap::<(String, String), Line>::new();
    for (key, row) in &rows {
        let line = convert::line(key, row, &mut report).with_context(|| key.clone())?;
        let Some(line) = line else { continue };
        match models.entry((line.provider.clone(), line.model.clone())) {
            Entry::Vacant(place) => {
                place.insert(line);
            }
            Entry::Occupied(mut known) => {
                report.duplicates += 1;
                report.conflicts += usize::from(line != *known.get());
                // On a tie the later row stands: the one whose key spells out the provider, as
                // a rule ("deepseek/deepseek-chat" sorts after "deepseek-chat").
                if line.prices() >= known.get().prices() {
                    known.insert(line);
                }
            }
        }
    }
    Ok((models.into_values().collect(), report))
}

fn body(lines: &[Line]) -> Result<String> {
    let mut body = String::new();
    for line in lines {
        body.push_str(&serde_json::to_string(line)?);
        body.push('\n');
    }
    Ok(body)
}

/// A ledger row names the price version it was charged at: one version, one set of prices.
fn check_price_version(file: &Path, price_version: u64, body: &str) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let old = fs::read_to_string(file)?;
    let (header, old_body) = old.split_once('\n').unwrap_or((&old, ""));
    let header: Header = serde_json::from_str(header)
        .with_context(|| format!("{}: the first line is not a header", file.display()))?;
    if body != old_body && price_version <= header.price_version {
        bail!(
            "the catalogue has changed since price version {}: pass --price-version {}",
            header.price_version,
            header.price_version.saturating_add(1)
        );
    }
    Ok(())
}

/// Accepts `YYYY-MM-DD` only; such dates sort as text.
fn check_date(date: &str) -> Result<()> {
    let parts: Vec<&str> = date.split('-').collect();
    let number = |part: &str, digits: usize| {
        let valid = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| valid)
    };
    let valid = match parts.as_slice() {
        [year, month, day] => {
            number(year, 4).is_some()
                && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
                && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
        }
        _ => false,
    };
    ensure!(valid, "{date:?} is not a date of the form YYYY-MM-DD");
    Ok(())
}

/// The committed catalogue.
fn default_output() -> PathBuf {
    crate::workspace::root().join("control-plane/catalogue/models.jsonl")
}

#[cfg(test)]
mod tests {
    use super::{body, check_date, check_price_version, convert_all};

    const TWO_ROWS: &str = r#"{
        "z-model": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-06},
        "a-model": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06},
        "model": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 1e-06}
    }"#;

    #[test]
    fn lines_are_sorted_by_provider_and_model() {
        let (lines, _) = convert_all(TWO_ROWS).unwrap();
        let names: Vec<_> = lines
            .iter()
            .map(|line| (&*line.provider, &*line.model))
            .collect();
        assert_eq!(
            names,
            [
                ("anthropic", "model"),
                ("openai", "a-model"),
                ("openai", "z-model")
            ]
        );
    }

    #[test]
    fn of_two_rows_for_one_model_the_one_with_more_prices_is_kept() {
        let source = r#"{
            "deepseek/model": {"litellm_provider": "deepseek", "mode": "chat",
                "input_cost_per_token": 0, "output_cost_per_token": 0},
            "model": {"litellm_provider": "deepseek", "mode": "chat",
                "input_cost_per_token": 3e-06}
        }"#;
        let (lines, report) = convert_all(source).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].standard.get("in"), Some(&3_000_000_000));
        assert_eq!((report.duplicates, report.conflicts), (1, 1));
    }

    #[test]
    fn a_bad_price_names_the_row_it_is_in() {
        let source = r#"{"some-model": {"litellm_provider": "x", "mode": "chat",
            "input_cost_per_token": "free"}}"#;
        let error = format!("{:#}", convert_all(source).unwrap_err());
        assert!(
            error.starts_with("some-model: input_cost_per_token"),
            "{error}"
        );
    }

    #[test]
    fn changed_prices_need_a_new_price_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("models.jsonl");
        let check = |version, body| check_price_version(&file, version, body).is_ok();
        assert!(check(1, "new\n"), "a first catalogue may have any version");

        let header = r#"{"format":1,"source":"s","source_version":"1","license":"MIT",
            "retrieved":"2026-01-01","price_version":7,"models":0}"#
            .replace('\n', "");
        std::fs::write(&file, format!("{header}\nold\n")).unwrap();
        let verdicts = [
            check(7, "old\n"),
            check(7, "new\n"),
            check(6, "new\n"),
            check(8, "new\n"),
        ];
        assert_eq!(verdicts, [true, false, false, true]);
    }

    #[test]
    fn dates_are_written_year_first() {
        assert!(check_date("2026-11-23").is_ok());
        for date in [
            "",
            "2026-1-2",
            "23.11.2026",
            "2026-13-01",
            "2026-01-32",
            "2026-01-01Z",
        ] {
            assert!(check_date(date).is_err(), "{date}");
        }
    }

    #[test]
    fn the_order_of_the_source_does_not_matter() {
        let row = |key: &str, price: &str| {
            format!(
                r#""{key}": {{"mode": "chat", "litellm_provider": "openai",
                    "input_cost_per_token": {price}}}"#
            )
        };
        let (a, b) = (row("a", "1e-06"), row("b", "2e-06"));
        let convert = |source: String| body(&convert_all(&source).unwrap().0).unwrap();
        assert_eq!(
            convert(format!("{{{a}, {b}}}")),
            convert(format!("{{{b}, {a}}}"))
        );
    }
}
