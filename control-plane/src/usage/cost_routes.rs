//! `/api/governance/usage`

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cost_report::{self, Filter, Grouping, Sums};
use super::csv::Csv;
use super::days::{self, LocalTime};
use super::routes::dollars;
use crate::app::App;
use crate::auth::Admin;
use crate::error::{Error, Problem};
use crate::http::number::Number;
use crate::http::page::{self, DEFAULT_LIMIT};
use crate::http::params::{FromParams, Params, Query};
use crate::http::reply::Ok as Reply;
use crate::http::timestamp;
use crate::invalid::Invalid;

/// Most rows of a CSV that is not paged.
const MOST_ROWS: u32 = 100_000;

/// The route of cost reports.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(sums))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct SumsRequest {
    /// Any of `customer`, `team`, `virtual_key`, `provider`, `model` and `day`, with commas between
    /// them; left out: one sum of everything.
    #[param(value_type = Option<String>, example = "team,day")]
    group_by: Grouping,
    /// Whose days, when grouped by `day`: an IANA time zone. Default: UTC.
    #[param(value_type = Option<String>, example = "Europe/Berlin")]
    time_zone: TimeZone,
    /// Only requests that were admitted at this moment or later, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<i64>,
    /// Only requests that were admitted before this moment, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<i64>,
    /// Only requests of this customer, its teams' included.
    customer_id: Option<String>,
    /// Only requests of this team.
    team_id: Option<String>,
    /// Only requests of this virtual key.
    virtual_key_id: Option<String>,
    /// Only requests that this provider served.
    provider: Option<String>,
    /// Only requests for this model.
    model: Option<String>,
    /// `json` or `csv`. Default: as `accept` says, or JSON.
    format: Option<String>,
    /// How many groups at most, 1 to 1000. CSV has all of them by default, up to 100000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// How many groups to skip.
    #[param(value_type = Option<u32>, default = 0)]
    offset: u32,
}

impl FromParams for SumsRequest {
    fn from_params(params: &mut Params) -> Result<Self, Invalid> {
        let mut group_by = Grouping::default();
        for word in params.text("group_by")?.iter().flat_map(|s| s.split(',')) {
            if !group_by.add(word) {
                let words = "must be some of `customer`, `team`, `virtual_key`, `provider`, `model` \
                             and `day`, each once, with commas between them";
                return Err(Invalid::field("group_by", words));
            }
        }
        let zone = params.text("time_zone")?;
        if zone.is_some() && !group_by.day {
            let message = "is for days: add `day` to `group_by`, or leave it out";
            return Err(Invalid::field("time_zone", message));
        }
        let time_zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(&name).map_err(|_unknown| {
                let message = "must be a time zone of the IANA database, such as `Europe/Berlin`";
                Invalid::field("time_zone", message)
            })?,
        };
        let mut moment = |name: &str| {
            let text = params.text(name)?;
            text.map(|text| {
                timestamp::parse(&text).ok_or_else(|| Invalid::field(name, timestamp::EXPECTED))
            })
            .transpose()
        };
        let (from, to) = (moment("from")?, moment("to")?);
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(Invalid::field("to", "must be later than `from`"));
        }
        let format = params.text("format")?;
        if format.as_deref().is_some_and(|f| f != "json" && f != "csv") {
            return Err(Invalid::field("format", "must be `json` or `csv`"));
        }
        Ok(Self {
            group_by,
            time_zone,
            from,
            to,
            customer_id: params.text("customer_id")?,
            team_id: params.text("team_id")?,
            virtual_key_id: params.text("virtual_key_id")?,
            provider: params.text("provider")?,
            model: params.text("model")?,
            format,
            limit: page::limit(params)?,
            offset: page::offset(params)?,
        })
    }
}

/// What the records of a group sum up to. It is told what it is grouped by, and nothing else; null:
/// nobody's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageGroup)]
#[expect(
    clippy::option_option,
    reason = "not grouped by it, and nobody's, are different answers"
)]
struct GroupView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    day: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    customer_id: Option<Option<String>>,
    /// As it is called now; null: it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    customer_name: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    team_id: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    team_name: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    virtual_key_id: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    virtual_key_name: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    provider: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    model: Option<Option<String>>,
    #[serde(flatten)]
    sums: SumsView,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageSums)]
