//! Black-box tests, one binary.
//!
//! | module | what it shows |
//! |---|---|
//! | `golden` | the recorded wire formats and the table of what is expected of each |
//! | `bodies` | usage of JSON responses |
//! | `streams` | usage of event streams; the usage chunk taken out; cutting changes nothing |
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

mod bodies;
#[cfg(not(target_arch = "wasm32"))]
mod differential;
mod golden;
mod requests;
mod rewriting;
mod streams;
