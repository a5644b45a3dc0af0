//! The supervisor with processes that are not Reeve's.

use std::future::pending;
use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;
use crate::testing::{in_time, until};

/// A terminal that remembers.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Processes and what they print.
struct Stack {
    children: Children,
    printer: Printer,
    screen: Screen,
}

impl Stack {
    fn new() -> Self {
        let screen = Screen::default();
        let printer = Printer::new(screen.clone());
        Self {
            children: Children::new(None, printer.clone()),
            printer,
            screen,
        }
    }

    fn start(&mut self, name: &'static str, script: &str) {
        self.children
            .start(Launch {
                name,
                program: "sh".into(),
                arguments: vec!["-c".into(), script.into()],
                environment: Environment::Inherited,
            })
            .unwrap();
    }

    /// Waits until the screen shows `text`.
    async fn shows(&self, text: &str) {
        until(text, async || self.screen.text().contains(text)).await;
    }

    async fn all_printed(&self) -> String {
        self.printer.finish().await;
        self.screen.text()
    }
}

fn config(variables: &[(&str, String)]) -> Config {
    Config::from_env(&|name| {
        variables
            .iter()
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| value.clone())
    })
    .unwrap()
}

#[tokio::test]
async fn every_line_carries_the_name_of_its_process() {
    let mut stack = Stack::new();
    stack.start("envoy", "echo one; echo two >&2; printf three");
    stack.children.first_death().await;
    let printed = stack.all_printed().await;
    for line in ["envoy | one\n", "envoy | two\n", "envoy | three\n"] {
        assert!(printed.contains(line), "{printed}");
    }
}

#[tokio::test]
async fn processes_stop_in_the_reverse_order_of_their_start() {
    let mut stack = Stack::new();
    for name in ["control-plane", "envoy"] {
        let script = "trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        stack.start(name, script);
        stack.shows(&format!("{name} | ready")).await;
    }
    stack.children.stop(pending()).await;
    let printed = stack.all_printed().await;
    let envoy = printed.find("envoy | stopped").unwrap();
    assert!(
        envoy < printed.find("control-plane | stopped").unwrap(),
        "{printed}"
    );
}

#[tokio::test]
async fn the_death_of_one_process_is_told_with_its_name_and_reason() {
    for (script, reason) in [
        ("exit 3", "envoy died (exit code 3)"),
        ("kill -9 $$", "envoy died (killed by SIGKILL)"),
        // As a guard reports it.
        ("exit 139", "envoy died (killed by SIGSEGV)"),
    ] {
        let mut stack = Stack::new();
        stack.start("demo", "exec sleep 1000");
        stack.start("envoy", script);
        let told = stack.children.first_death().await.to_string();
        assert!(told.starts_with(reason), "{told}");
        stack.children.stop(pending()).await;
    }
}

#[tokio::test]
async fn a_process_that_dies_during_the_start_ends_the_start() {
    let mut stack = Stack::new();
    stack.start("control-plane", "echo no database >&2; exit 1");
    let never = pending::<Result<(), String>>();
    let ended = stack.children.while_alive("the control plane", never).await;
    assert!(
        matches!(
            ended,
            Err(UpError::Died {
                name: "control-plane",
                ..
            })
        ),
        "{ended:?}"
    );
    assert!(
        stack
            .all_printed()
            .await
            .contains("control-plane | no database")
    );
}

#[tokio::test]
async fn a_process_that_ignores_the_order_is_killed_when_there_is_hurry() {
    let mut stack = Stack::new();
    stack.start(
        "envoy",
        "trap '' TERM; echo $$; while :; do sleep 0.01; done",
    );
    stack.shows("envoy | ").await;
    let printed = stack.screen.text();
    let pid: i32 = printed
        .trim()
        .strip_prefix("envoy | ")
        .unwrap()
        .parse()
        .unwrap();
    stack
        .children
        .stop(tokio::time::sleep(Duration::from_millis(200)))
        .await;
    assert!(
        kill(Pid::from_raw(pid), None).is_err(),
        "process {pid} is still there"
    );
    assert!(
        stack
            .all_printed()
            .await
            .contains("envoy did not stop and is killed")
    );
}

#[tokio::test]
async fn what_a_killed_process_has_started_is_killed_with_it() {
    let mut stack = Stack::new();
    stack.start("envoy", "sleep 1000 & echo $!; wait");
    stack.shows("envoy | ").await;
    let printed = stack.screen.text();
    let grandchild: i32 = printed
        .trim()
        .strip_prefix("envoy | ")
        .unwrap()
        .parse()
        .unwrap();
    let shell = stack.children.group("envoy");
    kill(shell, nix::sys::signal::Signal::SIGKILL).unwrap();
    stack.children.first_death().await;
    // Its new parent has to collect it before it is gone.
    let is_gone = async || {
        let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    };
    until("what the process had started is gone", is_gone).await;
}

