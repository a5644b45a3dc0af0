//! Looks at a process over HTTP until it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// Asks `look` again and again until it succeeds, or for `timeout`; then the last problem it saw is
/// the error.
pub(super) async fn until(
    timeout: Duration,
    look: impl AsyncFn() -> Result<(), String>,
) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    loop {
        match look().await {
            Ok(()) => return Ok(()),
            Err(problem) if Instant::now() >= deadline => return Err(problem),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// Whether `GET path` is answered with `status`.
pub(super) async fn expect(
    address: SocketAddr,
    path: &str,
    status: StatusCode,
) -> Result<(), String> {
    let (answered, _) = ask(Method::GET, address, path, "").await?;
    if answered == status {
        return Ok(());
    }
    Err(format!("http://{address}{path} answered {answered}"))
}

/// Sends one request with a JSON body on a connection of its own. The error is a sentence.
pub(super) async fn ask(
    method: Method,
    address: SocketAddr,
    path: &str,
    body: &'static str,
) -> Result<(StatusCode, Bytes), String> {
    let url = format!("http://{address}{path}");
    let request = Request::builder()
        .method(method)
        .uri(&url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .map_err(|error| format!("{url}: {error}"))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answered = async {
        let response = client
            .request(request)
            .await
            .map_err(|error| format!("{url}: {error}"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|error| format!("{url}: {error}"))?;
        Ok((status, body.to_bytes()))
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answered) => answered,
        Err(_) => Err(format!(
            "{url} did not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}
