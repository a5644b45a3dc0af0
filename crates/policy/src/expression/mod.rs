//! What a routing rule asks of a request: the part of CEL that rules need, typed and bounded.
//!
//! The control plane reads CEL and makes a [`Condition`] of it; whatever has no place here it refuses. So
//! the filter has no parser, and nothing that it evaluates can go on for long: a condition is a tree, each
//! node is looked at once at most, and what is searched in a text is bounded. There are no floats:
//! percentages are whole millionths.
//!
//! The semantics are CEL's: `&&` and `||` take the answer of the side that decides, even when the other one
//! fails, and a key that a map does not have is a failure.

mod evaluate;

pub use evaluate::{Facts, Fault, LONGEST_SEARCHED};

use crate::limit::{Level, Metric};
use crate::pattern::Pattern;
use crate::period::Period;

/// Most nodes of a condition.
pub const MOST_NODES: usize = 256;
/// How deep one may be nested.
pub const DEEPEST: usize = 32;
/// Longest text that may stand in one, bytes.
pub const LONGEST_TEXT: usize = 256;
/// Most texts of a list.
pub const MOST_LISTED: usize = 64;

/// Millionths in one percent.
pub const PERCENT: i64 = 1_000_000;

/// True or false of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Always the same.
    Constant(bool),
    /// `!a`
    Not(Box<Self>),
    /// `a && b`
    And(Box<Self>, Box<Self>),
    /// `a || b`
    Or(Box<Self>, Box<Self>),
    /// `a ? b : c`
    If(Box<Self>, Box<Self>, Box<Self>),
    /// Two texts, byte by byte.
    Texts(Text, TextTest, Text),
    /// `a in ["b", "c"]`
    Listed(Text, Vec<String>),
    /// `a.matches("b")`: found anywhere in it.
    Matches(Text, Pattern),
    /// Two whole numbers.
    Integers(Integer, Comparison, Integer),
    /// Two percentages.
    Percentages(Percentage, Comparison, Percentage),
    /// `"a" in headers`
    HasHeader(String),
    /// `"a" in params`
    HasParam(Param),
    /// `"a" in budget`, `tokens` or `requests`
    HasUsage(Usage),
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// As it was written.
    Literal(String),
    /// Of the request or of who asks.
    Variable(Variable),
    /// A header field by its name, in lower case.
    Header(String),
    /// A parameter of the request.
    Param(Param),
}

/// A whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integer {
    /// As it was written.
    Literal(i64),
    /// How many characters a text has.
    SizeOf(Text),
    /// The number that a text is. Any other text is a failure.
    Of(Text),
}

/// A percentage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Percentage {
    /// As it was written, millionths of a percent.
    Literal(i64),
    /// How much of limits is used.
    Used(Usage),
}

/// How much is used of the limits of a metric: of the one that is used most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What they count.
    pub metric: Metric,
    /// Whose they are; `None`: whoever's apply.
    pub level: Option<Level>,
    /// How long their windows are; `None`: however long.
    pub period: Option<Period>,
}

/// What can be asked of two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextTest {
    /// In order.
    Compare(Comparison),
    /// The first begins with the second.
    StartsWith,
    /// The first ends with the second.
    EndsWith,
    /// The second is somewhere in the first.
    Contains,
}

/// How two values stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A text that every request has; an empty one where there is nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The model, without a provider's name.
    Model,
    /// The provider, if the caller or an earlier rule names one.
    Provider,
    /// Which API, in Bifrost's words.
    RequestType,
    /// The key's id.
    VirtualKeyId,
    /// The key's name.
    VirtualKeyName,
    /// The team's id.
    TeamId,
    /// The team's name.
    TeamName,
    /// The id of the key's or the team's customer.
    CustomerId,
    /// Its name.
    CustomerName,
}

/// A parameter of the request, where the caller gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Param {
    /// `true` or `false`: the answer is to be a stream.
    Stream,
    /// The most output tokens for one choice.
    MaxTokens,
    /// How many choices.
    Choices,
    /// In which tier it is to be served.
    ServiceTier,
    /// How many bytes its body has.
    BodyBytes,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Model,
        Self::Provider,
        Self::RequestType,
        Self::VirtualKeyId,
        Self::VirtualKeyName,
        Self::TeamId,
        Self::TeamName,
        Self::CustomerId,
        Self::CustomerName,
    ];

    /// Its name in an expression.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Provider => "provider",
            Self::RequestType => "request_type",
            Self::VirtualKeyId => "virtual_key_id",
            Self::VirtualKeyName => "virtual_key_name",
            Self::TeamId => "team_id",
            Self::TeamName => "team_name",
            Self::CustomerId => "customer_id",
            Self::CustomerName => "customer_name",
        }
    }
}

impl Param {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Stream,
        Self::MaxTokens,
        Self::Choices,
        Self::ServiceTier,
        Self::BodyBytes,
    ];

    /// Its name in `params`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::MaxTokens => "max_tokens",
            Self::Choices => "n",
            Self::ServiceTier => "service_tier",
            Self::BodyBytes => "body_bytes",
        }
    }
}

impl Usage {
    /// Of all limits of a metric that apply.
    pub const fn of_all(metric: Metric) -> Self {
        Self {
            metric,
            level: None,
            period: None,
        }
    }

    /// Reads a level, or a level and a period: `team`, `team/1M`.
    pub fn parse(metric: Metric, text: &str) -> Option<Self> {
        let (level, period) = match text.split_once('/') {
            Some((level, period)) => (level, Some(Period::parse(period).ok()?)),
            None => (text, None),
        };
        let level = Level::ALL.into_iter().find(|it| it.as_str() == level)?;
        Some(Self {
            metric,
            level: Some(level),
            period,
        })
    }

    /// Is it about this limit?
    pub fn is_about(&self, metric: Metric, level: Level, period: Period) -> bool {
        self.metric == metric
            && self.level.is_none_or(|it| it == level)
            && self.period.is_none_or(|it| it == period)
    }
}

impl Condition {
    /// How deep it is nested.
    pub fn depth(&self) -> usize {
        let deepest = self.parts().map(Self::depth).max().unwrap_or_default();
        deepest.saturating_add(1)
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.parts().map(Self::nodes).fold(1, usize::saturating_add)
    }

    /// The conditions that it is made of.
    fn parts(&self) -> impl Iterator<Item = &Self> {
        let parts: [Option<&Self>; 3] = match self {
            Self::Not(a) => [Some(a), None, None],
            Self::And(a, b) | Self::Or(a, b) => [Some(a), Some(b), None],
            Self::If(a, b, c) => [Some(a), Some(b), Some(c)],
            _ => [None; 3],
        };
        parts.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
