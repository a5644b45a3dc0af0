//! Secrets: how they are held in memory and how they are kept at rest.
//!
//! Invariant: a secret leaves [`Secret`] only through [`Secret::expose`], so that `grep expose`
//! lists every place that can leak one.

mod encryption_key;
mod sealed;
mod secret;

pub use encryption_key::{KeyError, load_or_create};
pub use sealed::{Place, SealError, SealingKey};
pub use secret::Secret;
