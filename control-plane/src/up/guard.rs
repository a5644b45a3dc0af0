//! `reeve guard -- <command>`: runs one command that must not outlive whoever started the guard.
//!
//! The supervisor holds the other end of the guard's standard input. When the supervisor is gone,
//! however it went, that input ends, and the guard stops the command. (Linux has a flag for this,
//! PR_SET_PDEATHSIG, but setting it takes `unsafe`.)

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::signals::StopSignals;

/// How long the command may take to stop after the supervisor is gone.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Added to a signal's number when a command was ended by one, as shells do.
pub(super) const SIGNAL_BASE: u8 = 128;

/// Runs `command` (a program and its arguments) to its end and returns its exit code, or 128 plus
/// the number of the signal that ended it.
///
/// # Errors
/// When the command cannot be started or watched.
pub async fn guard(command: &[OsString]) -> io::Result<u8> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no command to run",
        ));
    };
    let mut signals = StopSignals::listen()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    watch(&mut child, input_ended(), async || signals.next().await)
        .await
        .map(exit_code)
}

/// Waits for `child`; stops it when the supervisor is gone, passes on the order to stop.
async fn watch(
    child: &mut Child,
    supervisor_gone: impl Future<Output = ()>,
    mut asked_to_stop: impl AsyncFnMut(),
) -> io::Result<ExitStatus> {
    let mut supervisor_gone = pin!(supervisor_gone);
    loop {
        tokio::select! {
            ended = child.wait() => return ended,
            // Once the order is passed on, the supervisor decides how long to wait.
            () = asked_to_stop() => terminate(child),
            () = &mut supervisor_gone => break,
        }
    }
    terminate(child);
    match tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(ended) => ended,
        Err(_) => {
            child.start_kill()?;
            child.wait().await
        }
    }
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // It may have ended a moment ago; `wait` will tell.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Resolves when standard input ends. A thread, not tokio's stdin: its pending read would hold up
/// the end of the runtime.
async fn input_ended() {
    let (ended, input) = oneshot::channel::<()>();
    thread::spawn(move || {
        let mut ignored = [0; 64];
        let mut stdin = io::stdin().lock();
        while matches!(stdin.read(&mut ignored), Ok(1..)) {}
        drop(ended);
    });
    // The thread never sends: that it drops its end is the message.
    let _ = input.await;
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let signal = status.signal().and_then(|signal| u8::try_from(signal).ok());
    code.or_else(|| signal?.checked_add(SIGNAL_BASE))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        command.kill_on_drop(true).spawn().unwrap()
    }

    /// An order that never comes.
    async fn no_order() {
        pending::<()>().await;
    }

    #[tokio::test]
    async fn the_exit_code_of_the_command_is_passed_on() {
        let ended = watch(&mut shell("exit 7"), pending(), no_order).await;
        assert_eq!(exit_code(ended.unwrap()), 7);
    }

    #[tokio::test]
    async fn a_command_ended_by_a_signal_is_told_from_one_that_failed() {
        let ended = watch(&mut shell("kill -9 $$"), pending(), no_order).await;
        assert_eq!(exit_code(ended.unwrap()), 137);
    }

    #[tokio::test]
    async fn the_command_ends_with_its_supervisor() {
        let mut child = shell("exec sleep 1000");
        let ended = watch(&mut child, ready(()), no_order).await.unwrap();
        assert_eq!(ended.signal(), Some(15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_ignores_the_end_of_its_supervisor_is_killed() {
        let mut child = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
        // The time is virtual, the command is not: its trap must be set.
        let mut ready_line = [0; 6];
        child
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut ready_line)
            .await
            .unwrap();
        let ended = watch(&mut child, ready(()), no_order).await.unwrap();
        assert_eq!(ended.signal(), Some(9));
    }

    #[tokio::test]
    async fn an_order_to_stop_is_passed_on_once() {
        let mut child = shell("exec sleep 1000");
        let mut orders = 1;
        let order = async || {
            if orders == 0 {
                pending::<()>().await;
            }
            orders -= 1;
        };
        assert_eq!(
            watch(&mut child, pending(), order).await.unwrap().signal(),
            Some(15)
        );
    }
}
