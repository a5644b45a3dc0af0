//! The ledger: what was used, by whom, and what it cost.
//!
//! Every Envoy numbers its usage records from 1 within one life of its process. A batch is stored in
//! one transaction: the records, what they are charged to each limit, and how far this Envoy's
//! numbers are now stored. So a record counts exactly once, however often it is sent, and an
//! acknowledgement is never ahead of the database.
//!
//! Invariants: nothing here reads or writes configuration, but for the periods of limits. A record
//! that breaks a rule is kept as it came, with the reason, and never blocks those behind it.

pub mod cost_report;
mod cost_routes;
#[cfg(test)]
mod cost_tests;
mod csv;
pub mod days;
pub mod ingest;
pub mod report;
pub mod routes;
pub mod spent;
pub mod store;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;

pub use tokens::Tokens;

/// One life of one Envoy process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Boot {
    /// Envoy's node id.
    pub node_id: String,
    /// This life of it.
    pub boot_id: String,
}
