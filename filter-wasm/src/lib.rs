//! Shell 1: the filter in Envoy. Callbacks come in, the pure crates decide, hostcalls go out.
//!
//! One module, three roles, told apart by `root_id`:
//!
//! * `sync` ([`sync`]): holds the stream to the control plane; policy down, usage up.
//! * `governance` ([`governance`]): judges each request, meters each response.
//! * `attempt` ([`attempt`]): in the provider's cluster; host, path, no private header.
//!
//! Every worker has one VM for its `governance` and `attempt`, the main thread one for `sync`; all
//! VMs of a process meet in [shared data](shared).
//!
//! Architecture invariants: only [`host`] makes hostcalls, through [`abi`], which cannot panic; nothing
//! a client, a provider or the control plane sends can; no decision is made here.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::float_arithmetic
)]

mod abi;
mod access_log;
mod attempt;
mod config;
#[cfg(feature = "fault-injection")]
mod fault;
mod flights;
mod forwarded;
mod governance;
mod history;
mod host;
mod instructions;
mod leadership;
mod limits;
mod metrics;
mod observed;
mod outbox;
mod policy_cache;
mod root;
mod shared;
mod slots;
mod sync;
mod usage_record;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context_id| Box::new(root::Root::new(context_id)));
}}
