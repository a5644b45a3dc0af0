//! What Envoy counts about exchanges, under the names of the OpenTelemetry conventions for
//! generative AI where they have one.
//!
//! A label of a wasm metric is a part of its name; Envoy's `stats_tags` take them out again
//! (`control-plane/src/bootstrap/observability.rs`). Every label is bounded: operations, denials and
//! outcomes by this code, providers and routing rules by the administrators. Keys and models are not labels: the
//! control plane reports usage by them.

use std::cell::RefCell;
use std::collections::HashMap;

use proxy_wasm::types::MetricType;
use reeve_exchange::chain::Chain;
use reeve_exchange::request::Plan;
use reeve_exchange::response::Settlement;

use crate::host;

thread_local! {
    /// Ids by name; a name is defined once in a VM. A VM has one thread.
    static IDS: RefCell<HashMap<String, u32>> = RefCell::new(HashMap::new());
}

/// Counts a refusal. `kind` is one of `reeve_exchange::reply::kind`.
pub(crate) fn denied(kind: &str) {
    add(&format!("reeve_denials_total.error_type.{kind}"), 1);
}

/// Counts a request that waits for the control plane: this process holds too little of a limit.
pub(crate) fn waits_for_lease() {
    add("reeve_lease_waits_total", 1);
}

/// Counts a routing rule that could not be evaluated.
pub(crate) fn rule_failed(id: &str) {
    add(&format!("reeve_routing_rule_errors_total.rule.{id}"), 1);
}

/// Counts an exchange that reached a provider and has ended.
pub(crate) fn ended(plan: &Plan, settlement: &Settlement, duration_ms: i64) {
    let labels = format!(
        ".operation.{}.provider.{}",
        plan.endpoint.operation(),
        plan.provider
    );
    let outcome = settlement.outcome.as_str();
    add(
        &format!("reeve_exchanges_total{labels}.outcome.{outcome}"),
        1,
    );
    let duration = u64::try_from(duration_ms).unwrap_or(0);
    record(
        &format!("gen_ai_server_request_duration_milliseconds{labels}"),
        duration,
    );
    let usage = &settlement.usage;
    for (kind, tokens) in [
        ("input", usage.all_input_tokens()),
        ("output", usage.output_tokens),
    ] {
        if let Some(tokens) = tokens {
            let name = format!("gen_ai_client_token_usage{labels}.token_type.{kind}");
            record(&name, tokens);
        }
    }
    let cost = u64::try_from(settlement.cost.get()).unwrap_or(0);
    add(&format!("reeve_cost_nano_usd_total{labels}"), cost);
    if settlement.estimated {
        add(&format!("reeve_estimated_settlements_total{labels}"), 1);
    }
}

/// Counts the attempts that failed before this one was made.
pub(crate) fn failed_over(chain: &Chain, attempt: usize) {
    for plan in chain.attempts().take(attempt) {
        let (operation, provider) = (plan.endpoint.operation(), &plan.provider);
        add(
            &format!("reeve_failed_attempts_total.operation.{operation}.provider.{provider}"),
            1,
        );
    }
}

/// Records how long the first byte of an answer took.
pub(crate) fn first_byte(plan: &Plan, after_ms: i64) {
    let (operation, provider) = (plan.endpoint.operation(), &plan.provider);
    let name = format!(
        "gen_ai_server_time_to_first_token_milliseconds.operation.{operation}.provider.{provider}"
    );
    record(&name, u64::try_from(after_ms).unwrap_or(0));
}

/// Adds to a counter. Envoy takes an addition of nothing for a mistake.
fn add(name: &str, amount: u64) {
    if amount == 0 {
        return;
    }
    if let Some(id) = id(MetricType::Counter, name) {
        host::add_to_metric(id, i64::try_from(amount).unwrap_or(i64::MAX));
    }
}

fn record(name: &str, value: u64) {
    if let Some(id) = id(MetricType::Histogram, name) {
        host::record_metric(id, value);
    }
}

fn id(kind: MetricType, name: &str) -> Option<u32> {
    IDS.with_borrow_mut(|ids| {
        if let Some(id) = ids.get(name) {
            return Some(*id);
        }
        let id = host::define_metric(kind, name)?;
        ids.insert(name.to_owned(), id);
        Some(id)
    })
}
