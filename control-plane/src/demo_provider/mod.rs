//! `reeve demo-provider`: a small, honest LLM server for tests and newcomers.
//!
//! It speaks the wire formats of OpenAI (chat completions, responses, embeddings, models) and of
//! Anthropic (messages), streaming and not, so that the vendors' own SDKs work with it. Nothing in
//! it is intelligent and nothing in it is random: the same request gets the same text, and the
//! usage it reports is counted by one simple rule (see `text.rs`) from what was really sent and
//! really answered.
//!
//! # Steering
//!
//! A request steers its own answer by headers (see `steering.rs`):
//!
//! | header | effect |
//! |---|---|
//! | `x-demo-output-tokens: 500` | the answer has exactly this many tokens, unless the request's own maximum is lower |
//! | `x-demo-cached-tokens: 20` | report up to this many prompt tokens as read from a cache |
//! | `x-demo-delay-ms: 200` | wait before answering anything |
//! | `x-demo-chunk-delay-ms: 10` | wait before each chunk of text in a stream |
//! | `x-demo-fault: demo=503, spare=cut:3` | misbehave; each instance obeys only its own `--name` |
//!
//! Faults: a status from 400 to 599, `hang` (never answer), `close` (close the connection without
//! an answer), `cut:<chunks>` (break the answer off after so many chunks of text; an answer that is
//! not streamed breaks in the middle of its body).
//!
//! # The truth about what was served
//!
//! * `GET /_demo/stats`: `requests` counts every call of a model that reached this server, whatever
//!   became of it. `models` counts what was served, per model: a call counts there, with its prompt
//!   tokens (cached ones included), from the moment it is accepted; its output tokens count as each
//!   chunk is handed to the socket, so an aborted stream counts what was sent of it. A call that was
//!   refused, or failed by a fault before its answer began, served nothing and is not in `models`.
//! * `GET /_demo/last`: the last request as it arrived: method, target, headers and body.
//! * `POST /_demo/reset`: forget both.
//!
//! Absent on purpose: tool calls (tools are accepted, counted as prompt and never called), images
//! in the answer, sampling parameters (accepted, without effect).

mod anthropic;
mod fields;
mod last;
mod openai;
mod prompt;
mod refusal;
mod reply;
mod routes;
mod server;
mod stats;
mod steering;
mod text;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use tokio::net::TcpListener;

use self::last::LastRequest;
use self::stats::Stats;
use crate::clock::Clock;

/// One demo provider: its name, its clock and what it remembers.
pub struct Demo {
    /// The name that `x-demo-fault` addresses.
    name: String,
    /// For the `created` fields of answers.
    clock: Clock,
    stats: Stats,
    last: LastRequest,
    answers: AtomicU64,
}

impl Demo {
    /// A demo provider that has served nothing yet.
    pub fn new(name: impl Into<String>, clock: Clock) -> Self {
        Self {
            name: name.into(),
            clock,
            stats: Stats::default(),
            last: LastRequest::default(),
            answers: AtomicU64::new(0),
        }
    }

    /// Seconds since the Unix epoch.
    fn now(&self) -> i64 {
        self.clock.now_ms().div_euclid(1000)
    }

    /// A number for the next answer's id; the first is 1.
    fn next_answer(&self) -> u64 {
        self.answers
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }
}

/// Every URL of the demo provider.
///
/// The fault `close` needs the connection too: it works under [`run`], not in the router alone.
pub fn router(demo: Demo) -> Router {
    routes::router(demo)
}

/// Serves `demo` on `listener` until `shutdown` resolves; open answers then have a moment to end.
///
/// # Errors
/// Only when the listener itself fails; what goes wrong on one connection ends that connection.
pub async fn run(
    demo: Demo,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    server::run(router(demo), listener, shutdown).await
}
