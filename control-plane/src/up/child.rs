//! The processes under supervision: started, watched, stopped in order.

use std::ffi::OsString;
use std::future::Future;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::select_all;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::UpError;
use super::guard::SIGNAL_BASE;
use super::printer::Printer;

/// How long all processes together may take to stop before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the stop of one process holds up the stop of the next.
const STOP_STEP: Duration = Duration::from_secs(3);
/// How long the last words of a process are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a process that handles no secrets is told of the environment.
const HANDED_ON: [&str; 10] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "RUST_BACKTRACE",
    "REEVE_LOG",
    "REEVE_LOG_FORMAT",
];

/// A process to be started.
pub(super) struct Launch {
    /// What its lines are marked with.
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Environment,
}

/// The environment variables of a process.
pub(super) enum Environment {
    /// All of the supervisor's.
    Inherited,
    /// These only.
    Only(Vec<(&'static str, String)>),
}

impl Environment {
    /// What any program needs, and none of the API keys and passwords that the supervisor may have
    /// been started with.
    pub(super) fn minimal(environment: fn(&str) -> Option<String>) -> Self {
        let known = |name: &'static str| Some((name, environment(name)?));
        Self::Only(HANDED_ON.into_iter().filter_map(known).collect())
    }
}

/// One running process.
struct Child {
    name: &'static str,
    process: tokio::process::Child,
    /// Its standard input, which says nothing: a guard stops its command when this is dropped.
    _lifeline: Option<ChildStdin>,
    /// Its process group, which has the number of its first process.
    group: Pid,
    /// Set once it has ended: how.
    ended: Option<String>,
    output: Vec<JoinHandle<()>>,
}

/// All processes, in the order of their start.
pub(super) struct Children {
    /// The `reeve` binary, to run every process under its `guard` command.
    guard: Option<PathBuf>,
    printer: Printer,
    running: Vec<Child>,
}

impl Children {
    /// No process yet.
    pub(super) fn new(guard: Option<PathBuf>, printer: Printer) -> Self {
        Self {
            guard,
            printer,
            running: Vec::new(),
        }
    }

    /// Starts one process, in a process group of its own.
    pub(super) fn start(&mut self, launch: Launch) -> Result<(), UpError> {
        let name = launch.name;
        let mut child = self
            .spawn(launch)
            .map_err(|cause| UpError::Start { name, cause })?;
        let mut output = Vec::new();
        if let Some(stdout) = child.process.stdout.take() {
            let printer = self.printer.clone();
            output.push(tokio::spawn(
                async move { printer.copy(name, stdout).await },
            ));
        }
        if let Some(stderr) = child.process.stderr.take() {
            let printer = self.printer.clone();
            output.push(tokio::spawn(
                async move { printer.copy(name, stderr).await },
            ));
        }
        child.output = output;
        self.running.push(child);
        Ok(())
    }

    /// The process group of a running process.
    #[cfg(test)]
    pub(super) fn group(&self, name: &str) -> Pid {
        self.running
            .iter()
            .find(|child| child.name == name)
            .unwrap()
            .group
    }

    fn spawn(&self, launch: Launch) -> std::io::Result<Child> {
        let Launch {
            name,
            program,
            arguments,
            environment,
        } = launch;
        let mut command = match &self.guard {
            Some(reeve) => {
                let mut command = Command::new(reeve);
                command.args(["guard", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(arguments).process_group(0);
        // Not a guard: killed, it could not stop its command. It stops when its lifeline is dropped.
        command.kill_on_drop(self.guard.is_none());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Environment::Only(variables) = environment {
            command.env_clear().envs(variables);
        }
        let mut process = command.spawn()?;
        // Taken out, because tokio's `wait` would close it.
        let lifeline = process.stdin.take();
        let group = process.id().and_then(|pid| i32::try_from(pid).ok());
        let group = Pid::from_raw(group.ok_or(std::io::ErrorKind::NotFound)?);
        Ok(Child {
            name,
            process,
            _lifeline: lifeline,
            group,
            ended: None,
            output: Vec::new(),
        })
    }

    /// Waits for `ready`, but not longer than all processes live. `name` is who gets ready.
    pub(super) async fn while_alive(
        &mut self,
        name: &'static str,
        ready: impl Future<Output = Result<(), String>>,
    ) -> Result<(), UpError> {
        tokio::select! {
            ready = ready => ready.map_err(|problem| UpError::NotReady { name, problem }),
            died = self.first_death() => Err(died),
        }
    }

    /// Waits until any process ends by itself, and for what it still has to say.
    pub(super) async fn first_death(&mut self) -> UpError {
        if self.running.is_empty() {
            return std::future::pending().await;
        }
        let waiting = self.running.iter_mut().map(|child| Box::pin(child.wait()));
        let (how, index, _) = select_all(waiting).await;
        let Some(child) = self.running.get_mut(index) else {
            return std::future::pending().await;
        };
        child.last_words().await;
        UpError::Died {
            name: child.name,
            how,
        }
    }

    /// Stops all processes, the last started first, and kills what is still there after ten
    /// seconds, or as soon as `hurry` resolves.
    pub(super) async fn stop(&mut self, hurry: impl Future<Output = ()>) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        let in_order = async {
            for child in self.running.iter_mut().rev() {
                child.signal(Signal::SIGTERM);
                let step = deadline.min(Instant::now() + STOP_STEP);
                // One that is slow is left to itself while the next is stopped.
                let _ = timeout_at(step, child.wait()).await;
            }
            for child in &mut self.running {
                let _ = timeout_at(deadline, child.wait()).await;
            }
        };
        tokio::select! {
            () = in_order => {}
            () = hurry => {}
        }
        for child in &mut self.running {
            if child.ended.is_none() {
                self.printer.line(
                    "reeve",
                    &format!("{} did not stop and is killed", child.name),
                );
                child.kill_group();
                child.wait().await;
            }
            child.last_words().await;
        }
    }
}

impl Child {
    /// Waits for the end and tells how it came; may be dropped and called again.
    async fn wait(&mut self) -> String {
        if let Some(how) = &self.ended {
            return how.clone();
        }
        let how = match self.process.wait().await {
            Ok(status) => {
                if status.signal().is_some() {
                    // A guard that was killed could not stop its command.
                    self.kill_group();
                }
                describe(status)
            }
            Err(error) => format!("it could not be watched: {error}"),
        };
        self.ended.insert(how).clone()
    }

    fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // It may have ended a moment ago; `wait` will tell.
            let _ = kill(self.group, signal);
        }
    }

    fn kill_group(&self) {
        // An empty group is what we want.
        let _ = killpg(self.group, Signal::SIGKILL);
    }

    async fn last_words(&mut self) {
        for output in self.output.drain(..) {
            let _ = timeout(LAST_WORDS, output).await;
        }
    }
}

/// How a process ended, in words.
fn describe(status: ExitStatus) -> String {
    let by_guard = status
        .code()
        .and_then(|code| code.checked_sub(SIGNAL_BASE.into()));
    let signal = status
        .signal()
        .or(by_guard)
        .and_then(|number| Signal::try_from(number).ok());
    match (signal, status.code()) {
        (Some(signal), _) => format!("killed by {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}
