//! The command line.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

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
    /// Run one command that ends when standard input does (how `up` runs its processes).
    #[command(hide = true)]
    Guard {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
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
