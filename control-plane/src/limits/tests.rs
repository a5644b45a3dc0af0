//! What an edit of an owner's limits does, without a database.

use jiff::tz::TimeZone;
use reeve_policy::limit::{Limit, Metric};

use super::{
    BudgetChange, LimitsChange, OwnerCalendar, RateLimitChange, RateLimitWindowChange, calendar,
};
use crate::http::field::Field;
use crate::http::json;
use crate::invalid::Invalid;
use crate::random::{Ids, Random};

const NOW: i64 = 1_767_225_600_000;

/// 2026-02-01T00:00:00+01:00.
const FEBRUARY_IN_BERLIN: i64 = 1_769_900_400_000;

fn rolling() -> OwnerCalendar {
    OwnerCalendar::rolling(TimeZone::UTC)
}

fn aligned(zone: &str) -> OwnerCalendar {
    OwnerCalendar {
        aligned: true,
        zone: calendar::find(zone).unwrap(),
    }
}

fn ids() -> Ids {
    Random::default().ids(NOW).unwrap()
}

fn budgets(json_text: &str) -> LimitsChange {
    let list: Vec<BudgetChange> = json::parse(json_text.as_bytes()).unwrap();
    LimitsChange {
        budgets: Field::Value(list),
        ..LimitsChange::default()
    }
}

fn rate_limit(json_text: &str) -> LimitsChange {
    let change: RateLimitChange = json::parse(json_text.as_bytes()).unwrap();
    LimitsChange {
        rate_limit: Field::Value(change),
        ..LimitsChange::default()
    }
}

fn rate_limits(json_text: &str) -> LimitsChange {
    let list: Vec<RateLimitWindowChange> = json::parse(json_text.as_bytes()).unwrap();
    LimitsChange {
        rate_limits: Field::Value(list),
        ..LimitsChange::default()
    }
}

fn apply(change: LimitsChange, old: &[Limit]) -> Result<Vec<Limit>, Invalid> {
    change.apply(old.to_vec(), &rolling(), &mut ids())
}

fn fault(change: LimitsChange) -> String {
    apply(change, &[]).unwrap_err().field.unwrap()
}