struct SumsView {
    requests: i64,
    /// Of these, requests whose usage is an estimate because the provider did not report it.
    estimated_requests: i64,
    /// Input, cached and not, and output.
    total_tokens: i64,
    /// Uncached input, audio and images included.
    input_tokens: i64,
    cache_read_tokens: i64,
    /// Kept for the provider's ordinary time.
    cache_write_5m_tokens: i64,
    /// Kept for an hour.
    cache_write_1h_tokens: i64,
    /// Reasoning, audio and images included.
    output_tokens: i64,
    /// Of the output.
    reasoning_tokens: i64,
    /// Of the input.
    audio_input_tokens: i64,
    /// Of the output.
    audio_output_tokens: i64,
    /// Of the input.
    image_input_tokens: i64,
    /// Of the output.
    image_output_tokens: i64,
    /// US dollars, exact.
    #[schema(value_type = f64, example = 0.000_45)]
    cost: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageReport)]
struct ReportView {
    /// By day, if grouped by it; then dearest first.
    usage: Vec<GroupView>,
    /// Of all groups, in this answer or not.
    total: SumsView,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

/// Sum up what was used, as JSON or CSV.
#[utoipa::path(
    get, path = "/api/governance/usage", tag = "Usage",
    params(SumsRequest),
    responses(
        (status = 200, content(
            (ReportView = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, body = Problem),
    ),
)]
async fn sums(
    _: Admin,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(request): Query<SumsRequest>,
) -> Result<Response, Error> {
    let is_csv = match &request.format {
        Some(format) => format == "csv",
        None => accepts_csv(&headers),
    };
    let (grouping, offset) = (request.group_by, request.offset);
    let limit = request
        .limit
        .unwrap_or(if is_csv { MOST_ROWS } else { DEFAULT_LIMIT });
    let filter = Filter {
        from_ms: request.from,
        to_ms: request.to,
        customer_id: request.customer_id,
        team_id: request.team_id,
        virtual_key_id: request.virtual_key_id,
        provider: request.provider,
        model: request.model,
    };
    let mut tx = app.db.begin_read().await?;
    let local = if grouping.day && request.time_zone != TimeZone::UTC {
        let (first_ms, last_ms) = cost_report::span(&mut tx, &filter)
            .await?
            .unwrap_or_default();
        LocalTime::of(&request.time_zone, first_ms, last_ms).ok_or_else(|| {
            let message = "the clock of this time zone changes too often in this span; \
                           give `from` and `to` with at most four years between them";
            Invalid::field("time_zone", message)
        })?
    } else {
        LocalTime::UTC
    };
    let page = (limit, offset);
    let groups = cost_report::sums(&mut tx, grouping, local, &filter, page).await?;
    let mut total_count = groups.first().map(|group| group.groups);
    if total_count.is_none() && offset > 0 {
        // Beyond the last one.
        let first = cost_report::sums(&mut tx, grouping, local, &filter, (1, 0)).await?;
        total_count = first.first().map(|group| group.groups);
    }
    let total_count = total_count.unwrap_or(0);
    if is_csv {
        if request.limit.is_none() && total_count > i64::from(MOST_ROWS) {
            let message = format_args!(
                "this would be {total_count} rows, and {MOST_ROWS} is the most; give `limit` and \
                 `offset`, or less of a span"
            );
            return Err(Invalid::field("format", message).into());
        }
        return Ok(csv(grouping, groups));
    }
    let everything = Grouping::default();
    let all = cost_report::sums(&mut tx, everything, LocalTime::UTC, &filter, (1, 0)).await?;
    let usage: Vec<GroupView> = groups
        .into_iter()
        .map(|sums| view(grouping, sums))
        .collect();
    Ok(Reply(ReportView {
        count: usage.len(),
        usage,
        total: all.first().map_or_else(SumsView::nothing, SumsView::of),
        total_count,
        limit,
        offset,
    })
    .into_response())
}

/// Does the caller ask for CSV (RFC 9110 section 12.5.1)?
fn accepts_csv(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let mut ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next());
    ranges.any(|range| range.trim().eq_ignore_ascii_case("text/csv"))
}

fn view(grouping: Grouping, sums: Sums) -> GroupView {
    let numbers = SumsView::of(&sums);
    let day = sums.day.and_then(days::date).map(|date| date.to_string());
    GroupView {
        day: grouping.day.then_some(day),
        customer_id: grouping.customer.then_some(sums.customer_id),
        customer_name: grouping.customer.then_some(sums.customer_name),
        team_id: grouping.team.then_some(sums.team_id),
        team_name: grouping.team.then_some(sums.team_name),
        virtual_key_id: grouping.virtual_key.then_some(sums.virtual_key_id),
        virtual_key_name: grouping.virtual_key.then_some(sums.virtual_key_name),
        provider: grouping.provider.then_some(sums.provider),
        model: grouping.model.then_some(sums.model),
        sums: numbers,
    }
}

