//! Conditions of routing rules, in postfix order: what is read has a form that no bytes can make deep or
//! endless, and is a tree whatever they say.

use reeve_policy::expression::{
    Comparison, Condition, DEEPEST, Integer, LONGEST_TEXT, MOST_LISTED, MOST_NODES, Param,
    Percentage, Text, TextTest, Usage, Variable,
};
use reeve_policy::pattern::Pattern;

use super::limits::metric;
use super::{ConvertError, Problem, present};
use crate::v1;
use v1::condition_node::Kind;
use v1::integer_operand::Kind as IntegerKind;
use v1::percentage_operand::Kind as PercentageKind;
use v1::text_operand::Kind as TextKind;

const FIELD: &str = "condition";

fn fault(problem: Problem) -> ConvertError {
    ConvertError::new(FIELD, problem)
}

/// A condition, and how deep it is.
type Read = (Condition, usize);

pub(super) fn read(nodes: Vec<v1::ConditionNode>) -> Result<Condition, ConvertError> {
    if nodes.len() > MOST_NODES {
        return Err(fault(Problem::TooMany(MOST_NODES)));
    }
    let mut stack: Vec<Read> = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let read = node_of(node, &mut stack).map_err(|error| ConvertError {
            field: format!("{FIELD}[{index}]"),
            problem: error.problem,
        })?;
        stack.push(read);
    }
    match (stack.pop(), stack.is_empty()) {
        (Some((condition, _)), true) => Ok(condition),
        _ => Err(fault(Problem::Incomplete)),
    }
}

fn node_of(node: v1::ConditionNode, stack: &mut Vec<Read>) -> Result<Read, ConvertError> {
    let condition = match node.kind.ok_or_else(|| fault(Problem::Missing))? {
        Kind::Constant(constant) => Condition::Constant(constant),
        Kind::Connective(connective) => return connected(connective, stack),
        Kind::Texts(node) => {
            Condition::Texts(text(node.left)?, test(node.test)?, text(node.right)?)
        }
        Kind::Listed(node) => {
            if node.list.len() > MOST_LISTED {
                return Err(fault(Problem::TooMany(MOST_LISTED)));
            }
            let list = node.list.into_iter().map(literal);
            Condition::Listed(text(node.text)?, list.collect::<Result<_, _>>()?)
        }
        Kind::Matches(node) => {
            let pattern = Pattern::anywhere(&literal(node.pattern)?)
                .map_err(|error| fault(Problem::Pattern(error)))?;
            Condition::Matches(text(node.text)?, pattern)
        }
        Kind::Integers(node) => Condition::Integers(
            integer(node.left)?,
            comparison(node.test)?,
            integer(node.right)?,
        ),
        Kind::Percentages(node) => Condition::Percentages(
            percentage(node.left)?,
            comparison(node.test)?,
            percentage(node.right)?,
        ),
        Kind::HasHeader(name) => Condition::HasHeader(header(name)?),
        Kind::HasParam(name) => Condition::HasParam(param(&name)?),
        Kind::HasUsage(operand) => Condition::HasUsage(usage(&operand)?),
    };
    Ok((condition, 1))
}

fn connected(connective: i32, stack: &mut Vec<Read>) -> Result<Read, ConvertError> {
    let mut deepest: usize = 0;
    let mut take = || {
        let (condition, depth) = stack.pop().ok_or_else(|| fault(Problem::Incomplete))?;
        deepest = deepest.max(depth);
        Ok::<_, ConvertError>(Box::new(condition))
    };
    let condition = match v1::Connective::try_from(connective) {
        Ok(v1::Connective::Not) => Condition::Not(take()?),
        Ok(v1::Connective::And) => {
            let right = take()?;
            Condition::And(take()?, right)
        }
        Ok(v1::Connective::Or) => {
            let right = take()?;
            Condition::Or(take()?, right)
        }
        Ok(v1::Connective::If) => {
            let otherwise = take()?;
            let then = take()?;
            Condition::If(take()?, then, otherwise)
        }
        Ok(v1::Connective::Unspecified) => return Err(fault(Problem::Missing)),
        Err(prost::UnknownEnumValue(value)) => return Err(fault(Problem::Unknown(value))),
    };
    let depth = deepest.saturating_add(1);
    if depth > DEEPEST {
        return Err(fault(Problem::TooMany(DEEPEST)));
    }
    Ok((condition, depth))
}

