//! What a request asks for: the few facts that policy needs, with their places in the body.

use std::borrow::Cow;
use std::ops::Range;

use crate::Endpoint;
use crate::json::{self, JsonError, Kind, Value};
use crate::member_name::{self, BadName, Meaning};

/// Choices that one request may ask for (`n`, `best_of`): OpenAI's own limit.
pub const MAX_CHOICES: u32 = 128;

/// A request's body, read. It borrows the body, so that [`Request::rewrite`] cannot be given
/// another one than the body that was judged.
#[derive(Clone, Debug)]
pub struct Request<'b> {
    /// The API it is for.
    pub endpoint: Endpoint,
    /// The model as the caller wrote it: 1 to 128 characters of `A-Z a-z 0-9 . _ : / @ + -`, so it
    /// may be shown in a header or a log as it is.
    pub model: Cow<'b, str>,
    /// The answer is to be an event stream.
    pub stream: bool,
    /// `stream_options.include_usage`, if the caller set it.
    pub include_usage: Option<bool>,
    /// Output tokens allowed for one choice. `None`: no bound given. Zero counts as none, because
    /// some servers take it for "unlimited". Only the members that this API defines count: a bound
    /// that the provider ignores is no bound.
    pub max_output_tokens: Option<u64>,
    /// Answers to generate, the larger of `n` and `best_of`: 1 to [`MAX_CHOICES`].
    pub choices: u32,
    /// Length of the body. An upper bound of the input tokens that the body itself carries: in a
    /// byte-level tokeniser every token covers at least one byte, and the wrapping in JSON outweighs
    /// the few tokens that a chat template adds. What the body only refers to (an image's URL, an
    /// earlier response's id, a stored prompt) is not in it; that is settled from the usage
    /// reported.
    pub input_bytes: u64,
    pub(crate) text: &'b str,
    pub(crate) model_span: Range<usize>,
    pub(crate) usage_slot: UsageSlot,
}

/// Where `stream_options.include_usage` is in the body, or would have to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UsageSlot {
    /// There is no `stream_options`: a new member, first in the body's object, which opens before
    /// this offset.
    NewMember(usize),
    /// `stream_options` is `null`, here.
    InsteadOfNull(Range<usize>),
    /// `stream_options` is an object that opens before this offset and lacks the member.
    InObject { at: usize, empty: bool },
    /// The member's value.
    Value(Range<usize>),
}

/// Why a body is refused. The message is for the caller; it names the member at fault and repeats
/// nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not JSON, or JSON that parsers may read differently.
    #[error("the body is not acceptable JSON: {0}")]
    Json(#[from] JsonError),
    /// A required member is absent.
    #[error("`{field}` is required")]
    Missing {
        /// The member.
        field: &'static str,
    },
    /// A member has the wrong type or a value outside its range.
    #[error("`{field}` must be {expected}")]
    Invalid {
        /// The member.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A member's name is close to a governed one without being it.
    #[error("a member's name resembles `{field}`; spell it exactly so, or leave it out")]
    Ambiguous {
        /// The governed name.
        field: &'static str,
    },
    /// A member's name has characters that no API uses.
    #[error("a member's name is not printable ASCII; remove that member")]
    MemberName,
    /// A member that callers may not send.
    #[error("`{field}` is not accepted: the gateway chooses model and provider; remove it")]
    Forbidden {
        /// The member.
        field: &'static str,
    },
    /// Two members contradict each other.
    #[error("`{field}` and `{other}` differ; send only one of them")]
    Conflict {
        /// The one.
        field: &'static str,
        /// The other.
        other: &'static str,
    },
}

impl RequestError {
    /// The member at fault, if it is one.
    pub fn field(&self) -> Option<&'static str> {
        match *self {
            Self::Json(_) | Self::MemberName => None,
            Self::Missing { field }
            | Self::Invalid { field, .. }
            | Self::Ambiguous { field }
            | Self::Forbidden { field }
            | Self::Conflict { field, .. } => Some(field),
        }
    }
}

/// The members of interest, before they are put together.
#[derive(Default)]
struct Found<'b> {
    model: Option<(Cow<'b, str>, Range<usize>)>,
    stream: bool,
    usage_slot: Option<UsageSlot>,
    include_usage: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    n: Option<u32>,
    best_of: Option<u32>,
}

impl<'b> Request<'b> {
    /// Reads a body. The whole of it is checked, however early the facts are found.
    pub fn read(endpoint: Endpoint, body: &'b [u8]) -> Result<Self, RequestError> {
        let text = json::document(body)?;
        let mut found = Found::default();
        for member in json::members(text) {
            let member = member?;
            match judge(&member.key)? {
                Meaning::Governed(name) => found.take(name, &member.value)?,
                Meaning::Forbidden(field) => return Err(RequestError::Forbidden { field }),
                Meaning::Other => {}
            }
        }
        let max_output_tokens = found.max_output_tokens_of(endpoint)?;
        let Some((model, model_span)) = found.model else {
            return Err(RequestError::Missing { field: "model" });
        };
        let inside = text.len() - text.trim_start().len() + 1;
        Ok(Self {
            endpoint,
            model,
            stream: found.stream,
            include_usage: found.include_usage,
            max_output_tokens,
            choices: found.n.unwrap_or(1).max(found.best_of.unwrap_or(1)),
            input_bytes: body.len().try_into().unwrap_or(u64::MAX),
            text,
            model_span,
            usage_slot: found.usage_slot.unwrap_or(UsageSlot::NewMember(inside)),
        })
    }
}

