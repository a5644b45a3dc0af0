//! What the control plane is told about an exchange.

use reeve_exchange::chain::Chain;
use reeve_exchange::response::{Outcome, Settlement};
use reeve_llm::Usage;
use reeve_policy::lease::LeaseId;
use reeve_proto::v1;

use crate::limits;

/// When and under which name an exchange went to its provider, and of which leases it was reserved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reserved {
    pub(crate) request_id: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// Of each reservation, the lease that it was taken from.
    pub(crate) leases: Vec<LeaseId>,
}

/// The record of an exchange that came to this settlement; its sequence number is still to be given.
pub(crate) fn of(
    chain: &Chain,
    reserved: &Reserved,
    settlement: &Settlement,
    finished_at_ms: i64,
) -> v1::UsageRecord {
    let plan = chain.attempt(settlement.attempt);
    // Of a trap nobody knows which attempt was under way.
    let concerns_all = chain.is_single() || settlement.outcome == Outcome::FilterTrap;
    let reservations = chain.reservations();
    let charges = reservations
        .iter()
        .zip(&reserved.leases)
        .zip(&settlement.charges)
        .filter(|((reservation, _), _)| concerns_all || plan.takes_from(reservation))
        // A slot comes back: nothing of it is used.
        .filter(|((reservation, _), _)| !limits::is_slot(reservation));
    let charges = charges.map(|((reservation, lease), amount)| v1::Charge {
        limit_id: reservation.limit.id.clone(),
        window_start_ms: lease.window_start_ms,
        amount: *amount,
    });
    let id = |id: Option<&String>| id.cloned().unwrap_or_default();
    v1::UsageRecord {
        sequence: 0,
        request_id: reserved.request_id.clone(),
        reserved_at_ms: reserved.at_ms,
        finished_at_ms,
        virtual_key_id: id(plan.key.as_ref().map(|key| &key.id)),
        team_id: id(plan.team.as_ref().map(|team| &team.id)),
        customer_id: id(plan.customer.as_ref().map(|customer| &customer.id)),
        provider_config_id: id(plan.provider_config_id.as_ref()),
        provider: plan.provider.clone(),
        model: plan.model.clone(),
        alias: plan.alias.clone().unwrap_or_default(),
        operation: plan.endpoint.operation().to_owned(),
        usage: Some(token_usage(&settlement.usage)),
        cost_nanos: settlement.cost.get(),
        estimated: settlement.estimated,
        status: u32::from(settlement.status),
        streamed: settlement.streamed,
        charges: charges.collect(),
        outcome: settlement.outcome.as_str().to_owned(),
        price_version: plan.price.as_ref().map_or(0, |price| price.list.version),
        service_tier: settlement
            .service
            .map_or_else(String::new, |service| service.as_str().to_owned()),
        attempts: u32::try_from(settlement.attempt)
            .unwrap_or(u32::MAX)
            .saturating_add(1),
        fallback_index: plan.fallback_index,
    }
}

fn token_usage(usage: &Usage) -> v1::TokenUsage {
    v1::TokenUsage {
        input_tokens: usage.input_tokens,
        cache_read_tokens: usage.cache_read_tokens,
        cache_write_5m_tokens: usage.cache_write_5m_tokens,
        output_tokens: usage.output_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        cache_write_1h_tokens: usage.cache_write_1h_tokens,
        audio_input_tokens: usage.audio_input_tokens,
        audio_output_tokens: usage.audio_output_tokens,
        image_input_tokens: usage.image_input_tokens,
        image_output_tokens: usage.image_output_tokens,
    }
}
