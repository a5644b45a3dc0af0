//! Tokens by kind, as the ledger keeps them.

/// What an exchange used. `None`: the provider did not say.
///
/// Input is what was neither read from the provider's cache nor written to it, so these and the
/// output add up to all tokens. Reasoning, audio and images are parts of them, and never added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
#[expect(
    clippy::struct_field_names,
    reason = "the names of the columns and of OpenTelemetry's GenAI conventions"
)]
pub struct Tokens {
    pub input_tokens: Option<i64>,
    pub cache_read_tokens: Option<i64>,
    pub cache_write_5m_tokens: Option<i64>,
    pub cache_write_1h_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub reasoning_tokens: Option<i64>,
    pub audio_input_tokens: Option<i64>,
    pub audio_output_tokens: Option<i64>,
    pub image_input_tokens: Option<i64>,
    pub image_output_tokens: Option<i64>,
}
