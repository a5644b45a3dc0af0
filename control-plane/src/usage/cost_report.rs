//! What was used, summed up by any of six dimensions, and its SQL.

use super::days::{LocalTime, MOST_CHANGES};
use crate::db::{Error, Tx};

/// Which of them sums are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "any of them, each by itself")]
pub struct Grouping {
    pub customer: bool,
    pub team: bool,
    pub virtual_key: bool,
    pub provider: bool,
    pub model: bool,
    /// When it was admitted, in some time zone.
    pub day: bool,
}

impl Grouping {
    /// By this word of the query string as well. False: there is no such dimension, or it is there.
    pub fn add(&mut self, word: &str) -> bool {
        let by = match word {
            "customer" => &mut self.customer,
            "team" => &mut self.team,
            "virtual_key" => &mut self.virtual_key,
            "provider" => &mut self.provider,
            "model" => &mut self.model,
            "day" => &mut self.day,
            _ => return false,
        };
        !std::mem::replace(by, true)
    }
}

/// Which records are summed up. `None`: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Admitted at this moment or later, milliseconds since the Unix epoch.
    pub from_ms: Option<i64>,
    /// Admitted before this moment.
    pub to_ms: Option<i64>,
    pub customer_id: Option<String>,
    pub team_id: Option<String>,
    pub virtual_key_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
}

/// The sums of one group.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Sums {
    /// What the records of the group have in common; `None`: nobody's, or not grouped by.
    pub customer_id: Option<String>,
    pub team_id: Option<String>,
    pub virtual_key_id: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    /// Counted from 1970-01-01.
    pub day: Option<i64>,
    /// As they are called now; `None`: gone.
    pub customer_name: Option<String>,
    pub team_name: Option<String>,
    pub virtual_key_name: Option<String>,
    pub requests: i64,
    pub estimated_requests: i64,
    pub input_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_5m_tokens: i64,
    pub cache_write_1h_tokens: i64,
    pub output_tokens: i64,
    pub reasoning_tokens: i64,
    pub audio_input_tokens: i64,
    pub audio_output_tokens: i64,
    pub image_input_tokens: i64,
    pub image_output_tokens: i64,
    pub cost_nanos: i64,
    /// How many groups there are in all.
    pub groups: i64,
}

impl Sums {
    /// All tokens. Reasoning, audio and images are in the input and the output already.
    pub fn total_tokens(&self) -> i64 {
        self.input_tokens
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_5m_tokens)
            .saturating_add(self.cache_write_1h_tokens)
            .saturating_add(self.output_tokens)
    }
}

