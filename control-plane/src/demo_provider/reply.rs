//! An answer on its way to the socket: paced, cut short if asked to, and counted.

use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::{Stream, stream};
use serde_json::Value;

use super::Demo;
use super::steering::{Fault, Steering};

/// What a vendor's module has to say to one request.
pub(super) struct Reply {
    /// The model that was asked for.
    pub(super) model: String,
    /// Tokens of the prompt, cached ones included.
    pub(super) input_tokens: u64,
    /// The answer itself.
    pub(super) content: Content,
}

/// The two kinds of answers.
pub(super) enum Content {
    /// One JSON body, with the tokens it carries.
    Whole { body: Value, output_tokens: u64 },
    /// Server-sent events.
    Events(Frames),
}

/// The frames of a stream, made one by one.
pub(super) type Frames = Box<dyn Iterator<Item = Frame> + Send>;

/// Some bytes of an answer.
pub(super) struct Frame {
    bytes: Bytes,
    /// Tokens of the answer's text in them; one for a chunk of text, none for what stands around it.
    tokens: u64,
}

impl Frame {
    /// An event that has no name, as in OpenAI's chat completions.
    pub(super) fn data(data: &str, tokens: u64) -> Self {
        Self {
            bytes: format!("data: {data}\n\n").into(),
            tokens,
        }
    }

    /// An event whose name is the `type` of its data.
    pub(super) fn event(name: &str, data: &Value, tokens: u64) -> Self {
        Self {
            bytes: format!("event: {name}\ndata: {data}\n\n").into(),
            tokens,
        }
    }
}

impl Reply {
    /// The response. Its tokens are counted as the socket takes them.
    pub(super) fn into_response(self, demo: &Arc<Demo>, steering: &Steering) -> Response {
        let cut = match steering.fault {
            Some(Fault::Cut(chunks)) => Some(chunks),
            _ => None,
        };
        let meter = Meter {
            demo: Arc::clone(demo),
            model: self.model,
            sent: 0,
            complete: false,
        };
        match self.content {
            Content::Whole {
                body,
                output_tokens,
            } => whole(&body.to_string(), output_tokens, cut.is_some(), meter),
            Content::Events(frames) => {
                let delay = steering.chunk_delay;
                let body = Paced {
                    frames: frames.peekable(),
                    delay,
                    cut,
                    chunks: 0,
                    meter,
                }
                .into_stream();
                response("text/event-stream; charset=utf-8", body)
            }
        }
    }
}

/// One body of a known length. When cut, only half of it is sent; its tokens count all the same,
/// as a provider has made, and bills, the whole answer before the first byte leaves.
fn whole(body: &str, output_tokens: u64, cut: bool, meter: Meter) -> Response {
    let length = HeaderValue::from(body.len());
    let mut bytes = Bytes::copy_from_slice(body.as_bytes());
    if cut {
        bytes.truncate(body.len() / 2);
    }
    let frames: Frames = Box::new(
        [Frame {
            bytes,
            tokens: output_tokens,
        }]
        .into_iter(),
    );
    let cut = cut.then_some(1);
    let paced = Paced {
        frames: frames.peekable(),
        delay: Duration::ZERO,
        cut,
        chunks: 0,
        meter,
    };
    let mut response = response("application/json", paced.into_stream());
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    response
}

fn response(
    content_type: &'static str,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The body of an answer.
struct Paced {
    frames: Peekable<Frames>,
    /// Wait before each chunk of text.
    delay: Duration,
    /// Break off after so many chunks of text.
    cut: Option<u64>,
    /// Chunks of text handed over so far.
    chunks: u64,
    meter: Meter,
}

impl Paced {
    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold(self, Self::next)
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let Some(frame) = self.frames.next() else {
            if self.chunks > 0 && self.cut == Some(self.chunks) {
                return Err(Self::break_off().await);
            }
            self.meter.complete = true;
            return Ok(None);
        };
        let is_text = frame.tokens > 0;
        // What opens a stream passes, so that `cut:0` is an answer that began and said nothing.
        if self.cut.is_some_and(|cut| self.chunks >= cut) && (is_text || self.chunks > 0) {
            return Err(Self::break_off().await);
        }
        if is_text {
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            self.chunks = self.chunks.saturating_add(1);
        }
        self.meter.count(frame.tokens);
        // A body of a known length is not asked for more after its last frame.
        self.meter.complete = self.cut.is_none() && self.frames.peek().is_none();
        Ok(Some((frame.bytes, self)))
    }

    /// The error that makes hyper close the connection. It would drop what it has not written yet:
    /// being pending once lets it write first.
    async fn break_off() -> io::Error {
        tokio::task::yield_now().await;
        io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "cut, as `x-demo-fault` asked",
        )
    }
}

/// Counts one answer, and says so in the log when it did not reach its end.
struct Meter {
    demo: Arc<Demo>,
    model: String,
    sent: u64,
    complete: bool,
}

impl Meter {
    fn count(&mut self, tokens: u64) {
        if tokens > 0 {
            self.sent = self.sent.saturating_add(tokens);
            self.demo.stats.sent(&self.model, tokens);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let (model, output_tokens) = (&self.model, self.sent);
        if self.complete {
            tracing::info!(model, output_tokens, "answered");
        } else {
            tracing::info!(model, output_tokens, "answer aborted");
        }
    }
}
