//! What Envoy's access log can say about an exchange: filter state under `wasm.<name>`, to be
//! written as `%FILTER_STATE(wasm.gen_ai.request.model:PLAIN)%`. The names are those of the
//! OpenTelemetry conventions for generative AI where they have one.

use reeve_exchange::chain::Chain;
use reeve_exchange::request::Plan;
use reeve_exchange::response::Settlement;

use crate::host;

/// A request was refused.
pub(crate) fn denied(kind: &str) {
    set("reeve.denied", kind);
}

/// A request goes to its provider.
pub(crate) fn forwarded(chain: &Chain) {
    let plan = chain.first();
    set("gen_ai.operation.name", plan.endpoint.operation());
    set("gen_ai.provider.name", &plan.provider);
    set("gen_ai.request.model", &plan.model);
    set("reeve.endpoint", plan.endpoint.name());
    for (name, id) in [
        ("reeve.virtual_key.id", plan.key.as_ref().map(|key| &key.id)),
        ("reeve.routing_rule.id", chain.rule_id()),
        ("reeve.team.id", plan.team.as_ref().map(|team| &team.id)),
        (
            "reeve.customer.id",
            plan.customer.as_ref().map(|customer| &customer.id),
        ),
    ] {
        if let Some(id) = id {
            set(name, id);
        }
    }
}

/// Another provider has answered than the first one, or not the first choice.
pub(crate) fn answered(plan: &Plan, attempts: usize) {
    if attempts > 1 {
        set("gen_ai.provider.name", &plan.provider);
        set("gen_ai.request.model", &plan.model);
    }
    if attempts > 1 || plan.fallback_index > 0 {
        set("reeve.attempts", &attempts.to_string());
        set("reeve.fallback_index", &plan.fallback_index.to_string());
    }
}

/// An exchange has ended. Envoy writes its line after this.
pub(crate) fn ended(settlement: &Settlement) {
    let usage = &settlement.usage;
    for (name, tokens) in [
        ("gen_ai.usage.input_tokens", usage.all_input_tokens()),
        (
            "gen_ai.usage.cache_read.input_tokens",
            usage.cache_read_tokens,
        ),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            usage.cache_write_tokens(),
        ),
        ("gen_ai.usage.output_tokens", usage.output_tokens),
        (
            "gen_ai.usage.reasoning.output_tokens",
            usage.reasoning_tokens,
        ),
    ] {
        if let Some(tokens) = tokens {
            set(name, &tokens.to_string());
        }
    }
    set("reeve.cost_usd", &settlement.cost.to_string());
    set("reeve.outcome", settlement.outcome.as_str());
    if settlement.estimated {
        set("reeve.estimated", "true");
    }
}

fn set(name: &str, value: &str) {
    host::set_property(name, value.as_bytes());
}
