use std::borrow::Cow;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::expression::{Comparison, Param, Text, TextTest, Usage, Variable};

/// A request of somebody who may use everything but these providers.
struct Request(&'static [&'static str]);

struct Known<'a>(Place<'a>);

impl<'a> Subject<'a> for Request {
    type Facts = Known<'a>;

    fn at(&self, place: Place<'a>) -> Known<'a> {
        Known(place)
    }

    fn is_admitted(&self, place: Place<'a>) -> bool {
        place.provider.is_none_or(|name| !self.0.contains(&name))
    }
}

impl Facts for Known<'_> {
    fn variable(&self, variable: Variable) -> &str {
        match variable {
            Variable::Model => self.0.model,
            Variable::Provider => self.0.provider.unwrap_or_default(),
            _ => "",
        }
    }

    fn header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn param(&self, _: Param) -> Option<Cow<'_, str>> {
        None
    }

    fn used(&self, _: Usage) -> Option<i64> {
        None
    }
}

const ASKED: Place<'_> = Place {
    provider: None,
    model: "gpt-4o",
};

fn place(text: &'static str) -> Place<'static> {
    match text.split_once('/') {
        Some((provider, model)) => Place {
            provider: Some(provider),
            model,
        },
        None => Place {
            provider: None,
            model: text,
        },
    }
}

/// `provider/model`, of which either may be empty.
fn to(text: &str) -> Destination {
    let (provider, model) = text.split_once('/').unwrap();
    let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Destination {
        provider: named(provider),
        model: named(model),
    }
}

fn always(id: &str, targets: &[(&str, u32)]) -> Rule {
    let targets = targets.iter().map(|(target, weight_ppm)| Target {
        to: to(target),
        weight_ppm: *weight_ppm,
    });
    Rule {
        id: id.into(),
        name: id.into(),
        condition: Condition::Constant(true),
        targets: targets.collect(),
        fallbacks: Vec::new(),
        chains: false,
    }
}

fn of_model(id: &str, model: &str, target: &str) -> Rule {
    Rule {
        condition: Condition::Texts(
            Text::Variable(Variable::Model),
            TextTest::Compare(Comparison::Equal),
            Text::Literal(model.into()),
        ),
        ..always(id, &[(target, 1)])
    }
}

fn never(id: &str) -> Rule {
    Rule {
        condition: Condition::Constant(false),
        ..always(id, &[("x/", 1)])
    }
}

fn of_header(id: &str) -> Rule {
    Rule {
        condition: Condition::Matches(
            Text::Header("x-tier".into()),
            crate::pattern::Pattern::anywhere("x").unwrap(),
        ),
        ..never(id)
    }
}

fn chaining(rule: Rule) -> Rule {
    Rule {
        chains: true,
        ..rule
    }
}

/// Pass, rule, answer.
type Answer<'a> = (u32, &'a str, Result<bool, Fault>);

/// Where the rules send it, the rule that decided, and all that looked: pass, id, answer.
fn decided<'a>(
    rules: &'a [(Scope, Vec<Rule>)],
    request: &Request,
    draw: u64,
) -> (Decision<'a>, Vec<Answer<'a>>) {
    let scopes: Vec<Scoped<'a>> = rules
        .iter()
        .map(|(scope, rules)| (*scope, rules.as_slice()))
        .collect();
    let mut looked = Vec::new();
    let decision = decide(&scopes, request, ASKED, draw, |it| {
        looked.push((it.pass, it.rule.id.as_str(), it.answer));
    });
    (decision, looked)
}

fn decided_by(rules: Vec<Rule>) -> (Place<'static>, Option<String>, u32) {
    let rules = vec![(Scope::Global, rules)].leak();
    let (decision, looked) = decided(rules, &Request(&[]), 7);
    let passes = looked.iter().map(|(pass, ..)| pass + 1).max().unwrap_or(0);
    (
        decision.place,
        decision.rule.map(|rule| rule.id.clone()),
        passes,
    )
}

#[test]
fn without_a_match_nothing_changes() {
    assert_eq!(decided_by(Vec::new()), (ASKED, None, 0));
    assert_eq!(
        decided_by(vec![never("a"), of_header("b")]),
        (ASKED, None, 1)
    );
}

#[test]
fn the_first_that_matches_wins_and_no_other_is_asked() {
    let rules = vec![
        (Scope::VirtualKey, vec![never("k"), of_header("missing")]),
        (Scope::Team, vec![always("t", &[("azure/", 1)])]),
        (Scope::Customer, vec![always("c", &[("gemini/", 1)])]),
        (Scope::Global, vec![always("g", &[("openai/", 1)])]),
    ];
    let (decision, looked) = decided(&rules, &Request(&[]), 7);
    assert_eq!(decision.place, place("azure/gpt-4o"));
    assert_eq!(
        looked,
        [
            (0, "k", Ok(false)),
            (0, "missing", Err(Fault::Missing)),
            (0, "t", Ok(true))
        ]
    );
}

