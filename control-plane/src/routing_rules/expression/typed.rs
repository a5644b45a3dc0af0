//! The parts of an expression, with their types.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use reeve_exchange::headers::is_private;
use reeve_exchange::rules::REQUEST_TYPES;
use reeve_policy::expression::{
    Comparison, Condition, Integer, LONGEST_TEXT, MOST_LISTED, Param, Percentage, Text, TextTest,
    Usage, Variable,
};
use reeve_policy::limit::{Level, Metric};
use reeve_policy::money::Nanos;
use reeve_policy::pattern::Pattern;

/// Percentages are written by the same exact decimals as money: a nano-dollar is a billionth.
const NANOS_PER_MILLIONTH: i64 = 1_000;
const FUNCTIONS: &str = "`startsWith`, `endsWith`, `contains`, `matches`, `size`, `int` and `has`";

/// Why an expression is refused, and at which part of it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) part: u64,
    pub(super) message: String,
}

/// A part of an expression, with its type.
enum Typed {
    Truth(Condition),
    Text(Text),
    Integer(Integer),
    Percentage(Percentage),
    Headers,
    Params,
    Usage(Metric),
    List(Vec<String>),
}

fn fault<T>(part: &IdedExpr, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        part: part.id,
        message: message.into(),
    })
}

/// What must be true or false.
pub(super) fn truth(part: &IdedExpr) -> Result<Condition, Fault> {
    match typed(part)? {
        Typed::Truth(condition) => Ok(condition),
        other => fault(
            part,
            format!(
                "this is {}, not true or false; compare it with something",
                other.name()
            ),
        ),
    }
}

fn text(part: &IdedExpr) -> Result<Text, Fault> {
    match typed(part)? {
        Typed::Text(text) => Ok(text),
        other => fault(
            part,
            format!("this is {}; a text is needed here", other.name()),
        ),
    }
}

fn literal(part: &IdedExpr) -> Result<String, Fault> {
    match &part.expr {
        Expr::Literal(LiteralValue::String(text)) if text.inner().len() > LONGEST_TEXT => fault(
            part,
            format!("a text must have at most {LONGEST_TEXT} bytes"),
        ),
        Expr::Literal(LiteralValue::String(text)) => Ok(text.inner().to_owned()),
        _ => fault(
            part,
            "a text in quotes is needed here: it is checked when the rule is stored",
        ),
    }
}

fn typed(part: &IdedExpr) -> Result<Typed, Fault> {
    match &part.expr {
        Expr::Literal(value) => constant(part, value),
        Expr::Ident(name) => variable(part, name),
        Expr::List(list) if list.elements.len() > MOST_LISTED => fault(
            part,
            format!("a list must have at most {MOST_LISTED} texts"),
        ),
        Expr::List(list) => {
            let texts = list.elements.iter().map(literal);
            Ok(Typed::List(texts.collect::<Result<_, _>>()?))
        }
        Expr::Select(select) if select.test => has(part, &select.operand, &select.field),
        Expr::Select(select) => member(part, &select.operand, &select.field),
        Expr::Call(call) => {
            let arguments = call.args.as_slice();
            match &call.target {
                Some(target) => method(part, target, &call.func_name, arguments),
                None => function(part, &call.func_name, arguments),
            }
        }
        Expr::Comprehension(_) => fault(
            part,
            "`exists`, `all`, `map` and `filter` are not available; use `in` with a list of texts, \
             or `matches`",
        ),
        Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => fault(
            part,
            "only texts, numbers, `true`, `false` and lists of texts can be written here",
        ),
    }
}

