//! What a request asks for: the few facts that policy needs, with their places in the body.
//!
//! | file | idea |
//! |---|---|
//! | `member_name` | which names decide something, and which only look as if they did |
//! | `inside` | names deep inside that decide something |
//! | `values` | the values of governed members |
//! | `flat` | bodies with everything at the top: OpenAI, Anthropic, Cohere |
//! | `gemini`, `bedrock` | bodies with objects inside |
//! | `form` | multipart bodies |
//! | `rewrite` | the body to forward |

mod bedrock;
mod flat;
mod form;
mod gemini;
mod inside;
mod member_name;
mod rewrite;
mod stored_items;
mod values;

use std::borrow::Cow;
use std::ops::Range;

pub use rewrite::{Rewritten, cap_output};

use crate::endpoint::BodyKind;
use crate::json::{self, JsonError};
use crate::multipart::{MultipartError, Part};
use crate::{Endpoint, ServiceTier, WireFormat};
use member_name::{BadName, Meaning, Names};

/// Choices that one request may ask for (`n`, `best_of`): OpenAI's own limit.
pub const MAX_CHOICES: u32 = 128;

/// A request's body as it came.
#[derive(Clone, Copy, Debug)]
pub enum Body<'b> {
    /// `application/json`.
    Json(&'b [u8]),
    /// `multipart/form-data`.
    Form {
        /// What stands between its parts ([`crate::multipart::boundary`]).
        boundary: &'b [u8],
        /// The body.
        bytes: &'b [u8],
    },
}

/// A request's body, read. It borrows the body, so that [`Request::rewrite`] cannot be given
/// another one than the body that was judged.
#[derive(Clone, Debug)]
pub struct Request<'b> {
    /// The API it is for.
    pub endpoint: Endpoint,
    /// The model as the caller wrote it, in body or path: [`crate::is_model_name`], so it may be
    /// shown in a header or a log as it is.
    pub model: Cow<'b, str>,
    /// The answer is to be a stream.
    pub stream: bool,
    /// `stream_options.include_usage`, if the caller set it.
    pub include_usage: Option<bool>,
    /// Output tokens allowed for one choice. `None`: no bound given. Zero counts as none, because
    /// some servers take it for "unlimited". Only the members that this API defines count: a bound
    /// that the provider ignores is no bound.
    pub max_output_tokens: Option<u64>,
    /// What to try if the model does not answer, each with its provider in front. `None`: the caller does
    /// not say.
    pub fallbacks: Option<Vec<String>>,
    /// Where they stand in the body, with a comma.
    fallbacks_span: Option<Range<usize>>,
    /// Where the members that set this bound have their numbers.
    output_slots: Vec<Range<usize>>,
    /// How the provider is to serve it. `None`: the caller does not say.
    pub service_tier: Option<ServiceTier>,
    /// Answers to generate: the larger of `n` and `best_of` (or what the API calls them), times the
    /// prompts in one request. At least 1.
    pub choices: u64,
    /// Documents to rank.
    pub documents: u64,
    /// Characters to speak.
    pub characters: u64,
    /// Length of the body. An upper bound of the input tokens that the body itself carries as text:
    /// in a byte-level tokeniser every token covers at least one byte, and the wrapping in JSON
    /// outweighs the few tokens that a chat template adds. What the body only refers to (an image's
    /// URL) is not in it; that is settled from the usage reported.
    pub input_bytes: u64,
    body: &'b [u8],
    model_slot: ModelSlot<'b>,
    usage_slot: UsageSlot,
}

/// Where the model's name is in the body, or would have to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ModelSlot<'b> {
    /// A JSON string, here.
    Json(Range<usize>),
    /// The path names it, and the body does not: a new member, first in the object that opens before
    /// this offset.
    NewMember { at: usize, empty: bool },
    /// This part of a form.
    Part { boundary: &'b [u8], part: Part<'b> },
    /// The path names it, and the form does not: a new part in front of the first.
    NewPart { boundary: &'b [u8] },
    /// In the path, there as well as at the provider.
    InPath,
}

/// Where `stream_options.include_usage` is in the body, or would have to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
enum UsageSlot {
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
    /// Not a form, or a form that parsers may read differently.
    #[error("the body is not an acceptable form: {0}")]
    Form(#[from] MultipartError),
    /// A body of another kind than the API has.
    #[error("this API takes a body of another kind")]
    OtherKind,
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
    /// A member stands there in two spellings.
    #[error("`{field}` stands there in two spellings; send one of them")]
    TwoSpellings {
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
    /// A member that refers to something kept at the provider, or keeps something there.
    #[error(
        "`{field}` is not accepted: what is kept at the provider belongs to all virtual keys \
         together; send what it refers to in the request"
    )]
    StoredObject {
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
    /// Path and body name different models.
    #[error("path and body name different models: name it in the path only")]
    ModelConflict,
}

impl RequestError {
    /// The member at fault, if it is one.
    pub fn field(&self) -> Option<&'static str> {
        match *self {
            Self::Json(_) | Self::Form(_) | Self::OtherKind | Self::MemberName => None,
            Self::Missing { field }
            | Self::Invalid { field, .. }
            | Self::Ambiguous { field }
            | Self::TwoSpellings { field }
            | Self::Forbidden { field }
            | Self::StoredObject { field }
            | Self::Conflict { field, .. } => Some(field),
            Self::ModelConflict => Some("model"),
        }
    }
}

