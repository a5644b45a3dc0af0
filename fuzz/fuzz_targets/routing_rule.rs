//! Routing rules as the filter reads and evaluates them.
//!
//! Lines up to the first empty one are the request: its model, and header fields (`name: value`). What
//! follows is an encoded `RoutingRule`.
#![no_main]

use std::borrow::Cow;
use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use reeve_policy::expression::{
    Condition, DEEPEST, Facts, MOST_NODES, PERCENT, Param, Usage, Variable,
};
use reeve_policy::routing_rules::{MOST_PASSES, Place, Rule, Scope, Subject, decide};
use reeve_proto::v1;

struct Request<'d> {
    model: &'d str,
    fields: Vec<(&'d [u8], &'d [u8])>,
    /// How often something was asked.
    asked: Cell<usize>,
}

struct Known<'r, 'd>(&'r Request<'d>, Place<'r>);

impl Facts for Known<'_, '_> {
    fn variable(&self, variable: Variable) -> &str {
        self.0.ask();
        match variable {
            Variable::Model => self.1.model,
            Variable::Provider => self.1.provider.unwrap_or_default(),
            _ => "",
        }
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.ask();
        let mut fields = self.0.fields.iter();
        let (_, value) = fields.find(|(field, _)| *field == name.as_bytes())?;
        Some(Cow::Borrowed(value))
    }

    fn param(&self, param: Param) -> Option<Cow<'_, str>> {
        self.0.ask();
        (param == Param::MaxTokens).then(|| "100".into())
    }

    fn used(&self, usage: Usage) -> Option<i64> {
        self.0.ask();
        usage.level.is_none().then_some(80 * PERCENT)
    }
}

impl Request<'_> {
    fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
    }
}

impl<'r, 'd> Subject<'r> for &'r Request<'d> {
    type Facts = Known<'r, 'd>;

    fn at(&self, place: Place<'r>) -> Known<'r, 'd> {
        Known(self, place)
    }

    fn is_admitted(&self, place: Place<'r>) -> bool {
        place.provider != Some("blocked")
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.windows(2).position(|pair| pair == b"\n\n") else {
        return;
    };
    let mut lines = data[..end].split(|&byte| byte == b'\n');
    let Some(Ok(model)) = lines.next().map(std::str::from_utf8) else {
        return;
    };
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    });
    let request = Request {
        model,
        fields: fields.collect(),
        asked: Cell::new(0),
    };
    let Ok(Ok(rule)) = v1::RoutingRule::decode(&data[end + 2..]).map(Rule::try_from) else {
        return;
    };
    assert!(rule.condition.depth() <= DEEPEST);
    let nodes = rule.condition.nodes();
    assert!(nodes <= MOST_NODES);
    assert_eq!(
        Rule::try_from(v1::RoutingRule::from(&rule)).as_ref(),
        Ok(&rule)
    );

    let asked = Place {
        provider: None,
        model,
    };
    let subject = &request;
    let answer = rule.condition.holds(&subject.at(asked));
    // Each node compares two things at most.
    assert!(request.asked.replace(0) <= 2 * nodes);
    let contrary = Condition::Not(Box::new(rule.condition.clone()));
    assert_eq!(
        contrary.holds(&subject.at(asked)),
        answer.map(|answer| !answer)
    );

    let rules = [rule];
    for draw in [0, u64::MAX] {
        let mut looked = 0;
        let decision = decide(
            &[(Scope::Global, &rules[..])],
            &subject,
            asked,
            draw,
            |it| {
                assert_eq!(it.pass, looked);
                looked += 1;
            },
        );
        assert!((1..=MOST_PASSES).contains(&looked));
        assert_eq!(decision.rule.is_some(), answer == Ok(true));
    }
});