fn constant(part: &IdedExpr, value: &LiteralValue) -> Result<Typed, Fault> {
    match value {
        LiteralValue::Boolean(it) => Ok(Typed::Truth(Condition::Constant(*it.inner()))),
        LiteralValue::String(_) => Ok(Typed::Text(Text::Literal(literal(part)?))),
        LiteralValue::Int(it) => Ok(Typed::Integer(Integer::Literal(*it.inner()))),
        LiteralValue::Double(it) => {
            // The shortest decimal that is this number: what was written.
            let nanos = Nanos::parse_dollars(&it.inner().to_string()).map(Nanos::get);
            let millionths = nanos
                .ok()
                .filter(|nanos| nanos.checked_rem(NANOS_PER_MILLIONTH) == Some(0))
                .and_then(|nanos| nanos.checked_div(NANOS_PER_MILLIONTH));
            match millionths {
                Some(it) => Ok(Typed::Percentage(Percentage::Literal(it))),
                None => fault(part, "a percentage must have at most 6 decimal places"),
            }
        }
        LiteralValue::UInt(_) => fault(part, "write the number without `u`"),
        LiteralValue::Bytes(_) => fault(part, "write the text without `b`"),
        LiteralValue::Null => fault(
            part,
            "nothing is `null` here; ask with `has(…)` or `in` whether something is there",
        ),
    }
}

fn variable(part: &IdedExpr, name: &str) -> Result<Typed, Fault> {
    if let Some(variable) = Variable::ALL.into_iter().find(|it| it.as_str() == name) {
        return Ok(Typed::Text(Text::Variable(variable)));
    }
    let used = |metric| Ok(Typed::Percentage(Percentage::Used(Usage::of_all(metric))));
    match name {
        "headers" => Ok(Typed::Headers),
        "params" => Ok(Typed::Params),
        "budget_used" => used(Metric::Cost),
        "tokens_used" => used(Metric::Tokens),
        "request" => used(Metric::Requests),
        "budget" => Ok(Typed::Usage(Metric::Cost)),
        "tokens" => Ok(Typed::Usage(Metric::Tokens)),
        "requests" => Ok(Typed::Usage(Metric::Requests)),
        _ => {
            let texts = Variable::ALL
                .map(|it| format!("`{}`", it.as_str()))
                .join(", ");
            let message = format!(
                "there is no variable `{name}`; there are {texts}, `headers`, `params`, \
                 `budget_used`, `tokens_used`, `request`, `budget`, `tokens` and `requests`"
            );
            fault(part, message)
        }
    }
}

/// `of["key"]` or `of.key`.
fn member(part: &IdedExpr, of: &IdedExpr, key: &str) -> Result<Typed, Fault> {
    match typed(of)? {
        Typed::Headers => Ok(Typed::Text(Text::Header(header(part, key)?))),
        Typed::Params => Ok(Typed::Text(Text::Param(param(part, key)?))),
        Typed::Usage(metric) => {
            let usage = usage(part, metric, key)?;
            Ok(Typed::Percentage(Percentage::Used(usage)))
        }
        other => fault(part, format!("{} has no members", other.name())),
    }
}

/// `"key" in of` or `has(of.key)`.
fn has(part: &IdedExpr, of: &IdedExpr, key: &str) -> Result<Typed, Fault> {
    let condition = match typed(of)? {
        Typed::Headers => Condition::HasHeader(header(part, key)?),
        Typed::Params => Condition::HasParam(param(part, key)?),
        Typed::Usage(metric) => Condition::HasUsage(usage(part, metric, key)?),
        other => return fault(part, format!("{} has no members", other.name())),
    };
    Ok(Typed::Truth(condition))
}

/// Names of header fields are in lower case here, however they are written.
fn header(part: &IdedExpr, name: &str) -> Result<String, Fault> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > LONGEST_TEXT || !name.bytes().all(good) {
        return fault(part, "this is no header field's name");
    }
    if is_private(&name) {
        return fault(
            part,
            format!(
                "rules do not see the header field `{name}`: it may hold a credential, or steer a gateway"
            ),
        );
    }
    Ok(name)
}

fn param(part: &IdedExpr, name: &str) -> Result<Param, Fault> {
    match Param::ALL.into_iter().find(|it| it.as_str() == name) {
        Some(param) => Ok(param),
        None => {
            let all = Param::ALL.map(|it| format!("`{}`", it.as_str())).join(", ");
            fault(
                part,
                format!("there is no parameter `{name}`; there are {all}"),
            )
        }
    }
}

