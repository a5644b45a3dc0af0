//! The signals that ask a process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM and the closing of the terminal.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl StopSignals {
    /// From here on these signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the system does not let us handle them.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves with the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Resolves with the next Ctrl-C: a person who does not want to wait. A second SIGTERM says
    /// nothing, as `make` repeats the one that its whole process group got.
    pub(super) async fn hurry(&mut self) {
        self.interrupt.recv().await;
    }
}
