//! The wire between filter and control plane: generated messages, and their conversion to policy
//! values.

pub mod convert;
pub mod v1;
