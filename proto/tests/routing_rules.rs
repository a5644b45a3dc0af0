//! A rule is read as it was written; bytes that are none are refused by name, and none is deep, large or
//! endless.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use reeve_policy::expression::{
    Comparison, Condition, DEEPEST, Integer, LONGEST_TEXT, MOST_LISTED, MOST_NODES, Param,
    Percentage, Text, TextTest, Usage, Variable,
};
use reeve_policy::limit::Metric;
use reeve_policy::pattern::Pattern;
use reeve_policy::routing_rules::{Destination, Rule, Target};
use reeve_policy::view::Settings;
use reeve_policy::virtual_key::{Owner, VirtualKey};
use reeve_proto::v1;

fn any_text() -> impl Strategy<Value = Text> {
    prop_oneof![
        ".{0,9}".prop_map(Text::Literal),
        prop::sample::select(Variable::ALL.to_vec()).prop_map(Text::Variable),
        "[a-z-]{1,9}".prop_map(Text::Header),
        any_param().prop_map(Text::Param),
    ]
}

fn any_param() -> impl Strategy<Value = Param> {
    prop::sample::select(Param::ALL.to_vec())
}

fn any_comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
    ]
}

fn any_test() -> impl Strategy<Value = TextTest> {
    prop_oneof![
        any_comparison().prop_map(TextTest::Compare),
        Just(TextTest::StartsWith),
        Just(TextTest::EndsWith),
        Just(TextTest::Contains),
    ]
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let metric = prop_oneof![
        Just(Metric::Cost),
        Just(Metric::Requests),
        Just(Metric::Tokens)
    ];
    let limits = prop_oneof![
        Just("team"),
        Just("customer/1M"),
        Just("virtual_key_model/never")
    ];
    (metric, option::of(limits)).prop_map(|(metric, limits)| match limits {
        Some(limits) => Usage::parse(metric, limits).unwrap(),
        None => Usage::of_all(metric),
    })
}

fn any_integer() -> impl Strategy<Value = Integer> {
    prop_oneof![
        any::<i64>().prop_map(Integer::Literal),
        any_text().prop_map(Integer::SizeOf),
        any_text().prop_map(Integer::Of),
    ]
}

fn any_percentage() -> impl Strategy<Value = Percentage> {
    prop_oneof![
        any::<i64>().prop_map(Percentage::Literal),
        any_usage().prop_map(Percentage::Used),
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Condition::Constant),
        (any_text(), any_test(), any_text()).prop_map(|(a, test, b)| Condition::Texts(a, test, b)),
        (any_text(), vec(".{0,9}", 0..4)).prop_map(|(text, list)| Condition::Listed(text, list)),
        (any_text(), "[a-z]{1,3}[.*]?[$]?").prop_map(|(text, pattern)| {
            Condition::Matches(text, Pattern::anywhere(&pattern).unwrap())
        }),
        (any_integer(), any_comparison(), any_integer())
            .prop_map(|(a, test, b)| Condition::Integers(a, test, b)),
        (any_percentage(), any_comparison(), any_percentage())
            .prop_map(|(a, test, b)| Condition::Percentages(a, test, b)),
        "[a-z-]{1,9}".prop_map(Condition::HasHeader),
        any_param().prop_map(Condition::HasParam),
        any_usage().prop_map(Condition::HasUsage),
    ];
    leaf.prop_recursive(8, 64, 3, |part| {
        let boxed = part.prop_map(Box::new).boxed();
        prop_oneof![
            boxed.clone().prop_map(Condition::Not),
            (boxed.clone(), boxed.clone()).prop_map(|(a, b)| Condition::And(a, b)),
            (boxed.clone(), boxed.clone()).prop_map(|(a, b)| Condition::Or(a, b)),
            (boxed.clone(), boxed.clone(), boxed).prop_map(|(a, b, c)| Condition::If(a, b, c)),
        ]
    })
}

fn any_destination() -> impl Strategy<Value = Destination> {
    (option::of("[a-z]{1,8}"), option::of("[a-z0-9/-]{1,8}"))
        .prop_map(|(provider, model)| Destination { provider, model })
}

prop_compose! {
    fn any_rule()(
        id in "[a-z0-9-]{1,8}",
        name in ".{0,8}",
        condition in any_condition(),
        targets in vec((any_destination(), any::<u32>()), 0..3),
        fallbacks in vec(any_destination(), 0..3),
        chains in any::<bool>(),
    ) -> Rule {
        let targets = targets.into_iter().map(|(to, weight_ppm)| Target { to, weight_ppm });
        Rule { id, name, condition, targets: targets.collect(), fallbacks, chains }
    }
}

fn written(condition: &Condition) -> v1::RoutingRule {
    v1::RoutingRule::from(&Rule {
        id: "rule".into(),
        name: String::new(),
        condition: condition.clone(),
        targets: Vec::new(),
        fallbacks: Vec::new(),
        chains: false,
    })
}

fn read(condition: &Condition) -> Result<Condition, String> {
    let rule = Rule::try_from(written(condition)).map_err(|error| error.to_string());
    rule.map(|rule| rule.condition)
}