#[tokio::test]
async fn a_process_that_handles_no_secrets_gets_none() {
    let given = |name: &str| match name {
        "PATH" => Some("/usr/bin:/bin".to_owned()),
        "OPENAI_API_KEY" => Some("planted".to_owned()),
        _ => None,
    };
    let mut stack = Stack::new();
    stack
        .children
        .start(Launch {
            name: "envoy",
            program: "env".into(),
            arguments: Vec::new(),
            environment: Environment::minimal(given),
        })
        .unwrap();
    stack.children.first_death().await;
    let printed = stack.all_printed().await;
    assert!(printed.contains("envoy | PATH=/usr/bin:/bin"), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
}

#[tokio::test]
async fn a_terminal_that_nobody_reads_holds_up_nothing() {
    struct Stuck;
    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            std::thread::park();
            Ok(0)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let printer = Printer::new(Stuck);
    let mut children = Children::new(None, printer.clone());
    let script = "i=0; while [ $i -lt 9000 ]; do echo line; i=$((i+1)); done";
    let launch = Launch {
        name: "envoy",
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Environment::Inherited,
    };
    children.start(launch).unwrap();
    let ended = in_time("the process has ended", children.first_death()).await;
    assert!(ended.to_string().contains("exit code 0"));
}

#[test]
fn a_taken_port_is_told_with_the_variable_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for variable in [
        "REEVE_PORT",
        "REEVE_HTTP_PORT",
        "REEVE_GRPC_PORT",
        "REEVE_ENVOY_ADMIN_PORT",
        "REEVE_DEMO_PORT",
    ] {
        let mut ports: Vec<_> = ALL_PORTS
            .iter()
            .map(|name| (*name, "0".to_owned()))
            .collect();
        ports.retain(|(name, _)| *name != variable);
        ports.push((variable, port.to_string()));
        let told = ports::check(&config(&ports)).unwrap_err().to_string();
        assert!(
            told.contains(&format!("set {variable} to another port")),
            "{told}"
        );
        assert!(told.contains(&port.to_string()), "{told}");
    }
}

const ALL_PORTS: [&str; 5] = [
    "REEVE_PORT",
    "REEVE_HTTP_PORT",
    "REEVE_GRPC_PORT",
    "REEVE_ENVOY_ADMIN_PORT",
    "REEVE_DEMO_PORT",
];

#[test]
fn one_port_for_two_things_is_refused() {
    let config = config(&[("REEVE_HTTP_PORT", "8080".to_owned())]);
    let told = ports::check(&config).unwrap_err().to_string();
    assert!(
        told.starts_with("REEVE_PORT and REEVE_HTTP_PORT are both 8080"),
        "{told}"
    );
}

#[test]
fn a_missing_envoy_or_filter_is_told_before_anything_starts() {
    let told = envoy::find(|name| (name == "REEVE_ENVOY").then(|| "/nowhere/envoy".to_owned()));
    assert!(
        told.unwrap_err()
            .to_string()
            .contains("REEVE_ENVOY: there is no file")
    );
    let told = envoy::find(|name| (name == "PATH").then(|| "/nowhere".to_owned()));
    assert!(told.unwrap_err().to_string().contains("no `envoy` on PATH"));
    let told = envoy::check_filter(&config(&[])).unwrap_err().to_string();
    assert!(told.contains("REEVE_FILTER_WASM is not set"), "{told}");
}

#[test]
fn the_banner_has_the_commands_of_the_quick_start_and_warns_of_dev_mode() {
    let mut config = config(&[("REEVE_PORT", "18080".to_owned())]);
    config.dev = true;
    let banner = Banner {
        config: &config,
        governance: Some(false),
        seconds: 1.0,
    }
    .to_string();
    for part in [
        "curl -X POST http://localhost:18080/v1/chat/completions",
        "curl -X PUT http://localhost:18080/api/config",
        "curl -X POST http://localhost:18080/api/governance/virtual-keys",
        "NO LOGIN",
        "Governance is OFF",
        "Ctrl-C",
    ] {
        assert!(banner.contains(part), "`{part}` is not in:{banner}");
    }
    config.dev = false;
    let banner = Banner {
        config: &config,
        governance: None,
        seconds: 1.0,
    }
    .to_string();
    assert!(!banner.contains("DEVELOPMENT"), "{banner}");
    assert!(banner.contains("Authorization: Bearer <token>"), "{banner}");
    assert!(
        !banner.contains("api/config"),
        "governance is on already:{banner}"
    );
}