/// What a body says, before it is put together with the path.
struct Facts<'b> {
    /// The model, and its place.
    model: Option<(Cow<'b, str>, ModelSlot<'b>)>,
    stream: bool,
    include_usage: Option<bool>,
    usage_slot: UsageSlot,
    max_output_tokens: Option<u64>,
    output_slots: Vec<Range<usize>>,
    service_tier: Option<ServiceTier>,
    choices: u64,
    documents: u64,
    characters: u64,
    fallbacks: Option<Vec<String>>,
    fallbacks_span: Option<Range<usize>>,
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            model: None,
            stream: false,
            include_usage: None,
            usage_slot: UsageSlot::NewMember(0),
            max_output_tokens: None,
            output_slots: Vec::new(),
            service_tier: None,
            choices: 1,
            documents: 0,
            characters: 0,
            fallbacks: None,
            fallbacks_span: None,
        }
    }
}

impl Facts<'_> {
    /// Takes the only bound that there is.
    fn bound_output(&mut self, bound: Option<values::Bound>) {
        self.max_output_tokens = bound.as_ref().map(|bound| bound.tokens);
        self.output_slots = bound.into_iter().map(|bound| bound.span).collect();
    }
}

impl<'b> Request<'b> {
    /// Reads a body. The whole of it is checked, however early the facts are found. `path_model` is
    /// the model that the path names.
    pub fn read(
        endpoint: Endpoint,
        path_model: Option<&'b str>,
        body: Body<'b>,
    ) -> Result<Self, RequestError> {
        let (bytes, facts, absent) = match (endpoint.body(), body) {
            (BodyKind::Json, Body::Json(bytes)) => {
                let text = json::document(bytes)?;
                let facts = match endpoint.home() {
                    WireFormat::Gemini => gemini::read(path_model.unwrap_or_default(), text)?,
                    WireFormat::Bedrock => {
                        bedrock::read(endpoint, path_model.unwrap_or_default(), text)?
                    }
                    WireFormat::OpenAi | WireFormat::Anthropic | WireFormat::Cohere => {
                        flat::read(endpoint, text)?
                    }
                };
                let at = object_start(text);
                let empty = text.get(at..).unwrap_or_default().trim() == "}";
                (bytes, facts, ModelSlot::NewMember { at, empty })
            }
            (BodyKind::Multipart, Body::Form { boundary, bytes }) => {
                let facts = form::read(boundary, bytes)?;
                (bytes, facts, ModelSlot::NewPart { boundary })
            }
            _ => return Err(RequestError::OtherKind),
        };
        let (model, model_slot) = match (facts.model, path_model) {
            (Some((model, _)), Some(in_path)) if model != in_path => {
                return Err(RequestError::ModelConflict);
            }
            (Some(named), _) => named,
            (None, Some(in_path)) if endpoint.names_model_in_path() => {
                (in_path.into(), ModelSlot::InPath)
            }
            (None, Some(in_path)) => (in_path.into(), absent),
            (None, None) => return Err(RequestError::Missing { field: "model" }),
        };
        let max_output_tokens = facts.max_output_tokens.filter(|&tokens| tokens > 0);
        Ok(Self {
            endpoint,
            model,
            stream: facts.stream || endpoint.always_streams(),
            include_usage: facts.include_usage,
            output_slots: max_output_tokens.map_or_else(Vec::new, |_| facts.output_slots),
            max_output_tokens,
            service_tier: facts.service_tier,
            choices: facts.choices,
            documents: facts.documents,
            characters: facts.characters,
            fallbacks: facts.fallbacks,
            fallbacks_span: facts.fallbacks_span,
            input_bytes: bytes.len().try_into().unwrap_or(u64::MAX),
            body: bytes,
            model_slot,
            usage_slot: facts.usage_slot,
        })
    }
}

/// Where the first member of the object that `text` is stands, or would stand.
fn object_start(text: &str) -> usize {
    let white = text.len().saturating_sub(text.trim_start().len());
    white.saturating_add(1)
}

/// Judges a name by a dialect's names.
fn judge(names: &Names, name: &str) -> Result<Meaning, RequestError> {
    match names.judge(name) {
        Ok(Meaning::Forbidden(field)) => Err(RequestError::Forbidden { field }),
        Ok(meaning) => Ok(meaning),
        Err(BadName::NotAscii) => Err(RequestError::MemberName),
        Err(BadName::Resembles(field)) => Err(RequestError::Ambiguous { field }),
    }
}
