//! Evaluating conditions.

use core::cmp::Ordering;
use std::borrow::Cow;

use super::{Comparison, Condition, Integer, Param, Percentage, Text, TextTest, Usage, Variable};

/// Longest text that is searched, bytes. One that is longer is a failure, so that no caller can make a
/// search long.
pub const LONGEST_SEARCHED: usize = 4096;

/// What a condition may ask of a request. What is not asked need not be known.
pub trait Facts {
    /// A text that every request has.
    fn variable(&self, variable: Variable) -> &str;
    /// A header field by its name in lower case. `None`: the request has none.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// A parameter. `None`: the request does not have it.
    fn param(&self, param: Param) -> Option<Cow<'_, str>>;
    /// How much is used, millionths of a percent. `None`: there is no such limit.
    fn used(&self, usage: Usage) -> Option<i64>;
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A map does not have the key.
    Missing,
    /// A text is no number, or too long to be searched.
    Failed,
}

impl Condition {
    /// Does it hold? Each node is looked at once at most.
    pub fn holds(&self, facts: &dyn Facts) -> Result<bool, Fault> {
        match self {
            Self::Constant(it) => Ok(*it),
            Self::Not(it) => it.holds(facts).map(|it| !it),
            Self::And(left, right) => decided(false, left, right, facts),
            Self::Or(left, right) => decided(true, left, right, facts),
            Self::If(condition, then, otherwise) => {
                if condition.holds(facts)? {
                    then.holds(facts)
                } else {
                    otherwise.holds(facts)
                }
            }
            Self::Texts(left, test, right) => {
                let (left, right) = (left.value(facts)?, right.value(facts)?);
                test.holds(&left, &right)
            }
            Self::Listed(text, list) => {
                let text = text.value(facts)?;
                Ok(list.iter().any(|it| it.as_bytes() == &*text))
            }
            Self::Matches(text, pattern) => {
                let text = text.value(facts)?;
                Ok(pattern.matches(searchable(&text)?))
            }
            Self::Integers(left, comparison, right) => {
                let (left, right) = (left.value(facts)?, right.value(facts)?);
                Ok(comparison.holds(left.cmp(&right)))
            }
            Self::Percentages(left, comparison, right) => {
                let (left, right) = (left.value(facts)?, right.value(facts)?);
                Ok(comparison.holds(left.cmp(&right)))
            }
            Self::HasHeader(name) => Ok(facts.header(name).is_some()),
            Self::HasParam(param) => Ok(facts.param(*param).is_some()),
            Self::HasUsage(usage) => Ok(facts.used(*usage).is_some()),
        }
    }
}

/// `&&` and `||`: the side whose answer is `by` decides, even when the other one fails.
fn decided(
    by: bool,
    left: &Condition,
    right: &Condition,
    facts: &dyn Facts,
) -> Result<bool, Fault> {
    let left = left.holds(facts);
    if left == Ok(by) {
        return left;
    }
    let right = right.holds(facts)?;
    if right == by { Ok(by) } else { left }
}

impl Text {
    fn value<'a>(&'a self, facts: &'a dyn Facts) -> Result<Cow<'a, [u8]>, Fault> {
        match self {
            Self::Literal(text) => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Variable(variable) => Ok(Cow::Borrowed(facts.variable(*variable).as_bytes())),
            Self::Header(name) => facts.header(name).ok_or(Fault::Missing),
            Self::Param(param) => match facts.param(*param).ok_or(Fault::Missing)? {
                Cow::Borrowed(text) => Ok(Cow::Borrowed(text.as_bytes())),
                Cow::Owned(text) => Ok(Cow::Owned(text.into_bytes())),
            },
        }
    }
}

impl Integer {
    fn value(&self, facts: &dyn Facts) -> Result<i64, Fault> {
        match self {
            Self::Literal(number) => Ok(*number),
            Self::SizeOf(text) => {
                let text = text.value(facts)?;
                // Bytes that continue a character of UTF-8 are not counted.
                let characters = text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
                i64::try_from(characters).map_err(|_| Fault::Failed)
            }
            Self::Of(text) => {
                let text = text.value(facts)?;
                let digits = str::from_utf8(&text).map_err(|_| Fault::Failed)?;
                digits.parse().map_err(|_| Fault::Failed)
            }
        }
    }
}

impl Percentage {
    fn value(&self, facts: &dyn Facts) -> Result<i64, Fault> {
        match self {
            Self::Literal(millionths) => Ok(*millionths),
            Self::Used(usage) => facts.used(*usage).ok_or(Fault::Missing),
        }
    }
}

impl TextTest {
    fn holds(self, left: &[u8], right: &[u8]) -> Result<bool, Fault> {
        match self {
            Self::Compare(comparison) => Ok(comparison.holds(left.cmp(right))),
            Self::StartsWith => Ok(left.starts_with(right)),
            Self::EndsWith => Ok(left.ends_with(right)),
            Self::Contains => {
                let (left, right) = (searchable(left)?, searchable(right)?);
                Ok(right.is_empty() || left.windows(right.len()).any(|part| part == right))
            }
        }
    }
}

impl Comparison {
    /// Is this how they stand?
    pub const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }

    /// The same, with the sides changed: `a < b` is `b > a`.
    #[must_use]
    pub const fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            other => other,
        }
    }
}

fn searchable(text: &[u8]) -> Result<&[u8], Fault> {
    if text.len() > LONGEST_SEARCHED {
        return Err(Fault::Failed);
    }
    Ok(text)
}