#[test]
fn a_target_keeps_what_it_does_not_name() {
    for (target, expected) in [
        ("azure/", "azure/gpt-4o"),
        ("/gpt-4o-mini", "gpt-4o-mini"),
        ("azure/gpt-4o-mini", "azure/gpt-4o-mini"),
    ] {
        let (decided, _, _) = decided_by(vec![always("a", &[(target, 1)])]);
        assert_eq!(decided, place(expected), "{target}");
    }
    let (decided, rule, _) = decided_by(vec![always("a", &[])]);
    assert_eq!((decided, rule.as_deref()), (ASKED, Some("a")), "no target");
}

#[test]
fn targets_are_drawn_by_weight_among_those_that_admit_the_request() {
    let targets = [("a/", 500_000), ("b/", 300_000), ("c/", 200_000)];
    let rules = vec![(Scope::Global, vec![always("r", &targets)])];
    let drawn = |blocked: &'static [&'static str]| {
        let mut counts = [0_i32; 3];
        for draw in 0..10_000_u64 {
            let (decision, _) = decided(
                &rules,
                &Request(blocked),
                draw.wrapping_mul(u64::MAX / 9_973),
            );
            let provider = decision.place.provider.unwrap();
            counts[usize::from(provider.as_bytes()[0] - b'a')] += 1;
        }
        counts
    };
    // Three standard deviations.
    let near = |count: i32, share: f64| {
        let sigma = (10_000.0 * share * (1.0 - share)).sqrt();
        (f64::from(count) - 10_000.0 * share).abs() <= 3.0 * sigma
    };
    let all = drawn(&[]);
    assert!(
        near(all[0], 0.5) && near(all[1], 0.3) && near(all[2], 0.2),
        "{all:?}"
    );
    let two = drawn(&["a"]);
    assert!(
        two[0] == 0 && near(two[1], 0.6) && near(two[2], 0.4),
        "{two:?}"
    );
    assert_eq!(drawn(&["a", "c"]), [0, 10_000, 0]);
    let none = drawn(&["a", "b", "c"]);
    assert!(
        none.iter().all(|count| *count > 0),
        "refused later: {none:?}"
    );
}

#[test]
fn a_rule_that_chains_has_all_look_again_at_what_it_made_of_the_request() {
    let first = of_model("first", "gpt-4o", "azure/gpt-4o-mini");
    let second = of_model("second", "gpt-4o-mini", "openai/");
    let chain = vec![chaining(first.clone()), second.clone()];
    assert_eq!(
        decided_by(chain),
        (place("openai/gpt-4o-mini"), Some("second".into()), 2)
    );
    assert_eq!(
        decided_by(vec![first.clone(), second]),
        (place("azure/gpt-4o-mini"), Some("first".into()), 1)
    );
    let last = chaining(first);
    assert_eq!(
        decided_by(vec![last]),
        (place("azure/gpt-4o-mini"), Some("first".into()), 2),
        "the last match counts when none follows"
    );
}

#[test]
fn a_chain_ends_where_it_has_been() {
    let round = vec![
        chaining(of_model("a", "gpt-4o", "/x")),
        chaining(of_model("b", "x", "/gpt-4o")),
    ];
    assert_eq!(decided_by(round), (ASKED, Some("b".into()), 2));
    let itself = vec![chaining(always("a", &[("/x", 1)]))];
    assert_eq!(decided_by(itself), (place("x"), Some("a".into()), 2));
}

#[test]
fn a_chain_ends_after_ten_passes() {
    let names = [
        "gpt-4o", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11", "m12",
    ];
    let steps = names
        .windows(2)
        .map(|pair| chaining(of_model(pair[0], pair[0], &format!("/{}", pair[1]))));
    assert_eq!(
        decided_by(steps.collect()),
        (place("m10"), Some("m9".into()), 10)
    );
}

#[test]
fn each_pass_draws_anew() {
    let halves = |a: &'static str, b: &'static str| [(a, 500_000), (b, 500_000)];
    let first = always("first", &halves("a/m", "b/m"));
    let second = Rule {
        condition: of_model("m", "m", "/").condition,
        ..always("second", &halves("/x", "/y"))
    };
    let rules = vec![(Scope::Global, vec![second, chaining(first)])];
    let mut seen = std::collections::BTreeMap::new();
    for draw in 0..4_000_u64 {
        let draw = draw.wrapping_mul(u64::MAX / 3_989);
        let place = decided(&rules, &Request(&[]), draw).0.place;
        *seen.entry((place.provider, place.model)).or_insert(0_u32) += 1;
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(
        seen.values().all(|count| (850..1_150).contains(count)),
        "{seen:?}"
    );
}
