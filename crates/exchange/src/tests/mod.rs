//! Stories of whole exchanges.

mod boundary;
mod chains;
mod judging;
mod metering;
mod pricing;
mod reserving;
mod routing;
mod surfaces;
mod units;
