//! The accept loop: HTTP/1.1 on plain TCP.
//!
//! `axum::serve` would do but for one fault, `close`: a handler cannot end its connection without
//! an answer, so the service around the router does it for a response that carries
//! [`CloseConnection`].

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

/// How long open answers may go on after the shutdown has been asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// Pause after a failed accept, so that "too many open files" does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Marks a response that must not be sent: the connection is closed in its place.
#[derive(Clone, Copy)]
pub(super) struct CloseConnection;

#[derive(Debug, thiserror::Error)]
#[error("closed without an answer, as `x-demo-fault` asked")]
struct Closed;

/// See [`super::run`].
pub(super) async fn run(
    router: Router,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(router.clone(), stream, stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Collects finished connections, so that the set holds only live ones.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    // Nobody listens when no connection is open; that is fine.
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, drained).await.is_err() {
        tracing::info!("closing the answers that are still open");
    }
    connections.shutdown().await;
    Ok(())
}

async fn connection(router: Router, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    // One small write per chunk is the point of a stream; Nagle would glue them together.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), request));
    let mut served = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let asked_to_stop = async move {
        // An error means that the loop is gone, which is the same order.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = asked_to_stop => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

async fn answer(router: Router, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let Ok(response) = router.oneshot(request.map(Body::new)).await;
    match response.extensions().get::<CloseConnection>() {
        Some(CloseConnection) => Err(Closed),
        None => Ok(response),
    }
}
