//! What was served, per model: the truth that a ledger is compared with.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The body of `GET /_demo/stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Served {
    /// Calls of a model that reached this server, whatever became of them.
    pub(super) requests: u64,
    /// What was served, by the name of the model that was asked for.
    pub(super) models: BTreeMap<String, ServedByModel>,
}

/// What one model served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ServedByModel {
    /// Calls that were accepted, aborted ones included.
    pub(super) requests: u64,
    /// Tokens of their prompts, cached ones included.
    pub(super) input_tokens: u64,
    /// Tokens of their answers that were handed to the socket.
    pub(super) output_tokens: u64,
}

/// The counters of one server.
#[derive(Default)]
pub(super) struct Stats(Mutex<Served>);

impl Stats {
    /// A call arrived.
    pub(super) fn received(&self) {
        let mut served = self.lock();
        served.requests = served.requests.saturating_add(1);
    }

    /// A call was accepted with a prompt of `input_tokens`.
    pub(super) fn accepted(&self, model: &str, input_tokens: u64) {
        let mut served = self.lock();
        let counts = served.models.entry(model.to_owned()).or_default();
        counts.requests = counts.requests.saturating_add(1);
        counts.input_tokens = counts.input_tokens.saturating_add(input_tokens);
    }

    /// `output_tokens` of an answer were handed to the socket.
    pub(super) fn sent(&self, model: &str, output_tokens: u64) {
        let mut served = self.lock();
        // After a reset the rest of an old answer belongs to nobody.
        if let Some(counts) = served.models.get_mut(model) {
            counts.output_tokens = counts.output_tokens.saturating_add(output_tokens);
        }
    }

    /// The counters as they are now.
    pub(super) fn read(&self) -> Served {
        self.lock().clone()
    }

    /// Sets everything to zero.
    pub(super) fn reset(&self) {
        *self.lock() = Served::default();
    }

    /// Counters are whole after every statement, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
