//! Stories of whole exchanges.

mod judging;
mod metering;
mod routing;
mod surfaces;
