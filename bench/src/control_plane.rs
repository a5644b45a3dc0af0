//! A control plane of our own, and its admin API.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::http::Connection;

/// Until it must be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// Killed when it is dropped.
pub(crate) struct ControlPlane {
    process: Child,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

impl ControlPlane {
    /// Starts `program` on ports of its own; `database` as in `REEVE_DATABASE_URL`.
    pub(crate) async fn start(
        program: &Path,
        data_dir: &Path,
        database: Option<&str>,
    ) -> anyhow::Result<Self> {
        let (http, grpc) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command
            .args(["serve", "--dev"])
            .env_clear()
            .env("REEVE_DATA_DIR", data_dir)
            .env("REEVE_HTTP_PORT", http.port().to_string())
            .env("REEVE_GRPC_PORT", grpc.port().to_string())
            .env("REEVE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if let Some(database) = database {
            command.env("REEVE_DATABASE_URL", database);
        }
        let process = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut started = Self {
            process,
            http,
            grpc,
        };
        started.await_ready().await?;
        Ok(started)
    }

    async fn await_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("the control plane has ended: {status}");
            }
            let probe = request(Method::GET, "/readyz", None)?;
            match Connection::to(self.http).send(probe).await {
                Ok((status, _)) if status.is_success() => return Ok(()),
                _ => ensure!(Instant::now() < deadline, "the control plane is not ready"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) const fn admin(&self) -> Admin {
        Admin(Connection::to(self.http))
    }

    /// What it has computed since it started, where the system tells.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()?)).ok()?;
        // Behind the name, which may hold anything but a line break, come fields 3 and on.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let ticks = ticks()?.checked_add(ticks()?)?;
        // Linux counts hundredths of a second here on every machine that it runs on today.
        Some(Duration::from_millis(ticks.checked_mul(10)?))
    }
}

/// A client of the admin API.
pub(crate) struct Admin(Connection);

impl Admin {
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Bytes> {
        let (status, answer) = self.0.send(request(method, path, body)?).await?;
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(answer)
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = body.map(Value::to_string).unwrap_or_default();
    Ok(Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from(body))?)
}

/// An address that nobody listens on now.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
