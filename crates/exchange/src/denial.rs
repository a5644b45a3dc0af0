//! Every way in which a request can be refused. A closed vocabulary: what is not here is not said.

use reeve_llm::Unserved;
use reeve_policy::limit::{Level, Metric};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No such API.
    NotFound,
    /// The API is there, for another method.
    MethodNotAllowed {
        /// The method.
        allow: &'static str,
    },
    /// The API is known, and not served.
    Unserved(Unserved),
    /// No policy has reached this Envoy yet, or what has is not whole.
    PolicyUnavailable,
    /// The control plane has been silent for so long that what it said may not hold any more.
    PolicyStale,
    /// Too little is held here of a limit, and the control plane does not answer.
    LimitsUnavailable,
    /// So much usage waits to be reported that no more can be kept; see `filter-wasm/src/outbox.rs`.
    UsageBacklogFull,
    /// Headers that the policy demands are not as it demands them. One of the lists has something in
    /// it.
    RequiredHeaders {
        /// Names of those that are absent or empty.
        missing: Vec<String>,
        /// Names of those with a value that does not match.
        mismatched: Vec<String>,
    },
    /// Two different virtual keys, or one header twice.
    AmbiguousCredentials,
    /// No virtual key, where one is required.
    VirtualKeyRequired,
    /// A virtual key that does not exist (or does not any more).
    VirtualKeyNotFound,
    /// A virtual key that is switched off.
    VirtualKeyInactive,
    /// A virtual key whose time is over.
    VirtualKeyExpired,
    /// Not the media type that the API takes; says what it is instead.
    UnsupportedMediaType(&'static str),
    /// A body larger than the policy admits.
    PayloadTooLarge {
        /// The largest body, bytes.
        max_bytes: u64,
    },
    /// A body that cannot be understood, or means two things.
    InvalidRequest {
        /// What is wrong with it and what would be right. Echoes nothing.
        message: String,
        /// The member at fault.
        param: Option<&'static str>,
    },
    /// Two places name different models.
    ModelConflict,
    /// No such model, or none that this key may use: who asks is not told which.
    ModelNotFound,
    /// A provider that is not configured for this key.
    ProviderBlocked {
        /// Its name; a configured one.
        provider: String,
    },
    /// A provider of whose keys this key may use some, and of those none is active.
    ProviderKeyBlocked {
        /// Its name; a configured one.
        provider: String,
    },
    /// A model that this key may not use.
    ModelBlocked {
        /// As the caller named it.
        model: String,
    },
    /// A model without a price: its cost could not be charged.
    PriceUnknown {
        /// Its provider.
        provider: String,
        /// Its name.
        model: String,
    },
    /// A limit without room for the request.
    LimitExceeded(LimitExceeded),
}

/// The limit that has no room, and by how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitExceeded {
    /// What it counts: a budget answers 402, a rate limit 429.
    pub metric: Metric,
    /// Where in the hierarchy.
    pub level: Level,
    /// Whose.
    pub owner_id: String,
    /// Which.
    pub limit_id: String,
    /// The most in a window, in the metric's unit.
    pub max: i64,
    /// Used in this window, reservations included.
    pub used: i64,
    /// Of that, reserved and not settled.
    pub reserved: i64,
    /// What this request asked for.
    pub asked: i64,
    /// When the window ends, milliseconds since the Unix epoch.
    pub resets_at_ms: i64,
}
