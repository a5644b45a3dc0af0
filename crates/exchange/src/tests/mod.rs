//! Stories of whole exchanges.

mod adaptive;
mod boundary;
mod chains;
mod dialects;
mod judging;
mod leaving_out;
mod metering;
mod pricing;
mod reserving;
mod routing;
mod routing_rules;
mod surfaces;
mod units;