fn usage(part: &IdedExpr, metric: Metric, key: &str) -> Result<Usage, Fault> {
    match Usage::parse(metric, key) {
        Some(usage) => Ok(usage),
        None => {
            let levels = Level::ALL.map(|it| format!("`{}`", it.as_str())).join(", ");
            let message = format!(
                "`{key}` names no limit; write a level, or a level and a duration, such as \
                 `team/1M`; levels are {levels}"
            );
            fault(part, message)
        }
    }
}

fn method(
    part: &IdedExpr,
    target: &IdedExpr,
    name: &str,
    arguments: &[IdedExpr],
) -> Result<Typed, Fault> {
    let test = match (name, arguments) {
        ("startsWith", [_]) => TextTest::StartsWith,
        ("endsWith", [_]) => TextTest::EndsWith,
        ("contains", [_]) => TextTest::Contains,
        ("matches", [pattern]) => return matches(target, pattern),
        ("size", []) => return size(target),
        _ => return fault(part, unknown_function(name)),
    };
    let condition = match arguments {
        [argument] => Condition::Texts(text(target)?, test, text(argument)?),
        _ => return fault(part, unknown_function(name)),
    };
    Ok(Typed::Truth(condition))
}

fn unknown_function(name: &str) -> String {
    if let Some(operator) = name.strip_prefix('_').and_then(|it| it.strip_suffix('_'))
        && operator.len() == 1
    {
        return format!("arithmetic is not available here: leave out `{operator}`, and compare");
    }
    format!("there is no function `{name}` with such arguments; there are {FUNCTIONS}")
}

