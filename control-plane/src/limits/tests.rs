//! What an edit of an owner's limits does, without a database.

use reeve_policy::limit::{Limit, Metric};

use super::{BudgetChange, LimitsChange, RateLimitChange};
use crate::http::field::Field;
use crate::http::json;
use crate::invalid::Invalid;
use crate::random::{Ids, Random};

const NOW: i64 = 1_767_225_600_000;

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

fn apply(change: LimitsChange, old: &[Limit]) -> Result<Vec<Limit>, Invalid> {
    change.apply(old.to_vec(), false, &mut ids())
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
        calendar_aligned: Field::Value(true),
        ..LimitsChange::default()
    };
    let new = change.apply(old, true, &mut ids()).unwrap();
    assert!(new[0].calendar_aligned);
}
