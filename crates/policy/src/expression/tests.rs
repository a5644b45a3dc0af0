use std::borrow::Cow;
use std::cell::Cell;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A request with `x-tier: gold`, `stream` and a team's budget of which 80.5 % is used.
#[derive(Default)]
struct Request {
    asked: Cell<u32>,
    header: Vec<u8>,
}

impl Request {
    fn new() -> Self {
        Self::with_header(b"gold")
    }

    fn with_header(value: &[u8]) -> Self {
        Self {
            header: value.to_vec(),
            asked: Cell::new(0),
        }
    }
}

impl Facts for Request {
    fn variable(&self, variable: Variable) -> &str {
        match variable {
            Variable::Model => "gpt-4o",
            _ => "",
        }
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.asked.set(self.asked.get() + 1);
        (name == "x-tier").then(|| self.header.as_slice().into())
    }

    fn param(&self, param: Param) -> Option<Cow<'_, str>> {
        match param {
            Param::Stream => Some("true".into()),
            Param::MaxTokens => Some(100.to_string().into()),
            _ => None,
        }
    }

    fn used(&self, usage: Usage) -> Option<i64> {
        let month = Period::parse("1M").unwrap();
        let there = usage.is_about(Metric::Cost, Level::Team, month);
        there.then_some(80_500_000)
    }
}

fn literal(text: &str) -> Text {
    Text::Literal(text.into())
}

fn tier() -> Text {
    Text::Header("x-tier".into())
}

fn missing() -> Condition {
    Condition::Texts(
        Text::Header("x-none".into()),
        TextTest::Compare(Comparison::Equal),
        literal("a"),
    )
}

fn failing() -> Condition {
    Condition::Integers(Integer::Of(tier()), Comparison::Equal, Integer::Literal(1))
}

fn holds(condition: &Condition) -> Result<bool, Fault> {
    condition.holds(&Request::new())
}

#[test]
fn the_side_that_decides_is_heard_even_when_the_other_fails() {
    let yes = || Box::new(Condition::Constant(true));
    let no = || Box::new(Condition::Constant(false));
    let lost = || Box::new(missing());
    for (condition, answer) in [
        (Condition::And(no(), lost()), Ok(false)),
        (Condition::And(lost(), no()), Ok(false)),
        (Condition::And(yes(), lost()), Err(Fault::Missing)),
        (Condition::And(lost(), yes()), Err(Fault::Missing)),
        (Condition::Or(yes(), lost()), Ok(true)),
        (Condition::Or(lost(), yes()), Ok(true)),
        (Condition::Or(no(), lost()), Err(Fault::Missing)),
        (Condition::Or(lost(), no()), Err(Fault::Missing)),
        (
            Condition::Or(lost(), Box::new(failing())),
            Err(Fault::Failed),
        ),
        (Condition::Not(lost()), Err(Fault::Missing)),
        (Condition::If(yes(), no(), lost()), Ok(false)),
        (Condition::If(no(), lost(), yes()), Ok(true)),
        (Condition::If(lost(), yes(), yes()), Err(Fault::Missing)),
    ] {
        assert_eq!(holds(&condition), answer, "{condition:?}");
    }
}

#[test]
fn texts_are_compared_byte_by_byte() {
    for (left, test, right, answer) in [
        (tier(), TextTest::Compare(Comparison::Equal), "gold", true),
        (
            tier(),
            TextTest::Compare(Comparison::NotEqual),
            "gold",
            false,
        ),
        (tier(), TextTest::Compare(Comparison::Less), "goldx", true),
        (
            tier(),
            TextTest::Compare(Comparison::GreaterOrEqual),
            "Gold",
            true,
        ),
        (tier(), TextTest::StartsWith, "go", true),
        (tier(), TextTest::StartsWith, "goldx", false),
        (tier(), TextTest::EndsWith, "ld", true),
        (tier(), TextTest::Contains, "ol", true),
        (tier(), TextTest::Contains, "", true),
        (tier(), TextTest::Contains, "lo", false),
        (
            Text::Variable(Variable::Model),
            TextTest::StartsWith,
            "gpt-",
            true,
        ),
        (
            Text::Variable(Variable::TeamId),
            TextTest::Compare(Comparison::Equal),
            "",
            true,
        ),
        (
            Text::Param(Param::Stream),
            TextTest::Compare(Comparison::Equal),
            "true",
            true,
        ),
    ] {
        let condition = Condition::Texts(left, test, literal(right));
        assert_eq!(holds(&condition), Ok(answer), "{condition:?}");
    }
    let list = ["silver", "gold"].map(String::from).to_vec();
    assert_eq!(holds(&Condition::Listed(tier(), list)), Ok(true));
    assert_eq!(holds(&Condition::Listed(tier(), Vec::new())), Ok(false));
}