fn function(part: &IdedExpr, name: &str, arguments: &[IdedExpr]) -> Result<Typed, Fault> {
    let condition = match (name, arguments) {
        (operators::LOGICAL_NOT, [it]) => Condition::Not(truth(it)?.into()),
        (operators::LOGICAL_AND, [left, right]) => {
            Condition::And(truth(left)?.into(), truth(right)?.into())
        }
        (operators::LOGICAL_OR, [left, right]) => {
            Condition::Or(truth(left)?.into(), truth(right)?.into())
        }
        (operators::CONDITIONAL, [condition, then, otherwise]) => Condition::If(
            truth(condition)?.into(),
            truth(then)?.into(),
            truth(otherwise)?.into(),
        ),
        (operators::IN, [item, of]) => return within(part, item, of),
        (operators::INDEX, [of, key]) => return member(key, of, &literal(key)?),
        (operators::NEGATE, [number]) => return negated(part, number),
        ("matches", [text, pattern]) => return matches(text, pattern),
        ("size", [of]) => return size(of),
        ("int", [of]) => return Ok(Typed::Integer(Integer::Of(text(of)?))),
        (name, [left, right]) if comparison(name).is_some() => {
            let test = comparison(name).unwrap_or(Comparison::Equal);
            return compared(part, left, test, right);
        }
        _ => return fault(part, unknown_function(name)),
    };
    Ok(Typed::Truth(condition))
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn matches(of: &IdedExpr, pattern: &IdedExpr) -> Result<Typed, Fault> {
    match Pattern::anywhere(&literal(pattern)?) {
        Ok(compiled) => Ok(Typed::Truth(Condition::Matches(text(of)?, compiled))),
        Err(error) => fault(pattern, format!("this is no usable pattern: {error}")),
    }
}

fn size(of: &IdedExpr) -> Result<Typed, Fault> {
    Ok(Typed::Integer(Integer::SizeOf(text(of)?)))
}

fn negated(part: &IdedExpr, number: &IdedExpr) -> Result<Typed, Fault> {
    match typed(number)? {
        Typed::Integer(Integer::Literal(it)) => {
            Ok(Typed::Integer(Integer::Literal(it.saturating_neg())))
        }
        Typed::Percentage(Percentage::Literal(it)) => {
            Ok(Typed::Percentage(Percentage::Literal(it.saturating_neg())))
        }
        _ => fault(
            part,
            "arithmetic is not available here: leave out `-`, and compare",
        ),
    }
}

/// `item in of`.
fn within(part: &IdedExpr, item: &IdedExpr, of: &IdedExpr) -> Result<Typed, Fault> {
    match typed(of)? {
        Typed::List(list) => {
            let item_text = text(item)?;
            for word in &list {
                check_word(part, &item_text, word)?;
            }
            Ok(Typed::Truth(Condition::Listed(item_text, list)))
        }
        Typed::Headers | Typed::Params | Typed::Usage(_) => has(item, of, &literal(item)?),
        other => fault(
            of,
            format!("this is {}; `in` needs a list or a map", other.name()),
        ),
    }
}

fn compared(
    part: &IdedExpr,
    left: &IdedExpr,
    test: Comparison,
    right: &IdedExpr,
) -> Result<Typed, Fault> {
    let condition = match (typed(left)?, typed(right)?) {
        (Typed::Text(left), Typed::Text(right)) => {
            for (one, other) in [(&left, &right), (&right, &left)] {
                if let Text::Literal(word) = other {
                    check_word(part, one, word)?;
                }
            }
            Condition::Texts(left, TextTest::Compare(test), right)
        }
        (Typed::Integer(left), Typed::Integer(right)) => Condition::Integers(left, test, right),
        (Typed::Percentage(left), Typed::Percentage(right)) => {
            Condition::Percentages(left, test, right)
        }
        (Typed::Percentage(left), Typed::Integer(Integer::Literal(right))) => {
            Condition::Percentages(left, test, whole(part, right)?)
        }
        (Typed::Integer(Integer::Literal(left)), Typed::Percentage(right)) => {
            Condition::Percentages(whole(part, left)?, test, right)
        }
        (Typed::Truth(it), Typed::Truth(Condition::Constant(is)))
        | (Typed::Truth(Condition::Constant(is)), Typed::Truth(it)) => match test {
            Comparison::Equal => as_it_is(it, is),
            Comparison::NotEqual => as_it_is(it, !is),
            _ => return fault(part, "true and false have no order; use `==` or `!=`"),
        },
        (Typed::Truth(_), Typed::Truth(_)) => {
            return fault(
                part,
                "compare with `true` or `false`, or use `&&`, `||` and `!`",
            );
        }
        (left, right) => {
            let message = format!(
                "{} cannot be compared with {}{}",
                left.name(),
                right.name(),
                match (&left, &right) {
                    (Typed::Text(_), Typed::Integer(_)) | (Typed::Integer(_), Typed::Text(_)) =>
                        "; write `int(…)` around the text",
                    _ => "",
                }
            );
            return fault(part, message);
        }
    };
    Ok(Typed::Truth(condition))
}

fn as_it_is(condition: Condition, is: bool) -> Condition {
    if is {
        condition
    } else {
        Condition::Not(condition.into())
    }
}

fn whole(part: &IdedExpr, percent: i64) -> Result<Percentage, Fault> {
    match percent.checked_mul(reeve_policy::expression::PERCENT) {
        Some(millionths) => Ok(Percentage::Literal(millionths)),
        None => fault(part, "no percentage is so large"),
    }
}

/// A word that a variable never is, is a mistake.
fn check_word(part: &IdedExpr, of: &Text, word: &str) -> Result<(), Fault> {
    if *of == Text::Variable(Variable::RequestType) && !REQUEST_TYPES.contains(&word) {
        let all = REQUEST_TYPES.map(|it| format!("`{it}`")).join(", ");
        return fault(
            part,
            format!("no request is of the type `{word}`; types are {all}"),
        );
    }
    Ok(())
}

impl Typed {
    fn name(&self) -> &'static str {
        match self {
            Self::Truth(_) => "true or false",
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Percentage(_) => "a percentage",
            Self::Headers | Self::Params | Self::Usage(_) => "a map",
            Self::List(_) => "a list",
        }
    }
}
