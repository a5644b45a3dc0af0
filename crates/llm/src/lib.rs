//! Reads and writes the wire formats of LLM vendors: which API a path is, what a request asks for,
//! what a response says it used, and how an error looks to the caller's SDK.
//!
//! **Guarantee:** this crate does no I/O, reads no clock, draws no random number and knows no
//! policy. Whatever bytes it is given, it answers with a value: it does not panic, does not recurse
//! on the input's depth, and takes time linear in the input's length. It builds natively and for
//! wasm32.
//!
//! Three invariants carry the weight:
//!
//! * **What was judged is what is sent.** A body is only accepted if every parser reads the same
//!   model, limits and flags from it ([`Request::read`]); it is changed by splicing those very bytes
//!   ([`Request::rewrite`]).
//! * **Only the provider's own accounting is believed.** Usage is read from its one place in a
//!   response, never from text that looks like it ([`read_usage`], [`ResponseMeter`]).
//! * **How a stream is cut into chunks changes nothing**: neither the usage read nor the bytes
//!   passed on.
//!
//! A request goes through [`find`], [`judge_query`], [`Request::read`], [`split_model`] and
//! [`Request::rewrite`]; its response through [`ResponseMeter`] to [`Metered`]; a refusal through
//! [`render_error`].

#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::as_conversions, clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod aws_event_stream;
mod endpoint;
mod error_body;
pub mod json;
pub mod json_array;
mod media_type;
mod meter;
mod model_list;
mod model_name;
pub mod multipart;
mod path;
mod path_entries;
mod path_table;
mod query;
mod request;
mod sanitise;
mod service_tier;
pub mod sse;
mod usage;
mod wire_format;

pub use endpoint::{BodyKind, Endpoint, Output};
pub use error_body::{ErrorBody, error_header, render_error};
pub use json::Scalar;
pub use media_type::{is_event_stream, is_json};
pub use meter::{MAX_BODY_BYTES, Metered, ResponseHead, ResponseMeter, wants_count_headers};
pub use model_list::{ListedModel, render_model, render_models};
pub use model_name::{is_model_name, split_model};
pub use path::{Found, Match, PathError, find, split_query};
pub use path_entries::{Entry, ModelPlace, entries, place_of};
pub use path_table::Unserved;
pub use query::{QueryError, judge_query};
pub use request::{Body, MAX_CHOICES, Request, RequestError, Rewritten, cap_output};
pub use sanitise::sanitise;
pub use service_tier::ServiceTier;
pub use usage::bedrock::COUNT_HEADERS;
pub use usage::{Usage, UsageError, read_usage};
pub use wire_format::WireFormat;
