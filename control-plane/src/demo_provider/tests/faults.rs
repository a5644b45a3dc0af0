//! Answers that are late, broken or missing, because the request asked for it.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{CHAT, MESSAGES, Provider, hello, with};
use crate::clock::Clock;
use crate::demo_provider::{Demo, router, run, server};
use crate::testing::in_time;

#[tokio::test]
async fn a_status_fault_serves_nothing_but_is_counted_as_received() {
    let provider = Provider::new();
    let fault = [("x-demo-fault", "other=hang, demo=429")];
    let chat = provider.ask(CHAT, &fault, hello()).await;
    assert_eq!(chat.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(chat.json()["error"]["code"], "rate_limit_exceeded");
    let message = provider.ask(MESSAGES, &fault, hello()).await;
    assert_eq!(message.json()["error"]["type"], "rate_limit_error");
    assert_eq!(provider.stats().await, json!({"requests": 2, "models": {}}));
}

#[tokio::test(start_paused = true)]
async fn delays_are_kept() {
    let provider = Provider::new();
    let headers = [
        ("x-demo-delay-ms", "1000"),
        ("x-demo-chunk-delay-ms", "10"),
        ("x-demo-output-tokens", "20"),
    ];
    let start = Instant::now();
    provider
        .ask(CHAT, &headers, with(hello(), &json!({"stream": true})))
        .await;
    assert_eq!(start.elapsed().as_millis(), 1200);
}

/// Sends one chat request over a socket and reads until the server closes the connection.
async fn over_a_socket(body: Value, fault: &str) -> (String, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = router(Demo::new("demo", Clock::manual(0)));
    let stats = Provider(router.clone());
    let server = tokio::spawn(server::run(router, listener, async {
        stopped.await.unwrap();
    }));
    let mut client = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: demo\r\nauthorization: Bearer k\r\nx-demo-fault: {fault}\r\n\
         x-demo-output-tokens: 50\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    let stats = stats.stats().await;
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    (String::from_utf8(answer).unwrap(), stats)
}

#[tokio::test]
async fn the_close_fault_ends_the_connection_without_a_byte() {
    let (answer, stats) = over_a_socket(hello(), "demo=close").await;
    assert_eq!(answer, "");
    assert_eq!(stats, json!({"requests": 1, "models": {}}));
}

#[tokio::test]
async fn the_cut_fault_breaks_a_stream_after_the_chunks_it_names() {
    let asked = with(hello(), &json!({"stream": true}));
    for chunks in [0_usize, 3, 50] {
        let (answer, stats) = over_a_socket(asked.clone(), &format!("demo=cut:{chunks}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"));
        // The opening chunk has a content too, an empty one.
        assert_eq!(
            answer.matches(r#""delta":{"content":""#).count(),
            chunks + 1
        );
        assert!(!answer.contains("[DONE]"));
        assert!(
            !answer.ends_with("0\r\n\r\n"),
            "the body must not end properly"
        );
        assert_eq!(stats["models"]["gpt-4o"]["output_tokens"], chunks);
    }
}

#[tokio::test]
async fn the_cut_fault_breaks_a_plain_answer_in_the_middle() {
    let (answer, _) = over_a_socket(hello(), "demo=cut:1").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
}

#[tokio::test]
async fn a_hanging_answer_does_not_hold_up_the_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(run(Demo::new("demo", Clock::manual(0)), listener, async {
        stopped.await.unwrap();
    }));
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nauthorization: Bearer k\r\nx-demo-fault: demo=hang\r\n\
         content-length: 0\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(100), client.read(&mut byte));
    assert!(read.await.is_err(), "the fault must not answer");
    stop.send(()).unwrap();
    let stopped = in_time("the server has stopped", server).await;
    stopped.unwrap().unwrap();
}
