//! Who may use the admin API.
//!
//! Today there is one role: whoever holds an admin token is [`Admin`]. With `--dev` no login is
//! needed, but the caller must be a program on this machine that means it ([`local`]).

pub mod admin;
pub mod admin_token;
pub mod local;
mod store;
#[cfg(test)]
mod tests;

pub use admin::Admin;
