//! Black-box tests, one binary.
//!
//! | module | what it shows |
//! |---|---|
//! | `golden` | the answers of every provider, and the table of what each says was used |
//! | `frames` | writes Amazon's event streams |
//! | `answers` | usage of every answer |
//! | `chunking` | no way of cutting an answer changes anything, and no part of one is free |
//! | `counts` | numbers that are no counts of tokens |
//! | `forgery` | text that tries to pass for usage (native only) |
//! | `streams` | when a stream's word is final, and the usage chunk that is taken out |
//! | `paths` | which API a path is; the table, under every prefix |
//! | `spellings` | paths that are written otherwise (R-20) |
//! | `models_in_paths` | models in paths, and where requests go |
//! | `queries` | what of a query goes on |
//! | `requests` | what is read from a request, and what is refused |
//! | `rewriting` | the body that is forwarded |
//! | `differential` | whatever we accept, another parser reads the same way (native only) |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod chunking;
mod counts;
#[cfg(not(target_arch = "wasm32"))]
mod differential;
#[cfg(not(target_arch = "wasm32"))]
mod forgery;
mod frames;
mod golden;
mod models_in_paths;
mod paths;
mod queries;
mod requests;
mod rewriting;
mod spellings;
mod streams;