/// The columns are the names of the JSON; the cost is in US dollars.
fn csv(grouping: Grouping, groups: Vec<Sums>) -> Response {
    let mut csv = Csv::default();
    let mut named = GroupView {
        sums: SumsView::nothing(),
        ..view(grouping, NOBODY)
    };
    csv.row(
        named
            .texts()
            .into_iter()
            .map(|(name, _)| name)
            .chain(named.sums.texts().iter().map(|(name, _)| *name)),
    );
    for group in groups {
        named = view(grouping, group);
        let numbers = named.sums.texts();
        let texts = named.texts();
        let texts = texts.iter().map(|(_, text)| *text);
        csv.row(texts.chain(numbers.iter().map(|(_, text)| text.as_str())));
    }
    let headers = [
        (
            header::CONTENT_TYPE,
            "text/csv; charset=utf-8; header=present",
        ),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"usage.csv\"",
        ),
    ];
    (headers, csv.finish()).into_response()
}

/// A group of nobody's.
const NOBODY: Sums = Sums {
    customer_id: None,
    team_id: None,
    virtual_key_id: None,
    provider: None,
    model: None,
    day: None,
    customer_name: None,
    team_name: None,
    virtual_key_name: None,
    requests: 0,
    estimated_requests: 0,
    input_tokens: 0,
    cache_read_tokens: 0,
    cache_write_5m_tokens: 0,
    cache_write_1h_tokens: 0,
    output_tokens: 0,
    reasoning_tokens: 0,
    audio_input_tokens: 0,
    audio_output_tokens: 0,
    image_input_tokens: 0,
    image_output_tokens: 0,
    cost_nanos: 0,
    groups: 0,
};

impl GroupView {
    /// What it is grouped by.
    fn texts(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("day", &self.day),
            ("customer_id", &self.customer_id),
            ("customer_name", &self.customer_name),
            ("team_id", &self.team_id),
            ("team_name", &self.team_name),
            ("virtual_key_id", &self.virtual_key_id),
            ("virtual_key_name", &self.virtual_key_name),
            ("provider", &self.provider),
            ("model", &self.model),
        ];
        let told = all.into_iter().filter_map(|(name, text)| {
            let text = text.as_ref()?;
            Some((name, text.as_deref().unwrap_or_default()))
        });
        told.collect()
    }
}

impl SumsView {
    fn nothing() -> Self {
        Self::of(&NOBODY)
    }

    fn of(sums: &Sums) -> Self {
        Self {
            requests: sums.requests,
            estimated_requests: sums.estimated_requests,
            total_tokens: sums.total_tokens(),
            input_tokens: sums.input_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            cache_write_5m_tokens: sums.cache_write_5m_tokens,
            cache_write_1h_tokens: sums.cache_write_1h_tokens,
            output_tokens: sums.output_tokens,
            reasoning_tokens: sums.reasoning_tokens,
            audio_input_tokens: sums.audio_input_tokens,
            audio_output_tokens: sums.audio_output_tokens,
            image_input_tokens: sums.image_input_tokens,
            image_output_tokens: sums.image_output_tokens,
            cost: dollars(sums.cost_nanos),
        }
    }

    fn texts(&self) -> [(&'static str, String); 14] {
        [
            ("requests", self.requests.to_string()),
            ("estimated_requests", self.estimated_requests.to_string()),
            ("total_tokens", self.total_tokens.to_string()),
            ("input_tokens", self.input_tokens.to_string()),
            ("cache_read_tokens", self.cache_read_tokens.to_string()),
            (
                "cache_write_5m_tokens",
                self.cache_write_5m_tokens.to_string(),
            ),
            (
                "cache_write_1h_tokens",
                self.cache_write_1h_tokens.to_string(),
            ),
            ("output_tokens", self.output_tokens.to_string()),
            ("reasoning_tokens", self.reasoning_tokens.to_string()),
            ("audio_input_tokens", self.audio_input_tokens.to_string()),
            ("audio_output_tokens", self.audio_output_tokens.to_string()),
            ("image_input_tokens", self.image_input_tokens.to_string()),
            ("image_output_tokens", self.image_output_tokens.to_string()),
            ("cost", self.cost.as_str().to_owned()),
        ]
    }
}
