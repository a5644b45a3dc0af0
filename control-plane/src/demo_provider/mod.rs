//! `reeve demo-provider`: a small, honest LLM server for tests and newcomers.
//!
//! It speaks the wire formats of
//!
//! * OpenAI: chat completions, completions, responses, embeddings, images, speech, transcriptions and
//!   translations, moderations, models;
//! * Anthropic: messages, counting tokens, and OpenAI's chat completions at OpenAI's own path;
//! * Gemini: generating content, counting tokens, embedding, models, and OpenAI's chat completions,
//!   embeddings, images and models under `/v1beta/openai`;
//! * Bedrock: converse and invoke (Anthropic's messages, Titan's text and embeddings);
//! * Cohere: chat, embed, rerank (the latter in the form of Jina and others too), and OpenAI's chat
//!   completions under `/compatibility/v1`;
//!
//! streaming and not, so that the vendors' own SDKs work with it. Nothing in it is intelligent and
//! nothing in it is random: the same request gets the same text, and the usage it reports is counted
//! by one simple rule (see `text.rs`) from what was really sent and really answered.
//!
//! # Steering
//!
//! A request steers its own answer by headers (see `steering.rs`):
//!
//! | header | effect |
//! |---|---|
//! | `x-demo-output-tokens: 500` | the answer (each of several) has exactly this many tokens, unless the request's own maximum is lower |
//! | `x-demo-service-tier: flex` | the answer says that it was served in this tier; else in the one that was asked for, if that is `flex` or `priority` |
//! | `x-demo-reasoning-tokens: 50` | the first tokens of the answer, at most all, are thoughts: they count as output and are not shown |
//! | `x-demo-cached-tokens: 20` | report up to this many prompt tokens as read from a cache |
//! | `x-demo-cache-write-tokens: 30` | report up to this many of the others as written to a cache for five minutes |
//! | `x-demo-cache-write-1h-tokens: 30` | report up to this many of the rest as written to a cache for an hour |
//! | `x-demo-usage: absent` | report no usage |
//! | `x-demo-usage: {"a":` | report this text as usage, exactly as it is; it need not be JSON |
//! | `x-demo-encoding: gzip` | compress the answer by `gzip`, `deflate` or `br`, whatever the request accepts |
//! | `x-demo-delay-ms: 200` | wait before answering anything |
//! | `x-demo-chunk-delay-ms: 10` | wait before each chunk of text in a stream |
//! | `x-demo-fault: demo=503, spare=cut:3` | misbehave; each instance obeys only its own `--name` |
//!
//! Where a format has no place for something, the header has no effect:
//!
//! * thoughts: OpenAI's chat completions, completions and responses, and Gemini. They count when the
//!   answer begins, and are no chunks of text;
//! * read from a cache: those, Anthropic (on Bedrock too), Bedrock's converse, Cohere's chat;
//! * written to a cache: Anthropic (on Bedrock too), Bedrock's converse;
//! * usage: whatever reports any, everywhere in its answer. Where usage is a single number (Titan's
//!   counts, Bedrock's headers) the text stands for each. In a stream of OpenAI's (chat) completions
//!   there is usage only if the request asks for it, and `absent` is as if it had not.
//!
//! Faults: a status from 400 to 599, `hang` (never answer), `close` (close the connection without
//! an answer), `cut:<chunks>` (break the answer off after so many chunks of text; an answer that is
//! not streamed breaks in the middle of its body).
//!
//! # What is no text
//!
//! Four bytes are a token, the last ones may be fewer, whatever they are:
//!
//! * a picture in an answer is four bytes of PNG for each of its tokens, of which it has 64 unless
//!   steered; in a stream it counts when it is complete, and what is shown before is free;
//! * speech is four bytes for each token, and has as many tokens as the text unless steered;
//! * a picture, a mask or a recording that is sent in a form has a token for every four bytes.
//!
//! Not billed by tokens: Whisper reports a second for every 16,000 bytes of a recording, and
//! reranking a search unit for every 100 documents, both rounded up.
//!
//! # The truth about what was served
//!
//! * `GET /_demo/stats`: `requests` counts every call of a model that reached this server, whatever
//!   became of it. `models` counts what was served, per model: a call counts there, with its prompt
//!   tokens (cached ones included), from the moment it is accepted; its output tokens count as each
//!   chunk is handed to the socket, so an aborted stream counts what was sent of it. A call that was
//!   refused, or failed by a fault before its answer began, served nothing and is not in `models`.
//!   What is free (moderations, counting tokens) or not billed by tokens (Whisper, Cohere's rerank) is
//!   a request with no tokens; `/v1/rerank` reports tokens, and they count. Gemini's embeddings report
//!   none, and theirs count all the same, because they are billed.
//! * `GET /_demo/last`: the last request as it arrived: method, target, headers and body. A body
//!   that is not UTF-8 is there as base64 too.
//! * `POST /_demo/reset`: forget both.
//!
//! # Tools
//!
//! Tools are counted as prompt. In OpenAI's chat completions one is called when `tool_choice` names it or
//! says `required`; the answer's text is its argument `text`. Elsewhere none is called.
//!
//! Absent on purpose: images in the answer of a conversation, sampling parameters (accepted, without
//! effect).

mod anthropic;
mod bedrock;
mod cache;
mod call;
mod cohere;
mod encoding;
mod events;
mod fields;
mod form;
mod gemini;
mod last;
mod objects;
mod openai;
mod prompt;
mod refusal;
mod reply;
mod routes;
mod sending;
mod server;
mod serving;
mod stats;
mod steering;
mod text;
mod usage;
mod vector;

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
    numbers: AtomicU64,
}

impl Demo {
    /// A demo provider that has served nothing yet.
    pub fn new(name: impl Into<String>, clock: Clock) -> Self {
        Self {
            name: name.into(),
            clock,
            stats: Stats::default(),
            last: LastRequest::default(),
            numbers: AtomicU64::new(0),
        }
    }

    /// Seconds since the Unix epoch.
    fn now(&self) -> i64 {
        self.clock.now_ms().div_euclid(1000)
    }

    /// A number for the next id; the first is 1.
    fn next_number(&self) -> u64 {
        self.numbers
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    /// An id for one request, answered or refused.
    fn request_id(&self) -> String {
        format!("req-{}-{}", self.name, self.next_number())
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
