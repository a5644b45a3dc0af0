//! One HTTP exchange, phase by phase: what came in, what to do about it.
//!
//! **Guarantee:** no I/O, no clock, no randomness, no host. The shell (`filter-wasm`) calls these
//! functions from Envoy's callbacks and does what they answer; a test calls them with values.
//!
//! | phase | function | looks at | answers |
//! |---|---|---|---|
//! | request headers | [`head::judge_headers`] | path table (403, 404, 405) → policy there (503) → required headers (400) → credential (400, 401, 403) → query (400) → framing of the body (413, 415) | [`head::Admitted`] or [`Denial`] |
//! | request body | [`request::judge_body`] | JSON or form (400) → provider and model access (403) → price (402) | [`chain::Chain`] or [`Denial`] |
//! | reservation | the shell, with [`reeve_policy::lease::Worker`] | every limit of the chain, all or none | go on, or [`chain::Chain::shortened`] (402, 429) |
//! | response | [`response::Metering`] | status, body as it streams | bytes to pass on |
//! | end | [`response::Metering::settle`] | what the provider reported, or an estimate | [`response::Settlement`] |
//!
//! [`reply::render`] alone knows statuses, headers and the shape of a refusal.
//!
//! Architecture invariants: nothing is reserved before every check has passed; nothing from the
//! request is echoed except names whose characters were checked; a refusal is a value, never an
//! error.
#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::as_conversions, clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod allowance;
pub mod chain;
pub mod credentials;
pub mod denial;
pub mod edit;
pub mod head;
pub mod headers;
mod models;
pub mod observed;
pub mod pricing;
pub mod reply;
pub mod request;
pub mod reservation;
pub mod response;
pub mod route;
pub mod rules;
mod units;

pub use denial::Denial;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
