//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use reeve_control_plane::node_identity::{DEFAULT_DAYS, check_node_id};

/// AI governance for Envoy.
///
/// Ports, places and secrets come from the environment (REEVE_PORT, REEVE_DATA_DIR, ...): see the
/// README.
#[derive(Debug, Parser)]
#[command(name = "reeve", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane: the admin API, the policy stream, the ledger.
    Serve {
        /// Loopback only, no admin login, governance off on an empty database.
        #[arg(long)]
        dev: bool,
    },
    /// Run the control plane, Envoy and a demo provider in the foreground; Ctrl-C stops all.
    Up {
        /// Loopback only, no admin login, governance off on an empty database.
        #[arg(long)]
        dev: bool,
    },
    /// Run a small LLM server that needs no account: the wire formats of OpenAI, Anthropic, Gemini,
    /// Bedrock and Cohere, deterministic answers, real usage numbers.
    DemoProvider {
        /// Name by which the header x-demo-fault addresses this instance.
        #[arg(long, default_value = "demo", value_parser = demo_name)]
        name: String,
        /// Port on 127.0.0.1 [default: REEVE_DEMO_PORT, or 9100].
        #[arg(long)]
        port: Option<u16>,
    },
    /// Envoys of the fleet.
    Node {
        #[command(subcommand)]
        command: Node,
    },
    /// Run one command that ends when standard input does (how `up` runs its processes).
    #[command(hide = true)]
    Guard {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Make the credentials and the bootstrap of one more Envoy. Needs the control plane's database
    /// and encryption key; the running control plane need not be told.
    Enroll {
        /// Envoy's node id: 1 to 128 letters, digits, `-`, `_` and `.`. Unique in the fleet.
        #[arg(value_parser = node_id)]
        node_id: String,
        /// Directory to write to.
        #[arg(long)]
        out: PathBuf,
        /// How long the certificate is good for.
        #[arg(long, default_value_t = DEFAULT_DAYS, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
    },
}

fn node_id(node_id: &str) -> Result<String, String> {
    check_node_id(node_id).map(|()| node_id.to_owned())
}

/// A name that can stand in a header between `,` and `=`.
fn demo_name(name: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.is_empty() && name.bytes().all(fits) {
        return Ok(name.to_owned());
    }
    Err("a name consists of letters, digits, `-`, `_` and `.`".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_guarded_command_keeps_its_own_flags() {
        let cli = Cli::parse_from(["reeve", "guard", "--", "envoy", "-c", "x", "--version"]);
        let Command::Guard { command } = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(command, ["envoy", "-c", "x", "--version"]);
    }

    #[test]
    fn a_demo_name_that_no_header_can_address_is_refused() {
        for name in ["", "a,b", "a=b", "a b"] {
            let given = ["reeve", "demo-provider", "--name", name];
            assert!(Cli::try_parse_from(given).is_err(), "{name}");
        }
    }
}