fn literal(text: String) -> Result<String, ConvertError> {
    if text.len() > LONGEST_TEXT {
        return Err(fault(Problem::TooMany(LONGEST_TEXT)));
    }
    Ok(text)
}

fn header(name: String) -> Result<String, ConvertError> {
    literal(present(FIELD, name)?)
}

fn param(name: &str) -> Result<Param, ConvertError> {
    let param = Param::ALL.into_iter().find(|it| it.as_str() == name);
    param.ok_or_else(|| fault(Problem::Word))
}

fn text(operand: Option<v1::TextOperand>) -> Result<Text, ConvertError> {
    let kind = operand.and_then(|operand| operand.kind);
    Ok(match kind.ok_or_else(|| fault(Problem::Missing))? {
        TextKind::Literal(text) => Text::Literal(literal(text)?),
        TextKind::Variable(name) => {
            let variable = Variable::ALL.into_iter().find(|it| it.as_str() == name);
            Text::Variable(variable.ok_or_else(|| fault(Problem::Word))?)
        }
        TextKind::Header(name) => Text::Header(header(name)?),
        TextKind::Param(name) => Text::Param(param(&name)?),
    })
}

fn integer(operand: Option<v1::IntegerOperand>) -> Result<Integer, ConvertError> {
    let kind = operand.and_then(|operand| operand.kind);
    Ok(match kind.ok_or_else(|| fault(Problem::Missing))? {
        IntegerKind::Literal(number) => Integer::Literal(number),
        IntegerKind::SizeOf(operand) => Integer::SizeOf(text(Some(operand))?),
        IntegerKind::Of(operand) => Integer::Of(text(Some(operand))?),
    })
}

fn percentage(operand: Option<v1::PercentageOperand>) -> Result<Percentage, ConvertError> {
    let kind = operand.and_then(|operand| operand.kind);
    Ok(match kind.ok_or_else(|| fault(Problem::Missing))? {
        PercentageKind::Literal(millionths) => Percentage::Literal(millionths),
        PercentageKind::Used(operand) => Percentage::Used(usage(&operand)?),
    })
}

fn usage(operand: &v1::UsageOperand) -> Result<Usage, ConvertError> {
    let metric = metric(operand.metric)?;
    if operand.limits.is_empty() {
        return Ok(Usage::of_all(metric));
    }
    Usage::parse(metric, &operand.limits).ok_or_else(|| fault(Problem::Word))
}

fn test(test: i32) -> Result<TextTest, ConvertError> {
    match v1::ConditionTest::try_from(test) {
        Ok(v1::ConditionTest::StartsWith) => Ok(TextTest::StartsWith),
        Ok(v1::ConditionTest::EndsWith) => Ok(TextTest::EndsWith),
        Ok(v1::ConditionTest::Contains) => Ok(TextTest::Contains),
        _ => comparison(test).map(TextTest::Compare),
    }
}

fn comparison(test: i32) -> Result<Comparison, ConvertError> {
    match v1::ConditionTest::try_from(test) {
        Ok(v1::ConditionTest::Equal) => Ok(Comparison::Equal),
        Ok(v1::ConditionTest::NotEqual) => Ok(Comparison::NotEqual),
        Ok(v1::ConditionTest::Less) => Ok(Comparison::Less),
        Ok(v1::ConditionTest::LessOrEqual) => Ok(Comparison::LessOrEqual),
        Ok(v1::ConditionTest::Greater) => Ok(Comparison::Greater),
        Ok(v1::ConditionTest::GreaterOrEqual) => Ok(Comparison::GreaterOrEqual),
        Ok(v1::ConditionTest::Unspecified) => Err(fault(Problem::Missing)),
        Ok(_) | Err(_) => Err(fault(Problem::Unknown(test))),
    }
}

pub(super) fn write(condition: &Condition) -> Vec<v1::ConditionNode> {
    let mut nodes = Vec::new();
    push(condition, &mut nodes);
    nodes
}