impl<'b> Found<'b> {
    fn take(&mut self, name: &'static str, value: &Value<'b>) -> Result<(), RequestError> {
        match name {
            "model" => self.model = Some((model(value)?, value.span.clone())),
            "stream" => self.stream = boolean(name, value)?.unwrap_or(false),
            "stream_options" => self.take_stream_options(value)?,
            "max_tokens" => self.max_tokens = token_count(name, value)?,
            "max_completion_tokens" => self.max_completion_tokens = token_count(name, value)?,
            "max_output_tokens" => self.max_output_tokens = token_count(name, value)?,
            "n" => self.n = choices(name, value)?,
            "best_of" => self.best_of = choices(name, value)?,
            // The content: governed against disguises, read by whoever inspects content.
            _ => {}
        }
        Ok(())
    }

    fn take_stream_options(&mut self, value: &Value<'b>) -> Result<(), RequestError> {
        let invalid = RequestError::Invalid {
            field: "stream_options",
            expected: "an object or null",
        };
        match value.kind {
            Kind::Null => {
                self.usage_slot = Some(UsageSlot::InsteadOfNull(value.span.clone()));
                return Ok(());
            }
            Kind::Object => {}
            _ => return Err(invalid),
        }
        let mut slot = UsageSlot::InObject {
            at: value.span.start + 1,
            empty: true,
        };
        for member in value.members() {
            let member = member?;
            if judge(&member.key)? == Meaning::Governed("include_usage") {
                self.include_usage = boolean("stream_options.include_usage", &member.value)?;
                slot = UsageSlot::Value(member.value.span);
            } else if let UsageSlot::InObject { empty, .. } = &mut slot {
                *empty = false;
            }
        }
        self.usage_slot = Some(slot);
        Ok(())
    }

    fn max_output_tokens_of(&self, endpoint: Endpoint) -> Result<Option<u64>, RequestError> {
        let given = match endpoint {
            Endpoint::ChatCompletions => match (self.max_tokens, self.max_completion_tokens) {
                (Some(old), Some(new)) if old != new => {
                    return Err(RequestError::Conflict {
                        field: "max_tokens",
                        other: "max_completion_tokens",
                    });
                }
                (old, new) => new.or(old),
            },
            Endpoint::Responses => self.max_output_tokens,
            Endpoint::Messages => self.max_tokens,
            Endpoint::Embeddings => None,
        };
        Ok(given.filter(|&tokens| tokens > 0))
    }
}

fn judge(name: &str) -> Result<Meaning, RequestError> {
    member_name::judge(name).map_err(|bad| match bad {
        BadName::NotAscii => RequestError::MemberName,
        BadName::Resembles(field) => RequestError::Ambiguous { field },
    })
}

fn model<'b>(value: &Value<'b>) -> Result<Cow<'b, str>, RequestError> {
    let in_charset = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
    match value.kind {
        Kind::String(text) => Some(text.decode()),
        _ => None,
    }
    .filter(|name| (1..=128).contains(&name.len()) && name.bytes().all(in_charset))
    .ok_or(RequestError::Invalid {
        field: "model",
        expected: "a string of 1 to 128 letters, digits and . _ : / @ + -",
    })
}

/// `null` is the same as absent, as both vendors have it.
fn boolean(field: &'static str, value: &Value<'_>) -> Result<Option<bool>, RequestError> {
    match value.kind {
        Kind::Boolean(flag) => Ok(Some(flag)),
        Kind::Null => Ok(None),
        _ => Err(RequestError::Invalid {
            field,
            expected: "true, false or null",
        }),
    }
}

fn token_count(field: &'static str, value: &Value<'_>) -> Result<Option<u64>, RequestError> {
    whole_number(value, 0..=u32::MAX)
        .map(|count| count.map(u64::from))
        .ok_or(RequestError::Invalid {
            field,
            expected: "a whole number from 0 to 4294967295, or null",
        })
}

fn choices(field: &'static str, value: &Value<'_>) -> Result<Option<u32>, RequestError> {
    whole_number(value, 1..=MAX_CHOICES).ok_or(RequestError::Invalid {
        field,
        expected: "a whole number from 1 to 128, or null",
    })
}

/// Outer `None`: not a number in the range. Inner `None`: `null`.
#[expect(
    clippy::option_option,
    reason = "bad, null and a number are three answers"
)]
fn whole_number(value: &Value<'_>, range: std::ops::RangeInclusive<u32>) -> Option<Option<u32>> {
    if value.kind == Kind::Null {
        return Some(None);
    }
    let number = u32::try_from(value.as_u64()?).ok()?;
    range.contains(&number).then_some(Some(number))
}
