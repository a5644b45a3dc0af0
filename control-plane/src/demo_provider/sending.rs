//! An answer on its way to the socket: compressed and cut short if asked to, paced, and counted.

use std::io;
use std::iter::{self, Peekable};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::{Stream, stream};

use super::Demo;
use super::encoding::{Encoder, Encoding};
use super::events::{Events, Framing};
use super::reply::{Content, Reply};
use super::steering::{Fault, Steering};
use super::usage::Reported;

/// `content-type` of JSON.
pub(super) const JSON: &str = "application/json";

/// `content-type` of text.
const TEXT: &str = "text/plain; charset=utf-8";

/// Some bytes of an answer.
struct Frame {
    bytes: Bytes,
    /// Tokens of the answer in them.
    tokens: u64,
}

type Frames = Box<dyn Iterator<Item = io::Result<Frame>> + Send>;

/// The response that carries `reply`. Its tokens are counted as the socket takes them.
///
/// # Errors
/// Compression into memory does not fail; its interface just does not say so.
pub(super) fn respond(reply: Reply, demo: &Arc<Demo>, steering: Steering) -> io::Result<Response> {
    let cut = match steering.fault {
        Some(Fault::Cut(chunks)) => Some(chunks),
        _ => None,
    };
    let mut meter = Meter {
        demo: Arc::clone(demo),
        model: reply.model,
        sent: 0,
        complete: false,
    };
    meter.count(reply.hidden_tokens);
    let encoding = steering.encoding;
    let mut response = match reply.content {
        Content::Json {
            body,
            output_tokens,
        } => {
            let body = steering.usage.write(body);
            whole(JSON, &body, output_tokens, encoding, cut.is_some(), meter)?
        }
        Content::Text {
            text,
            output_tokens,
        } => whole(TEXT, &text, output_tokens, encoding, cut.is_some(), meter)?,
        Content::Stream { framing, events } => {
            let paced = Paced {
                frames: frames(framing, events, steering.usage, encoding).peekable(),
                delay: steering.chunk_delay,
                cut,
                chunks: 0,
                meter,
            };
            response(framing.content_type, paced.into_stream())
        }
    };
    let headers = response.headers_mut();
    mark_encoding(headers, encoding);
    for (name, value) in reply.headers {
        // Every value is a number or came in a header, so none is left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// Says in `headers` how the body is compressed.
pub(super) fn mark_encoding(headers: &mut HeaderMap, encoding: Option<Encoding>) {
    if let Some(encoding) = encoding {
        let name = HeaderValue::from_static(encoding.name());
        headers.insert(header::CONTENT_ENCODING, name);
    }
}

/// One body of a known length. When cut, only half of it is sent; its tokens count all the same,
/// as a provider has made, and bills, the whole answer before the first byte leaves.
fn whole(
    content_type: &'static str,
    body: &str,
    output_tokens: u64,
    encoding: Option<Encoding>,
    cut: bool,
    meter: Meter,
) -> io::Result<Response> {
    let mut bytes = match encoding {
        None => body.as_bytes().to_vec(),
        Some(encoding) => encoding.compress(body.as_bytes())?,
    };
    let length = HeaderValue::from(bytes.len());
    if cut {
        bytes.truncate(bytes.len() / 2);
    }
    let frame = Frame {
        bytes: bytes.into(),
        tokens: output_tokens,
    };
    let frames: Frames = Box::new(iter::once(Ok(frame)).chain(cut.then(|| Err(cut_off()))));
    let paced = Paced {
        frames: frames.peekable(),
        delay: Duration::ZERO,
        cut: None,
        chunks: 0,
        meter,
    };
    let mut response = response(content_type, paced.into_stream());
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    Ok(response)
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

/// The bytes of a stream, event by event.
fn frames(framing: Framing, events: Events, usage: Reported, encoding: Option<Encoding>) -> Frames {
    let written = events.enumerate().map(move |(number, event)| Frame {
        tokens: event.tokens,
        bytes: framing.write(event, number == 0, &usage),
    });
    let end = (!framing.end.is_empty()).then(|| Frame {
        bytes: Bytes::from_static(framing.end.as_bytes()),
        tokens: 0,
    });
    let frames = written.chain(end);
    match encoding {
        None => Box::new(frames.map(Ok)),
        Some(encoding) => Box::new(compressed(frames, Encoder::new(encoding))),
    }
}

/// The same, compressed; each frame can be read as soon as it is there.
fn compressed(
    mut frames: impl Iterator<Item = Frame>,
    encoder: Encoder,
) -> impl Iterator<Item = io::Result<Frame>> {
    let mut encoder = Some(encoder);
    iter::from_fn(move || {
        let (bytes, tokens) = match frames.next() {
            Some(frame) => (encoder.as_mut()?.piece(&frame.bytes), frame.tokens),
            None => (encoder.take()?.finish(), 0),
        };
        Some(bytes.map(|bytes| Frame {
            bytes: bytes.into(),
            tokens,
        }))
    })
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
        let frame = match self.frames.next() {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(after_writing(error).await),
            None if self.chunks > 0 && self.cut == Some(self.chunks) => {
                return Err(after_writing(cut_off()).await);
            }
            None => {
                self.meter.complete = true;
                return Ok(None);
            }
        };
        let is_text = frame.tokens > 0;
        // What opens a stream passes, so that `cut:0` is an answer that began and said nothing.
        if self.cut.is_some_and(|cut| self.chunks >= cut) && (is_text || self.chunks > 0) {
            return Err(after_writing(cut_off()).await);
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
}

fn cut_off() -> io::Error {
    let message = "cut, as `x-demo-fault` asked";
    io::Error::new(io::ErrorKind::ConnectionAborted, message)
}

/// An error makes hyper close the connection and drop what it has not written yet. Being pending
/// once lets it write first.
async fn after_writing(error: io::Error) -> io::Error {
    tokio::task::yield_now().await;
    error
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
