//! The `reeve` binary: reads the command line and calls the library.

mod cli;

use std::ffi::OsString;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use reeve_control_plane::clock::Clock;
use reeve_control_plane::config::{Config, process_environment};
use reeve_control_plane::demo_provider::{self, Demo};
use reeve_control_plane::up::{self, Plan, StopSignals};
use reeve_control_plane::{logging, node_identity, serve};
use tokio::net::TcpListener;
use tokio::runtime;

use crate::cli::{Cli, Command, Node};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { dev } => block_on(run_serve(dev)),
        Command::Up { dev } => block_on(run_up(dev)),
        Command::DemoProvider { name, port } => block_on(run_demo(name, port)),
        Command::Node {
            command: Node::Enroll { node_id, out, days },
        } => block_on(run_enroll(node_id, out, days)),
        Command::Guard { command } => return run_guard(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reeve: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    runtime
        .context("could not start the runtime")?
        .block_on(command)
}

fn read_config(dev: bool) -> anyhow::Result<Config> {
    let mut config = Config::from_env(&process_environment)?;
    config.dev = dev;
    config.validate()?;
    Ok(config)
}

async fn run_serve(dev: bool) -> anyhow::Result<()> {
    serve::run(read_config(dev)?).await
}

async fn run_up(dev: bool) -> anyhow::Result<()> {
    let config = read_config(dev)?;
    let reeve = std::env::current_exe().context("could not find the reeve binary")?;
    let environment = process_environment;
    up::run(&Plan {
        config: &config,
        reeve,
        environment,
    })
    .await?;
    Ok(())
}

async fn run_enroll(node_id: String, out: PathBuf, days: u16) -> anyhow::Result<()> {
    node_identity::enroll(&read_config(false)?, &node_id, days, &out).await
}

async fn run_demo(name: String, port: Option<u16>) -> anyhow::Result<()> {
    let config = read_config(false)?;
    logging::start(config.log_format, &config.log_filter).context("REEVE_LOG: not a log filter")?;
    let mut signals = StopSignals::listen().context("could not listen for signals")?;
    let port = port.unwrap_or(config.demo_port);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("could not listen on port {port}; choose another with --port"))?;
    tracing::info!(name, address = %listener.local_addr()?, "demo provider listens");
    let stop = async move { signals.next().await };
    demo_provider::run(Demo::new(name, Clock::System), listener, stop)
        .await
        .context("the demo provider stopped listening")
}

/// A guard does nothing but wait: one thread is enough, and its exit code is its command's.
fn run_guard(command: &[OsString]) -> ExitCode {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(up::guard(command))) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("reeve: could not run {command:?}: {error}");
            // As shells say "command not found".
            ExitCode::from(127)
        }
    }
}
