//! What an operator sees of Envoy: the access log, and how its metrics are labelled.

use serde_json::{Value, json};

/// One line of JSON per request on standard output. What the filter knows comes by filter state
/// (`filter-wasm/src/access_log.rs`); a field that has no value is left out.
///
/// Absent on purpose: the query, where some clients put their key, and every header of the caller's.
pub(super) fn access_log() -> Value {
    const FROM_FILTER: &[&str] = &[
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        "reeve.attempts",
        "reeve.cost_usd",
        "reeve.customer.id",
        "reeve.denied",
        "reeve.endpoint",
        "reeve.estimated",
        "reeve.fallback_index",
        "reeve.outcome",
        "reeve.routing_rule.id",
        "reeve.team.id",
        "reeve.virtual_key.id",
    ];
    let of_envoy = [
        ("time", "%START_TIME%"),
        ("request_id", "%REQ(X-REQUEST-ID)%"),
        ("client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("protocol", "%PROTOCOL%"),
        ("method", "%REQ(:METHOD)%"),
        ("status", "%RESPONSE_CODE%"),
        ("details", "%RESPONSE_CODE_DETAILS%"),
        ("flags", "%RESPONSE_FLAGS%"),
        ("duration_ms", "%DURATION%"),
        ("bytes_received", "%BYTES_RECEIVED%"),
        ("bytes_sent", "%BYTES_SENT%"),
        ("cluster", "%UPSTREAM_CLUSTER%"),
    ];
    let of_envoy = of_envoy.map(|(name, value)| (name.to_owned(), json!(value)));
    let of_filter = FROM_FILTER.iter().map(|name| {
        let value = format!("%FILTER_STATE(wasm.{name}:PLAIN)%");
        ((*name).to_owned(), json!(value))
    });
    let fields: serde_json::Map<String, Value> = of_envoy.into_iter().chain(of_filter).collect();
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"omit_empty_values": true, "json_format": fields},
        },
    })
}

/// Takes the labels out of the names of the filter's metrics (`filter-wasm/src/metrics.rs`).
pub(super) fn stats_config() -> Value {
    const LABELS: &[(&str, &str)] = &[
        ("gen_ai_operation_name", "operation"),
        ("gen_ai_provider_name", "provider"),
        ("gen_ai_token_type", "token_type"),
        ("outcome", "outcome"),
        ("error_type", "error_type"),
        ("reeve_routing_rule_id", "rule"),
    ];
    let tags: Vec<Value> = LABELS
        .iter()
        .map(|(tag, label)| {
            json!({
                "tag_name": tag,
                // The first group is cut out of the name, the second one is the value.
                "regex": format!(
                    r"^wasmcustom\.(?:reeve|gen_ai)_.*?(\.{label}\.([a-z0-9_-]+))"
                ),
            })
        })
        .collect();
    json!({"stats_tags": tags})
}
