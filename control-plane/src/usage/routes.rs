//! `/api/governance/usage`

use std::sync::Arc;

use axum::extract::State;
use reeve_policy::money::Nanos;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Tokens;
use super::report::{self, RecordFilter, RejectedRecord, StoredRecord};
use crate::app::App;
use crate::auth::Admin;
use crate::error::{Error, Problem};
use crate::http::number::Number;
use crate::http::page::PageRequest;
use crate::http::params::{FromParams, Params, Query};
use crate::http::reply::Ok as Reply;
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;

/// The routes of the ledger.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(super::cost_routes::routes())
        .routes(routes!(records))
        .routes(routes!(rejected))
}

/// `limit` and `offset`; the ledger has no names to search for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct Part {
    /// How many entries at most, 1 to 1000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
    /// How many entries to skip.
    #[param(value_type = Option<u32>, default = 0)]
    offset: u32,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct RecordsRequest {
    /// Only records of this request.
    request_id: Option<String>,
    /// Only records of this virtual key.
    virtual_key_id: Option<String>,
}

impl FromParams for Part {
    fn from_params(params: &mut Params) -> Result<Self, Invalid> {
        let PageRequest {
            limit,
            offset,
            search,
        } = PageRequest::from_params(params)?;
        if search.is_some() {
            return Err(Invalid::field(
                "search",
                "unknown query parameter; leave it out",
            ));
        }
        Ok(Self { limit, offset })
    }
}

impl FromParams for RecordsRequest {
    fn from_params(params: &mut Params) -> Result<Self, Invalid> {
        Ok(Self {
            request_id: params.text("request_id")?,
            virtual_key_id: params.text("virtual_key_id")?,
        })
    }
}

impl<A: FromParams, B: FromParams> FromParams for (A, B) {
    fn from_params(params: &mut Params) -> Result<Self, Invalid> {
        Ok((A::from_params(params)?, B::from_params(params)?))
    }
}

impl From<Part> for PageRequest {
    fn from(part: Part) -> Self {
        Self {
            limit: part.limit,
            offset: part.offset,
            search: None,
        }
    }
}

/// One finished exchange that reached a provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageRecord)]
struct RecordView {
    /// The `x-request-id` that the caller saw.
    request_id: String,
    /// When it was admitted: decides which windows of limits it was charged to.
    #[schema(value_type = String, format = DateTime)]
    admitted_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    finished_at: Timestamp,
    virtual_key_id: Option<String>,
    team_id: Option<String>,
    customer_id: Option<String>,
    provider_config_id: Option<String>,
    provider: String,
    /// The provider's own name for it, by which it is priced.
    model: String,
    /// What the caller called it, where that is an alias; else null.
    alias: Option<String>,
    /// Name of the operation in OpenTelemetry's GenAI conventions.
    operation: String,
    usage: TokensView,
    /// US dollars, exact.
    #[schema(value_type = f64, example = 0.000_45)]
    cost: Number,
    /// The provider did not report its usage; the figures are an estimate.
    estimated: bool,
    /// HTTP status that the caller saw; null: none.
    status: Option<i64>,
    streamed: bool,
    /// `complete`, `downstream_disconnect`, `upstream_reset` or `filter_trap`: the filter failed,
    /// and the request is charged what was reserved for it.
    outcome: String,
    /// Version of the prices it was charged by, pinned when it was reserved; null: nothing was to be paid.
    price_version: Option<i64>,
    /// The tier that the provider says it served it in; null: it does not say.
    service_tier: Option<String>,
    /// How many attempts were made: all but the last failed before an answer began.
    attempts: i64,
    /// Place of the provider among all that were thought of: 0 is the first choice.
    fallback_index: i64,
    /// The Envoy that served it.
    node_id: String,
    /// Which life of its process.
    boot_id: String,
    /// Which record of that life.
    sequence: i64,
}

/// Null: the provider did not say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageTokens)]
#[expect(
    clippy::struct_field_names,
    reason = "the names of OpenTelemetry's GenAI conventions"
)]
struct TokensView {
    /// Uncached input, audio and images included.
    input_tokens: Option<i64>,
    cache_read_tokens: Option<i64>,
    /// Kept for the provider's ordinary time.
    cache_write_5m_tokens: Option<i64>,
    /// Kept for an hour.
    cache_write_1h_tokens: Option<i64>,
    /// Reasoning, audio and images included.
    output_tokens: Option<i64>,
    /// Of the output.
    reasoning_tokens: Option<i64>,
    /// Of the input.
    audio_input_tokens: Option<i64>,
    /// Of the output.
    audio_output_tokens: Option<i64>,
    /// Of the input.
    image_input_tokens: Option<i64>,
    /// Of the output.
    image_output_tokens: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageRecordList)]
