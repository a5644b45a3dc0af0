//! What cargo cannot say: `cargo xtask <command>`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod catalogue;
mod gen_proto;
mod tidy;
mod workspace;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Checks and generators of this repository"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check what the compiler and clippy do not: arrows between crates, banned calls, documents.
    Tidy,
    /// Generate the Rust code of proto/ (or, with --check, fail when it is stale).
    GenProto(gen_proto::Args),
    /// Convert a price table into the committed model catalogue.
    Catalogue(catalogue::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Tidy => tidy::run(),
        Command::GenProto(args) => gen_proto::run(&args),
        Command::Catalogue(args) => catalogue::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
