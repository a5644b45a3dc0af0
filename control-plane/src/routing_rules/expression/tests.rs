//! Which expressions are accepted, what is said about the others, and that those that are mean what CEL
//! says they mean.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use cel::{Context, ExecutionError, Program, Value};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use reeve_policy::expression::{
    Facts, Fault, LONGEST_TEXT, MOST_LISTED, PERCENT, Param, Usage, Variable,
};
use reeve_policy::limit::Level;

use super::*;

#[test]
fn what_rules_are_made_of_is_accepted() {
    for expression in [
        "",
        "  ",
        "true",
        "headers['x-tier'] == 'premium' && budget_used < 80.0",
        "headers[\"X-Tier\"] != \"free\"",
        "headers.tier == 'gold' || has(headers.gold) || 'x-gold' in headers",
        "model.startsWith('gpt-') && !model.endsWith('-mini')",
        "model in ['gpt-4o', 'o3'] ? tokens_used > 90 : request >= 99.5",
        "request_type == 'chat_completion' && provider == ''",
        "matches(model, '^(?i)gpt') || team_name.matches('r&d')",
        "budget['team/1M'] > 80 || budget[\"virtual_key\"] > 95.25",
        "'customer/1d' in tokens && requests['provider/1m'] <= -1",
        "params['stream'] == 'true' && int(params.max_tokens) > 1000",
        "size(model) > 3 && model.size() < 100",
        "(model == 'a') == false && true != (model == 'b')",
        "80.0 < budget_used",
        "virtual_key_name.contains('prod')",
    ] {
        let condition = read(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert!(condition.nodes() <= MOST_NODES);
    }
    assert_eq!(read(""), Ok(Condition::Constant(true)));
    assert_eq!(
        read("headers['X-Tier'] == 'a'"),
        read("headers['x-tier'] == 'a'"),
        "names of header fields have no case"
    );
}

#[test]
fn what_is_no_condition_is_refused_where_it_stands() {
    for (expression, place, message) in [
        (
            "modle == 'a'",
            "line 1, column 1",
            "there is no variable `modle`; there are `model`",
        ),
        (
            "true &&\n  modle == 'a'",
            "line 2, column 3",
            "no variable `modle`",
        ),
        (
            "model",
            "line 1, column 1",
            "a text, not true or false; compare it",
        ),
        (
            "model == 3",
            "line 1, column 7",
            "a text cannot be compared with a whole number; write `int(…)`",
        ),
        (
            "budget_used == 'a'",
            "line 1, column 13",
            "a percentage cannot be compared with a text",
        ),
        (
            "size(model) > 1.5",
            "line 1, column 13",
            "a whole number cannot be compared with a percentage",
        ),
        (
            "budget_used > 80.1234567",
            "line 1, column 15",
            "at most 6 decimal places",
        ),
        ("model == ", "line 1", "CEL expression"),
        ("model = 'a'", "line 1", "CEL expression"),
        ("model == 'a", "line 1", "CEL expression"),
        (
            "headers['authorization'] == 'a'",
            "line 1, column 9",
            "rules do not see the header field `authorization`",
        ),
        (
            "headers['x-bf-vk'] == 'a'",
            "line 1, column 9",
            "do not see",
        ),
        ("has(headers.cookie)", "line 1", "do not see"),
        ("'x_api_key' in headers", "line 1, column 1", "do not see"),
        (
            "headers[model] == 'a'",
            "line 1, column 9",
            "a text in quotes is needed",
        ),
        (
            "headers['a b'] == 'a'",
            "line 1, column 9",
            "no header field's name",
        ),
        (
            "headers == 'a'",
            "line 1, column 9",
            "a map cannot be compared with a text",
        ),
        (
            "params['temperature'] == '1'",
            "line 1, column 8",
            "there is no parameter `temperature`; there are `stream`",
        ),
        (
            "budget['teem'] > 1",
            "line 1, column 8",
            "`teem` names no limit",
        ),
        (
            "budget['team/1x'] > 1",
            "line 1, column 8",
            "such as `team/1M`",
        ),
        (
            "budget > 1",
            "line 1, column 8",
            "a map cannot be compared with a whole number",
        ),
        (
            "model.matches('(')",
            "line 1, column 15",
            "no usable pattern",
        ),
        (
            "model.matches('\\\\pL')",
            "line 1, column 15",
            "no usable pattern",
        ),
        (
            "model.matches('(?u)a')",
            "line 1, column 15",
            "the flag `u` is not available",
        ),
        (
            "model.matches(provider)",
            "line 1, column 15",
            "a text in quotes is needed",
        ),
        (
            "model.lower() == 'a'",
            "line 1",
            "no function `lower` with such arguments; there are `startsWith`",
        ),
        (
            "model + 'a' == 'b'",
            "line 1, column 7",
            "arithmetic is not available here: leave out `+`",
        ),
        (
            "-budget_used < 1",
            "line 1, column 1",
            "arithmetic is not available here",
        ),
        (
            "['a'].exists(x, x == model)",
            "line 1",
            "`exists`, `all`, `map` and `filter` are not available",
        ),
        (
            "model in provider",
            "line 1, column 10",
            "`in` needs a list or a map",
        ),
        (
            "model in ['a', provider]",
            "line 1, column 16",
            "a text in quotes is needed",
        ),
        (
            "model == null",
            "line 1, column 10",
            "nothing is `null` here",
        ),
        (
            "size(model) == 3u",
            "line 1",
            "write the number without `u`",
        ),
        (
            "{'a': 1} == model",
            "line 1, column 1",
            "only texts, numbers",
        ),
        (
            "(model == 'a') == (model == 'b')",
            "line 1, column 16",
            "use `&&`, `||` and `!`",
        ),
        ("true < false", "line 1, column 6", "have no order"),
        (
            "request_type == 'chat_completions'",
            "line 1, column 14",
            "types are `chat_completion`",
        ),
        (
            "request_type in ['embeddings']",
            "line 1",
            "no request is of the type `embeddings`",
        ),
        (
            "model.x == 'a'",
            "line 1, column 6",
            "a text has no members",
        ),
    ] {
        let error = read(expression).expect_err(expression);
        assert_eq!(
            error.field.as_deref(),
            Some("cel_expression"),
            "{expression}"
        );
        let said = error.message;
        assert!(
            said.starts_with(place) && said.contains(message),
            "{expression}\n  said: {said}\n  not: {place} … {message}"
        );
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let long = format!("model == '{}'", "x".repeat(LONGEST));
    assert!(
        read(&long)
            .unwrap_err()
            .message
            .contains("at most 4096 bytes")
    );
    let text = format!("model == '{}'", "x".repeat(LONGEST_TEXT + 1));
    assert!(
        read(&text)
            .unwrap_err()
            .message
            .contains("at most 256 bytes")
    );
    let list = format!("model in ['a'{}]", ",'b'".repeat(MOST_LISTED));
    assert!(
        read(&list)
            .unwrap_err()
            .message
            .contains("at most 64 texts")
    );
    let many = vec!["model == 'a'"; 129].join("||");
    assert!(read(&many).unwrap_err().message.contains("too many parts"));
    assert!(read(&vec!["model == 'a'"; 128].join("||")).is_ok());
    let deep = format!("{}true", "!(".repeat(40)) + &")".repeat(40);
    assert!(read(&deep).is_err());
    for open in ["(", "[", "-", "!", "{", "size(", "a[", "a?b:"] {
        let endless = open.repeat(LONGEST / open.len());
        assert!(read(&endless).is_err(), "{open}");
    }
    for again in [".a", ".size()", "[0]", "+a", "==a", " in a", "?a:a", "&&a"] {
        let endless = format!("a{}", again.repeat((LONGEST - 1) / again.len()));
        assert!(read(&endless).is_err(), "{again}");
    }
}

/// What is known of a request, in a form that CEL can have too.
#[derive(Debug, Clone)]
struct Known {
    model: String,
    provider: String,
    headers: BTreeMap<String, String>,
    max_tokens: Option<i64>,
    /// Millionths of a percent.
    of_all: i64,
    team: Option<i64>,
}

impl Facts for Known {
    fn variable(&self, variable: Variable) -> &str {
        match variable {
            Variable::Model => &self.model,
            Variable::Provider => &self.provider,
            _ => "",
        }
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        Some(self.headers.get(name)?.as_bytes().into())
    }

    fn param(&self, param: Param) -> Option<Cow<'_, str>> {
        match param {
            Param::MaxTokens => Some(self.max_tokens?.to_string().into()),
            Param::Stream => Some("true".into()),
            _ => None,
        }
    }

    fn used(&self, usage: Usage) -> Option<i64> {
        match usage.level {
            None => Some(self.of_all),
            Some(Level::Team) => self.team,
            Some(_) => None,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "percentages are small")]
fn percent(millionths: i64) -> f64 {
    millionths as f64 / PERCENT as f64
}

fn in_cel(expression: &str, known: &Known) -> Result<bool, Fault> {
    let program = Program::compile(expression).unwrap();
    let mut context = Context::default();
    for variable in Variable::ALL {
        context
            .add_variable(variable.as_str(), known.variable(variable))
            .unwrap();
    }
    let headers: HashMap<String, String> = known.headers.clone().into_iter().collect();
    let mut params = HashMap::from([("stream".to_owned(), "true".to_owned())]);
    params.extend(
        known
            .max_tokens
            .map(|most| ("max_tokens".to_owned(), most.to_string())),
    );
    let budget: HashMap<String, f64> = known
        .team
        .map(|used| ("team/1M".to_owned(), percent(used)))
        .into_iter()
        .collect();
    context.add_variable("headers", headers).unwrap();
    context.add_variable("params", params).unwrap();
    context.add_variable("budget", budget).unwrap();
    context
        .add_variable("budget_used", percent(known.of_all))
        .unwrap();
    match program.execute(&context) {
        Ok(Value::Bool(it)) => Ok(it),
        Ok(other) => panic!("{expression} is {other:?}"),
        Err(ExecutionError::NoSuchKey(_)) => Err(Fault::Missing),
        Err(_) => Err(Fault::Failed),
    }
}

const WORDS: [&str; 8] = ["", "a", "ab", "b", "7", "-3", "gpt-4o", "ü"];
const NAMES: [&str; 3] = ["x", "y", "x-z"];

prop_compose! {
    fn any_known()(
        model in select(&WORDS[..]),
        provider in select(&WORDS[..]),
        headers in btree_map(select(&NAMES[..]), select(&WORDS[..]), 0..3),
        max_tokens in option::of(-5_i64..9),
        of_all in any_percent(),
        team in option::of(any_percent()),
    ) -> Known {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        Known {
            model: model.into(), provider: provider.into(), headers: headers.collect(), max_tokens,
            of_all, team,
        }
    }
}

/// Often one that stands in an expression, too.
fn any_percent() -> impl Strategy<Value = i64> {
    prop_oneof![
        select(vec![0, 80 * PERCENT, 80_500_000, 100 * PERCENT]),
        0..101 * PERCENT,
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(&WORDS[..]).prop_map(|word| format!("'{word}'")),
        select(vec!["model", "provider", "team_id"]).prop_map(Into::into),
        select(&NAMES[..]).prop_map(|name| format!("headers['{name}']")),
        select(vec!["headers.x", "params.max_tokens", "params['stream']"]).prop_map(Into::into),
    ]
}

fn any_integer() -> impl Strategy<Value = String> {
    prop_oneof![
        (-5_i64..9).prop_map(|number| number.to_string()),
        any_text().prop_map(|text| format!("size({text})")),
        any_text().prop_map(|text| format!("int({text})")),
    ]
}

fn any_percentage() -> impl Strategy<Value = String> {
    select(vec![
        "80",
        "80.5",
        "100.0",
        "0",
        "budget_used",
        "budget['team/1M']",
        "budget['customer']",
    ])
    .prop_map(Into::into)
}

fn any_comparison() -> impl Strategy<Value = &'static str> {
    select(vec!["==", "!=", "<", "<=", ">", ">="])
}

fn any_condition() -> impl Strategy<Value = String> {
    let percentage = select(vec!["budget_used", "budget['team/1M']"]);
    let patterns = vec!["a", "^a", "b$", "a|b", "^[a-z]+$", "(?i)A", "^gpt-.*o$", ""];
    let leaf = prop_oneof![
        select(vec!["true", "false"]).prop_map(Into::into),
        (any_text(), any_comparison(), any_text()).prop_map(|(a, is, b)| format!("{a} {is} {b}")),
        (
            any_text(),
            select(vec!["startsWith", "endsWith", "contains"]),
            any_text()
        )
            .prop_map(|(a, test, b)| format!("{a}.{test}({b})")),
        (any_text(), select(patterns)).prop_map(|(text, it)| format!("{text}.matches('{it}')")),
        (any_text(), vec(select(&WORDS[..]), 0..4)).prop_map(|(text, words)| {
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            format!("{text} in [{}]", words.join(", "))
        }),
        (any_integer(), any_comparison(), any_integer())
            .prop_map(|(a, is, b)| format!("{a} {is} {b}")),
        (
            percentage,
            any_comparison(),
            any_percentage(),
            any::<bool>()
        )
            .prop_map(|(a, is, b, turned)| if turned {
                format!("{b} {is} {a}")
            } else {
                format!("{a} {is} {b}")
            }),
        select(vec![
            "has(headers.x)",
            "'x-z' in headers",
            "'max_tokens' in params",
            "'team/1M' in budget"
        ])
        .prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 3, |part| {
        prop_oneof![
            part.clone().prop_map(|a| format!("!({a})")),
            (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (part.clone(), part.clone(), part.clone())
                .prop_map(|(a, b, c)| format!("(({a}) ? {b} : {c})")),
            (part, any::<bool>()).prop_map(|(a, is)| format!("(({a}) == {is})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_condition_means_what_cel_says(expression in any_condition(), known in any_known()) {
        let condition = read(&expression).map_err(|error| {
            TestCaseError::fail(format!("{expression}: {error}"))
        })?;
        prop_assert_eq!(condition.holds(&known), in_cel(&expression, &known), "{}", expression);
    }
}

proptest! {
    #[test]
    fn no_text_stops_the_reader(text in "\\PC{0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn no_heap_of_words_stops_the_reader(words in vec(select(vec![
        "model", "headers", "has", "in", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "'a'",
        "\"", "'", "\\", "`", "1", "1.5", "1e400", "9223372036854775808", "0x", "1u", "b'a'",
        "r'a'", "'''", "//", "\n", "&&", "||", "!", "-", "==", "<", "exists", "null", "x", "é",
        "startsWith", "matches", "size", "@", "#", "'\\x'", "'\\u00'", "'\\U00110000'",
    ]), 0..12)) {
        let _ = read(&words.concat());
        let _ = read(&words.join(" "));
    }
}
