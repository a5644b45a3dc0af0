//! `reeve-bench`: measures Reeve from outside.
//!
//! `ledger` starts a control plane, pretends to be several Envoys and says how much usage it makes
//! durable. `upstream` is a provider that does nothing but count, `load` sends requests to an Envoy at
//! times that are fixed beforehand. `scripts/bench.sh` runs them; docs/performance.md has the figures.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod clock;
mod control_plane;
mod envoy;
mod family;
mod figures;
mod http;
mod ledger;
mod load;
mod random;
mod upstream;

#[derive(Parser)]
#[command(name = "reeve-bench", about = "Measures Reeve from outside")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How much usage a control plane makes durable, and how many leases it grants, per second.
    Ledger(ledger::Args),
    /// Serve chat completions, and count what they cost.
    Upstream(upstream::Args),
    /// Send chat completions at a fixed rate, each with the key of one of many callers.
    Load(load::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ledger(args) => ledger::run(args).await,
        Command::Upstream(args) => upstream::run(args).await,
        Command::Load(args) => load::run(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reeve-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
