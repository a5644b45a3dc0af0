//! The control plane: admin API, policy, ledger.
//!
//! One folder per resource, the same file names in each: `mod.rs` (the type and its rules, pure),
//! `routes.rs` (HTTP), `store.rs` (SQL), `tests.rs` (through the router, on both databases).
//! `virtual_keys` is the folder to copy; `docs/adding-a-resource.md` says how.
//!
//! Architecture invariants: only `db/` names a driver; only `config.rs` reads the environment, only
//! `clock.rs` the clock; only `error.rs` knows the statuses of errors; every mutation is one
//! transaction together with its row in `policy_changes`.

pub mod ads;
pub mod app;
pub mod auth;
pub mod bootstrap;
pub mod clock;
pub mod config;
pub mod coverage;
pub mod customers;
pub mod db;
pub mod demo_provider;
pub mod error;
pub mod explain;
pub mod health;
pub mod http;
pub mod invalid;
pub mod ledger;
pub mod limits;
pub mod logging;
pub mod model_configs;
pub mod models;
pub mod name;
pub mod node_identity;
pub mod policy_changes;
pub mod policy_sync;
pub mod pricing_overrides;
pub mod provider_shares;
pub mod providers;
pub mod random;
pub mod router;
pub mod routing_rules;
pub mod secrets;
pub mod serve;
pub mod settings;
pub mod teams;
#[cfg(test)]
pub mod testing;
pub mod tokens;
pub mod up;
pub mod usage;
pub mod virtual_keys;
pub mod weight;
