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
//!   response, never from text that looks like it ([`read_usage`], [`StreamMeter`]).
//! * **How a stream is cut into chunks changes nothing**: neither the usage read nor the bytes
//!   passed on.
//!
//! A request goes through [`endpoint::find`], [`Request::read`], [`split_model`] and
//! [`Request::rewrite`]; its response through [`StreamMeter`] or [`BodyMeter`] to [`Metered`]; a
//! refusal through [`render_error`].

mod body_meter;
pub mod endpoint;
mod error_body;
mod event_meter;
pub mod json;
mod media_type;
mod member_name;
mod metered;
mod model_name;
mod request;
mod rewrite;
mod sanitise;
pub mod sse;
mod stream;
mod usage;
mod wire_format;

pub use body_meter::{BodyMeter, MAX_BODY_BYTES};
pub use endpoint::{
    Endpoint, EndpointError, Match, dialect_of, find, query_without_credentials, split_query,
};
pub use error_body::{ErrorBody, render_error};
pub use json::Scalar;
pub use media_type::{is_event_stream, is_json};
pub use metered::Metered;
pub use model_name::split_model;
pub use request::{MAX_CHOICES, Request, RequestError};
pub use rewrite::Rewritten;
pub use sanitise::sanitise;
pub use stream::StreamMeter;
pub use usage::{Usage, UsageError, read_usage};
pub use wire_format::WireFormat;