#[test]
fn a_budget_is_exact_to_the_nano_dollar() {
    for (text, nanos) in [("100.00", 100_000_000_000), ("0.000000001", 1), ("0", 0)] {
        let list = format!(r#"[{{"max_limit": {text}, "reset_duration": "1M"}}]"#);
        let limits = apply(budgets(&list), &[]).unwrap();
        assert_eq!(
            (limits[0].max, limits[0].metric),
            (nanos, Metric::Cost),
            "{text}"
        );
        assert_eq!(limits[0].anchor_ms, NOW);
    }
}

#[test]
fn a_budget_that_makes_no_sense_is_refused_by_field() {
    for (budget, field) in [
        (
            r#"{"max_limit": -1, "reset_duration": "1M"}"#,
            "budgets[1].max_limit",
        ),
        (
            r#"{"max_limit": 0.0000000001, "reset_duration": "1M"}"#,
            "budgets[1].max_limit",
        ),
        (
            r#"{"max_limit": 1e300, "reset_duration": "1M"}"#,
            "budgets[1].max_limit",
        ),
        (
            r#"{"max_limit": 1, "reset_duration": "monthly"}"#,
            "budgets[1].reset_duration",
        ),
        (
            r#"{"max_limit": 1, "reset_duration": "0d"}"#,
            "budgets[1].reset_duration",
        ),
        (
            r#"{"max_limit": 1, "reset_duration": "1d"}"#,
            "budgets[1].reset_duration",
        ),
        (
            r#"{"max_limit": 1, "reset_duration": "1M", "id": "x"}"#,
            "budgets[1].id",
        ),
    ] {
        let list = format!(r#"[{{"max_limit": 1, "reset_duration": "1d"}}, {budget}]"#);
        assert_eq!(fault(budgets(&list)), field, "{budget}");
    }
}

#[test]
fn both_forms_of_a_budget_at_once_are_refused() {
    let one = r#"{"max_limit": 1, "reset_duration": "1M"}"#;
    let change = LimitsChange {
        budget: Field::Value(json::parse(one.as_bytes()).unwrap()),
        ..budgets(&format!("[{one}]"))
    };
    assert_eq!(fault(change), "budget");
}

#[test]
fn an_edited_budget_keeps_its_identity_by_id_or_by_period() {
    let list =
        r#"[{"max_limit": 1, "reset_duration": "1d"}, {"max_limit": 5, "reset_duration": "1M"}]"#;
    let old = apply(budgets(list), &[]).unwrap();
    let (day, month) = (&old[0].id, &old[1].id);

    let by_period = apply(
        budgets(r#"[{"max_limit": 9, "reset_duration": "1M"}]"#),
        &old,
    )
    .unwrap();
    assert_eq!((by_period.len(), &by_period[0].id), (1, month));

    let swapped = format!(
        r#"[{{"id": "{day}", "max_limit": 1, "reset_duration": "1M"}}, {{"max_limit": 2, "reset_duration": "1d"}}]"#
    );
    let swapped = apply(budgets(&swapped), &old).unwrap();
    assert_eq!(&swapped[0].id, day);
    assert!(
        ![day, month].contains(&&swapped[1].id),
        "a budget named by id was taken by period"
    );
}

#[test]
fn one_budget_cannot_be_named_twice() {
    let old = apply(
        budgets(r#"[{"max_limit": 1, "reset_duration": "1d"}]"#),
        &[],
    )
    .unwrap();
    let id = &old[0].id;
    let twice = format!(
        r#"[{{"id": "{id}", "max_limit": 1, "reset_duration": "1d"}}, {{"id": "{id}", "max_limit": 1, "reset_duration": "1w"}}]"#
    );
    let refused = apply(budgets(&twice), &old).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("budgets[1].id"));
}

#[test]
fn what_is_not_mentioned_stays() {
    let old = apply(
        budgets(r#"[{"max_limit": 1, "reset_duration": "1d"}]"#),
        &[],
    )
    .unwrap();
    let rates = r#"{"request_max_limit": 60, "request_reset_duration": "1m"}"#;
    let both = apply(rate_limit(rates), &old).unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(apply(LimitsChange::default(), &both).unwrap(), both);
    let cleared = LimitsChange {
        budgets: Field::Null,
        ..LimitsChange::default()
    };
    assert_eq!(apply(cleared, &both).unwrap(), both[1..]);
}

#[test]
fn a_rate_limit_is_edited_in_place() {
    let rates = r#"{"request_max_limit": 60, "request_reset_duration": "1m",
                    "token_max_limit": 1000, "token_reset_duration": "1h"}"#;
    let old = apply(rate_limit(rates), &[]).unwrap();
    let metrics: Vec<Metric> = old.iter().map(|limit| limit.metric).collect();
    assert_eq!(metrics, [Metric::Requests, Metric::Tokens]);
    let change = r#"{"token_max_limit": 5, "token_reset_duration": "1h"}"#;
    let new = apply(rate_limit(change), &old).unwrap();
    assert_eq!((new.len(), &new[0].id, new[0].max), (1, &old[1].id, 5));
}

#[test]
fn half_a_rate_limit_is_refused_by_field() {
    for (change, field) in [
        ("{}", "request_max_limit"),
        (r#"{"request_max_limit": 60}"#, "request_reset_duration"),
        (r#"{"token_reset_duration": "1m"}"#, "token_max_limit"),
        (
            r#"{"request_max_limit": 0, "request_reset_duration": "1m"}"#,
            "request_max_limit",
        ),
        (
            r#"{"request_max_limit": 1.5, "request_reset_duration": "1m"}"#,
            "request_max_limit",
        ),
        (
            r#"{"token_max_limit": 1, "token_reset_duration": "1x"}"#,
            "token_reset_duration",
        ),
    ] {
        assert_eq!(
            fault(rate_limit(change)),
            format!("rate_limit.{field}"),
            "{change}"
        );
    }
}

#[test]
fn aligning_an_owner_aligns_every_limit_it_has() {
    let old = apply(
        budgets(r#"[{"max_limit": 1, "reset_duration": "1M"}]"#),
        &[],
    )
    .unwrap();
    let change = LimitsChange {
        realign: true,
        ..LimitsChange::default()
    };
    let berlin = aligned("Europe/Berlin");
    let new = change.apply(old.clone(), &berlin, &mut ids()).unwrap();
    assert_eq!(new[0].alignment, berlin.alignment(true, 1));
    // What was used in the window that is open stays used, until the first month in Berlin begins.
    let window = new[0].window(NOW);
    assert_eq!(window.start_ms, old[0].window(NOW).start_ms);
    assert_eq!(window.end_ms, FEBRUARY_IN_BERLIN);
    assert_eq!(
        new[0].window(FEBRUARY_IN_BERLIN).start_ms,
        FEBRUARY_IN_BERLIN
    );
}

#[test]
fn no_edit_of_windows_forgets_what_was_used() {
    let durations = ["1h", "1d", "1w", "1M", "1Q", "1Y", "never"];
    let limits = |duration: &str, old: &[Limit], calendar: &OwnerCalendar| {
        let id = old
            .first()
            .map_or_else(String::new, |limit| format!(r#""id": "{}","#, limit.id));
        let list = format!(r#"[{{{id} "max_limit": 1, "reset_duration": "{duration}"}}]"#);
        budgets(&list)
            .apply(old.to_vec(), calendar, &mut ids())
            .unwrap()
    };
    for from in durations {
        for to in durations {
            for (before, after) in [
                (rolling(), aligned("Asia/Tokyo")),
                (aligned("UTC"), aligned("America/New_York")),
                (aligned("Europe/Berlin"), rolling()),
            ] {
                let old = limits(from, &[], &before);
                let new = limits(to, &old, &after);
                assert_eq!(
                    new[0].window(NOW).start_ms,
                    old[0].window(NOW).start_ms,
                    "{from} to {to}"
                );
            }
        }
    }
}

#[test]
fn a_fiscal_quarter_is_for_budgets_in_quarters_that_follow_the_calendar() {
    let apply = |budget: &str, calendar: &OwnerCalendar| {
        budgets(&format!("[{budget}]")).apply(Vec::new(), calendar, &mut ids())
    };
    let fiscal =
        r#"{"max_limit": 1, "reset_duration": "1Q", "reset_config": {"quarter_start_month": 2}}"#;
    let new = apply(fiscal, &aligned("UTC")).unwrap();
    // 2025-11-01 to 2026-02-01.
    let window = new[0].window(NOW);
    assert_eq!(
        (window.start_ms, window.end_ms),
        (1_761_955_200_000, 1_769_904_000_000)
    );
    let field = |budget: &str, calendar: &OwnerCalendar| {
        apply(budget, calendar).unwrap_err().field.unwrap()
    };
    assert_eq!(field(fiscal, &rolling()), "budgets[0].reset_config");
    assert_eq!(
        field(&fiscal.replace("1Q", "1M"), &aligned("UTC")),
        "budgets[0].reset_config"
    );
    assert_eq!(
        field(&fiscal.replace(": 2}", ": 13}"), &aligned("UTC")),
        "budgets[0].reset_config.quarter_start_month"
    );
}

const TWO_WINDOWS: &str = r#"[
    {"metric": "requests", "max_limit": 60, "reset_duration": "1m"},
    {"metric": "requests", "max_limit": 5000, "reset_duration": "1d"},
    {"metric": "tokens", "max_limit": 100000, "reset_duration": "1m"}]"#;

#[test]
fn windows_of_a_rate_limit_keep_their_identity_by_metric_and_period() {
    let old = apply(rate_limits(TWO_WINDOWS), &[]).unwrap();
    let what = |limit: &Limit| (limit.metric, limit.max, limit.period.to_string());
    assert_eq!(
        old.iter().map(what).collect::<Vec<_>>(),
        [
            (Metric::Requests, 60, "1m".into()),
            (Metric::Requests, 5000, "1d".into()),
            (Metric::Tokens, 100_000, "1m".into()),
        ]
    );
    let fewer = r#"[{"metric": "requests", "max_limit": 6, "reset_duration": "1d"}]"#;
    let new = apply(rate_limits(fewer), &old).unwrap();
    assert_eq!((new.len(), &new[0].id, new[0].max), (1, &old[1].id, 6));
    // The short form is the same limit, if it has the same period.
    let short = rate_limit(r#"{"request_max_limit": 7, "request_reset_duration": "1d"}"#);
    let new = apply(short, &old).unwrap();
    assert_eq!((new.len(), &new[0].id, new[0].max), (1, &old[1].id, 7));
}

#[test]
fn windows_that_make_no_sense_are_refused_by_field() {
    for (entry, field) in [
        (
            r#"{"metric": "requests", "max_limit": 0, "reset_duration": "1h"}"#,
            "max_limit",
        ),
        (
            r#"{"metric": "tokens", "max_limit": 1.5, "reset_duration": "1h"}"#,
            "max_limit",
        ),
        (
            r#"{"metric": "tokens", "max_limit": 1, "reset_duration": "1 h"}"#,
            "reset_duration",
        ),
        (
            r#"{"metric": "requests", "max_limit": 1, "reset_duration": "1m"}"#,
            "reset_duration",
        ),
        (
            r#"{"metric": "requests", "max_limit": 1, "reset_duration": "1h", "id": "x"}"#,
            "id",
        ),
    ] {
        let first = r#"{"metric": "requests", "max_limit": 1, "reset_duration": "1m"}"#;
        let list = format!("[{first}, {entry}]");
        assert_eq!(
            fault(rate_limits(&list)),
            format!("rate_limits[1].{field}"),
            "{entry}"
        );
    }
    let short = r#"{"request_max_limit": 7, "request_reset_duration": "1d"}"#;
    let both = LimitsChange {
        rate_limit: Field::Value(json::parse(short.as_bytes()).unwrap()),
        ..rate_limits(TWO_WINDOWS)
    };
    assert_eq!(fault(both), "rate_limit");
}
