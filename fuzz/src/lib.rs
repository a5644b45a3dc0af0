//! What several targets share: how an input is laid out, how a stream is cut, a policy to judge by,
//! and other readers as witnesses.
//!
//! Inputs are text where that can be: a first line of words that says what the rest is, then the
//! rest. So a seed or a finding can be read, and written by hand.

pub mod frames;
pub mod input;
pub mod metering;
pub mod policy;
pub mod requests;
pub mod strict_json;
pub mod usage;
