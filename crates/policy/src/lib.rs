//! Decides. Keys, limits, money and time are values here; the answer to "may this request pass,
//! and what does it cost whom" is a function of its arguments.
//!
//! **Guarantee:** this crate does no I/O, reads no clock, draws no random number, and knows neither
//! HTTP nor any vendor's JSON. It builds natively and for wasm32, so that the filter and the control
//! plane decide with the same code.
//!
//! The model in prose: a [virtual key](virtual_key::VirtualKey) belongs to a team or a customer and
//! lists the [providers and models](access) it may use. Customer, team, key and provider config each
//! carry [limits](limit) (budgets and rate limits are the same thing with another
//! [metric](limit::Metric)). A request reserves its [price](price) under every limit that applies,
//! all or none, and settles when its usage is known.
//!
//! Architecture invariants: no float holds money; an amount is never rounded in the caller's favour;
//! a limit's usage is never part of its configuration.
#![forbid(unsafe_code)]
#![deny(missing_docs, clippy::as_conversions, clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod access;
pub mod calendar;
pub mod expression;
pub mod key_format;
pub mod lease;
pub mod limit;
pub mod model_limits;
pub mod money;
pub mod pattern;
pub mod period;
pub mod price;
pub mod price_list;
pub mod price_override;
pub mod required_headers;
pub mod reservation;
pub mod retry;
pub mod routing;
pub mod routing_rules;
pub mod shares;
pub mod units;
pub mod view;
pub mod virtual_key;