fn push(condition: &Condition, nodes: &mut Vec<v1::ConditionNode>) {
    let connective = |connective: v1::Connective| Kind::Connective(connective.into());
    let kind = match condition {
        Condition::Constant(constant) => Kind::Constant(*constant),
        Condition::Not(it) => {
            push(it, nodes);
            connective(v1::Connective::Not)
        }
        Condition::And(left, right) => {
            push(left, nodes);
            push(right, nodes);
            connective(v1::Connective::And)
        }
        Condition::Or(left, right) => {
            push(left, nodes);
            push(right, nodes);
            connective(v1::Connective::Or)
        }
        Condition::If(condition, then, otherwise) => {
            push(condition, nodes);
            push(then, nodes);
            push(otherwise, nodes);
            connective(v1::Connective::If)
        }
        Condition::Texts(left, test, right) => Kind::Texts(v1::TextNode {
            left: Some(left.into()),
            test: v1::ConditionTest::from(*test).into(),
            right: Some(right.into()),
        }),
        Condition::Listed(text, list) => Kind::Listed(v1::ListNode {
            text: Some(text.into()),
            list: list.clone(),
        }),
        Condition::Matches(text, pattern) => Kind::Matches(v1::PatternNode {
            text: Some(text.into()),
            pattern: pattern.as_str().to_owned(),
        }),
        Condition::Integers(left, test, right) => Kind::Integers(v1::IntegerNode {
            left: Some(left.into()),
            test: v1::ConditionTest::from(*test).into(),
            right: Some(right.into()),
        }),
        Condition::Percentages(left, test, right) => Kind::Percentages(v1::PercentageNode {
            left: Some(left.into()),
            test: v1::ConditionTest::from(*test).into(),
            right: Some(right.into()),
        }),
        Condition::HasHeader(name) => Kind::HasHeader(name.clone()),
        Condition::HasParam(param) => Kind::HasParam(param.as_str().to_owned()),
        Condition::HasUsage(usage) => Kind::HasUsage(usage.into()),
    };
    nodes.push(v1::ConditionNode { kind: Some(kind) });
}

impl From<&Text> for v1::TextOperand {
    fn from(text: &Text) -> Self {
        let kind = match text {
            Text::Literal(text) => TextKind::Literal(text.clone()),
            Text::Variable(variable) => TextKind::Variable(variable.as_str().to_owned()),
            Text::Header(name) => TextKind::Header(name.clone()),
            Text::Param(param) => TextKind::Param(param.as_str().to_owned()),
        };
        Self { kind: Some(kind) }
    }
}

impl From<&Integer> for v1::IntegerOperand {
    fn from(integer: &Integer) -> Self {
        let kind = match integer {
            Integer::Literal(number) => IntegerKind::Literal(*number),
            Integer::SizeOf(text) => IntegerKind::SizeOf(text.into()),
            Integer::Of(text) => IntegerKind::Of(text.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl From<&Percentage> for v1::PercentageOperand {
    fn from(percentage: &Percentage) -> Self {
        let kind = match percentage {
            Percentage::Literal(millionths) => PercentageKind::Literal(*millionths),
            Percentage::Used(usage) => PercentageKind::Used(usage.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl From<&Usage> for v1::UsageOperand {
    fn from(usage: &Usage) -> Self {
        let limits = match (usage.level, usage.period) {
            (None, _) => String::new(),
            (Some(level), None) => level.as_str().to_owned(),
            (Some(level), Some(period)) => format!("{}/{period}", level.as_str()),
        };
        Self {
            metric: v1::Metric::from(usage.metric).into(),
            limits,
        }
    }
}

impl From<TextTest> for v1::ConditionTest {
    fn from(test: TextTest) -> Self {
        match test {
            TextTest::Compare(comparison) => comparison.into(),
            TextTest::StartsWith => Self::StartsWith,
            TextTest::EndsWith => Self::EndsWith,
            TextTest::Contains => Self::Contains,
        }
    }
}

impl From<Comparison> for v1::ConditionTest {
    fn from(comparison: Comparison) -> Self {
        match comparison {
            Comparison::Equal => Self::Equal,
            Comparison::NotEqual => Self::NotEqual,
            Comparison::Less => Self::Less,
            Comparison::LessOrEqual => Self::LessOrEqual,
            Comparison::Greater => Self::Greater,
            Comparison::GreaterOrEqual => Self::GreaterOrEqual,
        }
    }
}