struct RecordsView {
    /// Newest first.
    records: Vec<RecordView>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

/// A record that broke a rule. It is a fault of the software; what it charged is charged.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RejectedUsageRecord)]
struct RejectedView {
    node_id: String,
    boot_id: String,
    sequence: i64,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    /// The rule that it broke.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RejectedUsageRecordList)]
struct RejectedListView {
    /// Newest first.
    records: Vec<RejectedView>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

/// List single records of the ledger, newest first.
#[utoipa::path(
    get, path = "/api/governance/usage/records", tag = "Usage",
    params(RecordsRequest, Part),
    responses((status = 200, body = RecordsView), (status = 400, body = Problem)),
)]
async fn records(
    _: Admin,
    State(app): State<Arc<App>>,
    Query((request, part)): Query<(RecordsRequest, Part)>,
) -> Result<Reply<RecordsView>, Error> {
    let RecordsRequest {
        request_id,
        virtual_key_id,
    } = request;
    let page = PageRequest::from(part);
    let mut tx = app.db.begin_read().await?;
    let filter = RecordFilter {
        request_id,
        virtual_key_id,
    };
    let found = report::records(&mut tx, &filter, &page).await?;
    Ok(Reply(RecordsView {
        count: found.items.len(),
        records: found.items.into_iter().map(Into::into).collect(),
        total_count: found.total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// List records that were rejected because they break a rule, newest first.
#[utoipa::path(
    get, path = "/api/governance/usage/rejected", tag = "Usage",
    params(Part),
    responses((status = 200, body = RejectedListView), (status = 400, body = Problem)),
)]
async fn rejected(
    _: Admin,
    State(app): State<Arc<App>>,
    Query(part): Query<Part>,
) -> Result<Reply<RejectedListView>, Error> {
    let page = PageRequest::from(part);
    let mut tx = app.db.begin_read().await?;
    let found = report::rejected(&mut tx, &page).await?;
    Ok(Reply(RejectedListView {
        count: found.items.len(),
        records: found.items.into_iter().map(Into::into).collect(),
        total_count: found.total,
        limit: page.limit,
        offset: page.offset,
    }))
}

pub(super) fn dollars(nanos: i64) -> Number {
    Number::from_display(Nanos::new(nanos))
}

impl From<StoredRecord> for RecordView {
    fn from(record: StoredRecord) -> Self {
        Self {
            request_id: record.request_id,
            admitted_at: Timestamp(record.reserved_at),
            finished_at: Timestamp(record.finished_at),
            virtual_key_id: record.virtual_key_id,
            team_id: record.team_id,
            customer_id: record.customer_id,
            provider_config_id: record.provider_config_id,
            provider: record.provider,
            model: record.model,
            alias: record.alias,
            operation: record.operation,
            usage: record.tokens.into(),
            cost: dollars(record.cost_nanos),
            estimated: record.estimated,
            status: record.status,
            streamed: record.streamed,
            outcome: record.outcome,
            price_version: record.price_version,
            service_tier: record.service_tier,
            attempts: record.attempts,
            fallback_index: record.fallback_index,
            node_id: record.node_id,
            boot_id: record.boot_id,
            sequence: record.sequence,
        }
    }
}

impl From<Tokens> for TokensView {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.input_tokens,
            cache_read_tokens: tokens.cache_read_tokens,
            cache_write_5m_tokens: tokens.cache_write_5m_tokens,
            cache_write_1h_tokens: tokens.cache_write_1h_tokens,
            output_tokens: tokens.output_tokens,
            reasoning_tokens: tokens.reasoning_tokens,
            audio_input_tokens: tokens.audio_input_tokens,
            audio_output_tokens: tokens.audio_output_tokens,
            image_input_tokens: tokens.image_input_tokens,
            image_output_tokens: tokens.image_output_tokens,
        }
    }
}

impl From<RejectedRecord> for RejectedView {
    fn from(record: RejectedRecord) -> Self {
        Self {
            node_id: record.node_id,
            boot_id: record.boot_id,
            sequence: record.sequence,
            received_at: Timestamp(record.received_at),
            reason: record.reason,
        }
    }
}
