//! One terminal for several processes: every line with the name of its process in front.
//!
//! Nobody may be reading (a pipe that its owner forgot). A supervisor that waits for its terminal
//! could not stop its processes, and Envoy would stand still with it: so lines are written by a
//! thread of their own, and are dropped, counted, when it cannot keep up.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Lines that may wait for the terminal.
const WAITING_LINES: usize = 4096;
/// Longest line that is kept together, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;
/// How long the end of the output may take.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes lines to the terminal; clones share it.
#[derive(Clone)]
pub(super) struct Printer {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    finished: Arc<Mutex<Receiver<()>>>,
}

enum Message {
    Text(Vec<u8>),
    Finish,
}

impl Printer {
    /// A printer to `terminal`.
    pub(super) fn new(mut terminal: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = sync_channel(WAITING_LINES);
        let (done, finished) = sync_channel(1);
        thread::spawn(move || {
            while let Ok(Message::Text(text)) = waiting.recv() {
                // A terminal that is gone is no reason to stop serving; there is nobody to tell.
                let _ = terminal.write_all(&text).and_then(|()| terminal.flush());
            }
            // Nobody may be waiting for the end.
            let _ = done.send(());
        });
        let dropped = Arc::new(AtomicU64::new(0));
        Self {
            lines,
            dropped,
            finished: Arc::new(Mutex::new(finished)),
        }
    }

    /// Prints one line of the process `name`.
    pub(super) fn line(&self, name: &str, line: &str) {
        self.bytes(name, line.as_bytes());
    }

    /// Prints a text of several lines as it is.
    pub(super) fn block(&self, text: &str) {
        self.send(text.as_bytes().to_vec());
    }

    /// Prints what a process writes, line by line, until it has no more to say.
    pub(super) async fn copy(&self, name: &str, output: impl AsyncRead + Unpin) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut output)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
                .await
            {
                // An error is the end, too: the process has closed its side.
                Ok(0) | Err(_) => return,
                Ok(_) => self.bytes(name, line.trim_ascii_end()),
            }
        }
    }

    /// Waits, within reason, until everything has been printed. Nothing is printed afterwards.
    pub(super) async fn finish(&self) {
        let printer = self.clone();
        let waiting = tokio::task::spawn_blocking(move || {
            if printer.lines.try_send(Message::Finish).is_err() {
                return Err(RecvTimeoutError::Timeout);
            }
            let finished = printer
                .finished
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            finished.recv_timeout(FINISH_TIMEOUT)
        });
        if !matches!(waiting.await, Ok(Ok(()))) {
            tracing::debug!("the terminal did not take the last lines");
        }
    }

    fn bytes(&self, name: &str, line: &[u8]) {
        let mut text = format!("{name} | ").into_bytes();
        text.extend_from_slice(line);
        text.push(b'\n');
        self.send(text);
    }

    fn send(&self, mut text: Vec<u8>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let note = format!("reeve | {dropped} lines were dropped, as nobody read them\n");
            text.splice(0..0, note.into_bytes());
        }
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Text(text)) {
            self.dropped
                .fetch_add(dropped.saturating_add(1), Ordering::Relaxed);
        }
    }
}