/// One text for every grouping: a dimension that is not asked for is the same for all records.
const SUMS: &str = "
    SELECT g.*, c.name AS customer_name, t.name AS team_name, v.name AS virtual_key_name
    FROM (SELECT customer_id, team_id, virtual_key_id, provider, model, day,
                 COUNT(*) OVER () AS groups, requests, estimated_requests,
                 input_tokens,
                 cache_read_tokens,
                 cache_write_5m_tokens,
                 cache_write_1h_tokens,
                 output_tokens,
                 reasoning_tokens,
                 audio_input_tokens,
                 audio_output_tokens,
                 image_input_tokens,
                 image_output_tokens,
                 cost_nanos
          FROM (
            SELECT customer_id, team_id, virtual_key_id, provider, model, day,
                   COUNT(*) AS requests,
                   CAST(COALESCE(SUM(CASE WHEN estimated THEN 1 ELSE 0 END), 0) AS BIGINT)
                       AS estimated_requests,
                   CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input_tokens,
                   CAST(COALESCE(SUM(cache_read_tokens), 0) AS BIGINT) AS cache_read_tokens,
                   CAST(COALESCE(SUM(cache_write_5m_tokens), 0) AS BIGINT) AS cache_write_5m_tokens,
                   CAST(COALESCE(SUM(cache_write_1h_tokens), 0) AS BIGINT) AS cache_write_1h_tokens,
                   CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output_tokens,
                   CAST(COALESCE(SUM(reasoning_tokens), 0) AS BIGINT) AS reasoning_tokens,
                   CAST(COALESCE(SUM(audio_input_tokens), 0) AS BIGINT) AS audio_input_tokens,
                   CAST(COALESCE(SUM(audio_output_tokens), 0) AS BIGINT) AS audio_output_tokens,
                   CAST(COALESCE(SUM(image_input_tokens), 0) AS BIGINT) AS image_input_tokens,
                   CAST(COALESCE(SUM(image_output_tokens), 0) AS BIGINT) AS image_output_tokens,
                   CAST(COALESCE(SUM(cost_nanos), 0) AS BIGINT) AS cost_nanos
            FROM (
              SELECT CASE WHEN $8 THEN customer_id END AS customer_id,
                     CASE WHEN $9 THEN team_id END AS team_id,
                     CASE WHEN $10 THEN virtual_key_id END AS virtual_key_id,
                     CASE WHEN $11 THEN provider END AS provider,
                     CASE WHEN $12 THEN model END AS model,
                     CASE WHEN $13 THEN
                         (reserved_at + CAST($15 AS BIGINT)
                            + CASE WHEN reserved_at >= $16 THEN CAST($17 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END
                            + CASE WHEN reserved_at >= $18 THEN CAST($19 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END
                            + CASE WHEN reserved_at >= $20 THEN CAST($21 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END
                            + CASE WHEN reserved_at >= $22 THEN CAST($23 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END
                            + CASE WHEN reserved_at >= $24 THEN CAST($25 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END
                            + CASE WHEN reserved_at >= $26 THEN CAST($27 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END
                            + CASE WHEN reserved_at >= $28 THEN CAST($29 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END
                            + CASE WHEN reserved_at >= $30 THEN CAST($31 AS BIGINT)
                                   ELSE CAST(0 AS BIGINT) END) / CAST($14 AS BIGINT)
                     END AS day,
                     estimated, input_tokens, cache_read_tokens, cache_write_5m_tokens,
                     cache_write_1h_tokens, output_tokens, reasoning_tokens,
                     audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, cost_nanos
              FROM usage_records
              WHERE reserved_at >= $1 AND reserved_at < $2
                AND ($3 IS NULL OR customer_id = $3) AND ($4 IS NULL OR team_id = $4)
                AND ($5 IS NULL OR virtual_key_id = $5) AND ($6 IS NULL OR provider = $6)
                AND ($7 IS NULL OR model = $7)
            ) AS records
            GROUP BY customer_id, team_id, virtual_key_id, provider, model, day
          ) AS sums
          ORDER BY day, cost_nanos DESC, customer_id IS NULL, customer_id, team_id IS NULL, team_id,
                   virtual_key_id IS NULL, virtual_key_id, provider, model
          LIMIT $32 OFFSET $33) AS g
    LEFT JOIN customers c ON c.id = g.customer_id
    LEFT JOIN teams t ON t.id = g.team_id
    LEFT JOIN virtual_keys v ON v.id = g.virtual_key_id
    ORDER BY g.day, g.cost_nanos DESC, g.customer_id IS NULL, g.customer_id, g.team_id IS NULL,
             g.team_id, g.virtual_key_id IS NULL, g.virtual_key_id, g.provider, g.model";

/// The sums of groups: by day, each day's dearest first.
pub async fn sums(
    tx: &mut Tx,
    grouping: Grouping,
    local: LocalTime,
    filter: &Filter,
    (limit, offset): (u32, u32),
) -> Result<Vec<Sums>, Error> {
    const DAY_MS: i64 = 86_400_000;
    let mut query = tx
        .query(SUMS)
        .bind(filter.from_ms.unwrap_or(i64::MIN))
        .bind(filter.to_ms.unwrap_or(i64::MAX))
        .bind(filter.customer_id.as_deref())
        .bind(filter.team_id.as_deref())
        .bind(filter.virtual_key_id.as_deref())
        .bind(filter.provider.as_deref())
        .bind(filter.model.as_deref())
        .bind(grouping.customer)
        .bind(grouping.team)
        .bind(grouping.virtual_key)
        .bind(grouping.provider)
        .bind(grouping.model)
        .bind(grouping.day)
        .bind(DAY_MS)
        .bind(local.offset_ms);
    let changes: [(i64, i64); MOST_CHANGES] = local.changes;
    for (from_ms, more_ms) in changes {
        query = query.bind(from_ms).bind(more_ms);
    }
    query
        .bind(i64::from(limit))
        .bind(i64::from(offset))
        .fetch_all()
        .await
}

/// The first and the last moment that there are records of; `None`: there are none.
pub async fn span(tx: &mut Tx, filter: &Filter) -> Result<Option<(i64, i64)>, Error> {
    let (first, last): (Option<i64>, Option<i64>) = tx
        .query(
            "SELECT (SELECT MIN(reserved_at) FROM usage_records
                     WHERE reserved_at >= $1 AND reserved_at < $2),
                    (SELECT MAX(reserved_at) FROM usage_records
                     WHERE reserved_at >= $1 AND reserved_at < $2)",
        )
        .bind(filter.from_ms.unwrap_or(i64::MIN))
        .bind(filter.to_ms.unwrap_or(i64::MAX))
        .fetch_one()
        .await?;
    Ok(first.zip(last))
}