#[test]
fn a_pattern_is_found_anywhere() {
    for (pattern, answer) in [
        ("^gold$", true),
        ("ol", true),
        ("(?i)GOLD", true),
        ("^ol", false),
    ] {
        let condition = Condition::Matches(tier(), Pattern::anywhere(pattern).unwrap());
        assert_eq!(holds(&condition), Ok(answer), "{pattern}");
    }
}

#[test]
fn what_is_too_long_is_not_searched() {
    let pattern = Pattern::anywhere("x").unwrap();
    for condition in [
        Condition::Matches(tier(), pattern),
        Condition::Texts(tier(), TextTest::Contains, literal("x")),
    ] {
        let most = Request::with_header(&vec![b'x'; LONGEST_SEARCHED]);
        assert_eq!(condition.holds(&most), Ok(true));
        let more = Request::with_header(&vec![b'x'; LONGEST_SEARCHED + 1]);
        assert_eq!(condition.holds(&more), Err(Fault::Failed));
    }
}

#[test]
fn numbers_are_whole() {
    let of = |param| Integer::Of(Text::Param(param));
    let compare = |left, right| Condition::Integers(left, Comparison::Greater, right);
    let hundred = of(Param::MaxTokens);
    assert_eq!(
        holds(&compare(hundred.clone(), Integer::Literal(99))),
        Ok(true)
    );
    assert_eq!(holds(&compare(hundred, Integer::Literal(100))), Ok(false));
    assert_eq!(holds(&failing()), Err(Fault::Failed));
    assert_eq!(
        holds(&compare(of(Param::ServiceTier), Integer::Literal(0))),
        Err(Fault::Missing)
    );
    let size = Condition::Integers(
        Integer::SizeOf(literal("größe")),
        Comparison::Equal,
        Integer::Literal(5),
    );
    assert_eq!(holds(&size), Ok(true));
}

#[test]
fn usage_is_asked_by_level_and_period() {
    for (text, answer) in [
        ("team", Ok(true)),
        ("team/1M", Ok(true)),
        ("team/1d", Err(Fault::Missing)),
        ("customer", Err(Fault::Missing)),
    ] {
        let usage = Usage::parse(Metric::Cost, text).unwrap();
        let more_than_80 = Condition::Percentages(
            Percentage::Used(usage),
            Comparison::Greater,
            Percentage::Literal(80 * PERCENT),
        );
        assert_eq!(holds(&more_than_80), answer, "{text}");
        assert_eq!(
            holds(&Condition::HasUsage(usage)),
            Ok(answer.is_ok()),
            "{text}"
        );
    }
    for text in ["", "teem", "team/", "team/1x", "team/1M/1d", "1M"] {
        assert_eq!(Usage::parse(Metric::Cost, text), None, "{text}");
    }
    let tokens = Usage::of_all(Metric::Tokens);
    assert_eq!(holds(&Condition::HasUsage(tokens)), Ok(false));
}

#[test]
fn no_node_is_looked_at_twice() {
    let ask = || {
        Condition::Texts(
            tier(),
            TextTest::Compare(Comparison::Equal),
            literal("none"),
        )
    };
    let deep = (1..DEEPEST).fold(ask(), |tree, _| {
        Condition::Or(Box::new(tree), Box::new(ask()))
    });
    assert_eq!((deep.depth(), deep.nodes()), (DEEPEST, 2 * DEEPEST - 1));
    let request = Request::new();
    assert_eq!(deep.holds(&request), Ok(false));
    assert_eq!(usize::try_from(request.asked.get()).unwrap(), DEEPEST);
}
