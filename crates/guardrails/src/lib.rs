//! Text in, findings out: personal data, secrets and prompt injection in what goes to a model and
//! what comes back.
//!
//! **Guarantee:** no I/O, no clock, no randomness; linear time on any text.
//!
//! The crate holds its place in the arrows (a leaf: it imports no other crate of ours) until the
//! first detector is written.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
