//! Requests at times that are fixed beforehand, whatever becomes of those before them: an open loop. A
//! request's time counts from when it was to be sent, so that an answer that holds others up is not
//! forgotten.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::Full;
use hyper::Request;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use crate::figures::{Durations, Quantiles, rate};
use crate::http::Connection;
use crate::random::Random;

/// Requests that find no connection free wait, up to so many.
const QUEUE: usize = 65_536;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where Envoy listens; several share the connections.
    #[arg(long = "to", required = true)]
    addresses: Vec<SocketAddr>,
    /// A file with a virtual key on each line.
    #[arg(long)]
    keys: PathBuf,
    /// Requests a second.
    #[arg(long)]
    rate: u64,
    #[arg(long)]
    seconds: u64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of the prompt.
    #[arg(long, default_value_t = 1_000)]
    prompt: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The figures, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Figures {
    rate: u64,
    requests_per_second: f64,
    /// How many answers had which status; 0: none came.
    statuses: BTreeMap<u16, u64>,
    /// From when a request was to be sent to the end of its answer.
    answer_ms: Quantiles,
    /// From when a request was to be sent to when it was.
    late_ms: Quantiles,
}

/// A request to be sent.
struct Due {
    at: Instant,
    key: usize,
}

#[derive(Default)]
struct Seen {
    statuses: BTreeMap<u16, u64>,
    answers: Durations,
    late: Durations,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    ensure!(args.rate > 0, "a rate of 0 sends nothing");
    let keys = std::fs::read_to_string(&args.keys)
        .with_context(|| format!("cannot read {}", args.keys.display()))?;
    let keys: Arc<[String]> = keys.lines().map(str::to_owned).collect();
    ensure!(!keys.is_empty(), "no keys in {}", args.keys.display());
    let body = Bytes::from(body(args.prompt));

    let (queue, due) = mpsc::channel(QUEUE);
    let due = Arc::new(Mutex::new(due));
    let connections = (0..args.connections).filter_map(|index| {
        let address = *args.addresses.iter().cycle().nth(index)?;
        let (due, keys, body) = (Arc::clone(&due), Arc::clone(&keys), body.clone());
        Some(tokio::spawn(send_all(address, due, keys, body)))
    });
    let connections: Vec<_> = connections.collect();

    let started = Instant::now();
    let (rate_per_second, seconds, seed) = (args.rate, args.seconds, args.seed);
    let count = keys.len();
    // A thread sleeps more exactly than a timer of the runtime.
    let clock = std::thread::spawn(move || {
        announce(&queue, started, rate_per_second, seconds, count, seed)
    });
    let mut seen = Seen::default();
    for of_one in try_join_all(connections).await? {
        seen.append(of_one);
    }
    let time = started.elapsed();
    let is_complete = clock.join().unwrap_or(false);
    ensure!(
        is_complete,
        "more than {QUEUE} requests waited: the rate is too high for this machine"
    );
    let figures = Figures {
        rate: args.rate,
        requests_per_second: rate(seen.answers.count(), time),
        statuses: seen.statuses,
        answer_ms: seen.answers.quantiles(),
        late_ms: seen.late.quantiles(),
    };
    let text = serde_json::to_string_pretty(&figures)?;
    match args.json {
        Some(path) => std::fs::write(path, text)?,
        None => println!("{text}"),
    }
    Ok(())
}

/// Says when a request is due, until the end. False: nobody keeps up.
fn announce(
    queue: &mpsc::Sender<Due>,
    started: Instant,
    rate: u64,
    seconds: u64,
    keys: usize,
    seed: u64,
) -> bool {
    let mut random = Random::new(seed);
    let keys: Vec<usize> = (0..keys).collect();
    for number in 0..rate.saturating_mul(seconds) {
        let Some(nanos) = number.saturating_mul(1_000_000_000).checked_div(rate) else {
            return false;
        };
        let at = started + Duration::from_nanos(nanos);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let key = random.pick(&keys).copied().unwrap_or_default();
        if queue.try_send(Due { at, key }).is_err() {
            return false;
        }
    }
    true
}

/// Sends what is due, one request at a time.
async fn send_all(
    address: SocketAddr,
    due: Arc<Mutex<mpsc::Receiver<Due>>>,
    keys: Arc<[String]>,
    body: Bytes,
) -> Seen {
    let mut connection = Connection::to(address);
    let mut seen = Seen::default();
    loop {
        let next = due.lock().await.recv().await;
        let Some(Due { at, key }) = next else {
            return seen;
        };
        seen.late.add(at.elapsed());
        let key = keys.get(key).map_or("", String::as_str);
        let status = match request(address, key, body.clone()) {
            Ok(request) => connection
                .send(request)
                .await
                .map_or(0, |(status, _)| status.as_u16()),
            Err(_) => 0,
        };
        seen.answers.add(at.elapsed());
        let count = seen.statuses.entry(status).or_default();
        *count = count.saturating_add(1);
    }
}

fn request(address: SocketAddr, key: &str, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::post("/v1/chat/completions")
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .body(Full::new(body))?)
}

fn body(prompt: usize) -> String {
    let words = "Count what this costs, and charge it to everyone above me. ";
    let content: String = words.chars().cycle().take(prompt).collect();
    json!({
        "model": "gpt-4o",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": content}],
    })
    .to_string()
}

impl Seen {
    fn append(&mut self, other: Self) {
        for (status, count) in other.statuses {
            let all = self.statuses.entry(status).or_default();
            *all = all.saturating_add(count);
        }
        self.answers.append(other.answers);
        self.late.append(other.late);
    }
}
