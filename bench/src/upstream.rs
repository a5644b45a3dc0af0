//! A provider that answers at once and counts what its answers cost. It speaks OpenAI's chat completions.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::random::Random;

/// An answer counts so many tokens at most: fewer than any request of `load` reserves.
const MOST_INPUT: u64 = 20;
const MOST_OUTPUT: u64 = 50;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    port: u16,
}

/// What was served so far.
#[derive(Default)]
struct Served {
    requests: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

/// Serves until it is killed. `GET /stats` tells what was served.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let served = Arc::new(Served::default());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, Arc::clone(&served)));
    }
}

async fn connection(stream: TcpStream, served: Arc<Served>) {
    // Without it an answer may be late; it is right all the same.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, &served));
    // The caller sees an error of its connection.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    served: &Served,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.method() == Method::GET {
        served.told()
    } else {
        // Whoever does not send all of it does not get an answer either.
        let _ = request.into_body().collect().await;
        served.completion()
    };
    let mut response = Response::new(Full::from(body));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}

impl Served {
    fn told(&self) -> String {
        json!({
            "requests": self.requests.load(Ordering::Relaxed),
            "input_tokens": self.input_tokens.load(Ordering::Relaxed),
            "output_tokens": self.output_tokens.load(Ordering::Relaxed),
        })
        .to_string()
    }

    fn completion(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::new(number);
        let mut tokens = |most: u64| {
            random
                .next()
                .checked_rem(most)
                .unwrap_or(0)
                .saturating_add(1)
        };
        let (input, output) = (tokens(MOST_INPUT), tokens(MOST_OUTPUT));
        self.input_tokens.fetch_add(input, Ordering::Relaxed);
        self.output_tokens.fetch_add(output, Ordering::Relaxed);
        // As long as a short answer of a provider.
        let content = "Measured from outside, and paid to the nano-dollar. ".repeat(8);
        json!({
            "id": format!("chatcmpl-{number}"),
            "object": "chat.completion",
            "created": 0,
            "model": "gpt-4o",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": input,
                "completion_tokens": output,
                "total_tokens": input.saturating_add(output),
            },
        })
        .to_string()
    }
}