proptest! {
    #[test]
    fn rules_arrive_as_they_were_sent(rules in vec(any_rule(), 0..4)) {
        let settings = Settings { routing_rules: rules.clone(), ..Settings::default() };
        let bytes = v1::Settings::at(&settings, 0).encode_to_vec();
        let received = Settings::try_from(v1::Settings::decode(bytes.as_slice()).unwrap()).unwrap();
        prop_assert_eq!(&received.routing_rules, &rules);

        let owner = Owner {
            id: "team".into(), name: "team".into(), customer_id: None, limits: Vec::new(),
            routing_rules: rules.clone(),
        };
        let received = Owner::try_from(v1::Owner::at(&owner, 0)).unwrap();
        prop_assert_eq!(&received, &owner);

        let message = v1::VirtualKey {
            id: "key".into(),
            routing_rules: rules.iter().map(Into::into).collect(),
            ..v1::VirtualKey::default()
        };
        prop_assert_eq!(&VirtualKey::try_from(message).unwrap().routing_rules, &rules);
    }

    #[test]
    fn no_damage_to_a_rule_stops_the_reader(
        rule in any_rule(), at in any::<prop::sample::Index>(), to in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = v1::RoutingRule::from(&rule).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(Ok(rule)) = v1::RoutingRule::decode(bytes.as_slice()).map(Rule::try_from) {
            prop_assert!(rule.condition.depth() <= DEEPEST);
            prop_assert!(rule.condition.nodes() <= MOST_NODES);
        }
    }
}

#[test]
fn a_condition_is_neither_deeper_nor_larger_than_it_may_be() {
    let nested = |times| {
        (0..times).fold(Condition::Constant(true), |it, _| {
            Condition::Not(Box::new(it))
        })
    };
    let deepest = nested(DEEPEST - 1);
    assert_eq!(read(&deepest), Ok(deepest));
    assert_eq!(
        read(&nested(DEEPEST)),
        Err("condition[32]: has more than 32".into())
    );
    fn wide(depth: usize) -> Condition {
        if depth == 0 {
            return Condition::Constant(true);
        }
        Condition::And(Box::new(wide(depth - 1)), Box::new(wide(depth - 1)))
    }
    assert!(read(&wide(7)).is_ok());
    assert_eq!(
        read(&wide(8)),
        Err("condition: has more than 256".into()),
        "511 nodes"
    );
}

#[test]
fn what_is_too_long_is_refused() {
    let text = |length| Text::Literal("x".repeat(length));
    let test = |length| Condition::Texts(text(length), TextTest::Contains, text(1));
    assert!(read(&test(LONGEST_TEXT)).is_ok());
    assert!(read(&test(LONGEST_TEXT + 1)).is_err());
    let list = |length| Condition::Listed(text(1), vec![String::new(); length]);
    assert!(read(&list(MOST_LISTED)).is_ok());
    assert!(read(&list(MOST_LISTED + 1)).is_err());
}

#[test]
fn nodes_that_are_no_condition_are_refused() {
    use v1::condition_node::Kind;
    let refused = |nodes: Vec<Kind>| {
        let nodes = nodes
            .into_iter()
            .map(|kind| v1::ConditionNode { kind: Some(kind) });
        let rule = v1::RoutingRule {
            id: "rule".into(),
            condition: nodes.collect(),
            ..v1::RoutingRule::default()
        };
        Rule::try_from(rule).unwrap_err().to_string()
    };
    let yes = || Kind::Constant(true);
    let connective = |it: v1::Connective| Kind::Connective(it.into());
    let incomplete = "is not one whole condition";
    assert_eq!(refused(vec![]), format!("condition: {incomplete}"));
    assert_eq!(
        refused(vec![yes(), yes()]),
        format!("condition: {incomplete}")
    );
    assert_eq!(
        refused(vec![yes(), connective(v1::Connective::And)]),
        format!("condition[1]: {incomplete}")
    );
    assert_eq!(
        refused(vec![Kind::Connective(77)]),
        "condition[0]: has the unknown value 77"
    );
    assert_eq!(
        refused(vec![Kind::HasParam("temperature".into())]),
        "condition[0]: has an unknown word"
    );
    let pattern = v1::PatternNode {
        text: Some(v1::TextOperand::from(&Text::Literal(String::new()))),
        pattern: "(".into(),
    };
    assert!(refused(vec![Kind::Matches(pattern)]).starts_with("condition[0]: "));
    let text = v1::TextOperand::from(&Text::Literal(String::new()));
    let integers = v1::IntegerNode {
        left: None,
        test: v1::ConditionTest::StartsWith.into(),
        right: None,
    };
    assert_eq!(
        refused(vec![Kind::Integers(integers)]),
        "condition[0]: is missing"
    );
    let texts = v1::TextNode {
        left: Some(text.clone()),
        test: 0,
        right: Some(text),
    };
    assert_eq!(
        refused(vec![Kind::Texts(texts)]),
        "condition[0]: is missing"
    );
}
