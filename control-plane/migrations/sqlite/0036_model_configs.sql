-- Limits of models and providers. An empty provider is every provider, an empty scope_id is nobody's.
CREATE TABLE model_configs (
    id               TEXT PRIMARY KEY,
    -- '*': every model.
    model_name       TEXT NOT NULL,
    provider         TEXT NOT NULL,
    scope            TEXT NOT NULL CHECK (scope IN ('global', 'virtual_key')),
    scope_id         TEXT NOT NULL,
    calendar_aligned BOOLEAN NOT NULL,
    time_zone        TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    CONSTRAINT model_configs_scope_key UNIQUE (scope, scope_id, provider, model_name)
);

-- SQLite cannot change a CHECK.
CREATE TABLE limits_anew (
    id                  TEXT PRIMARY KEY,
    owner_kind          TEXT NOT NULL CHECK (owner_kind IN
        ('customer', 'team', 'virtual_key', 'provider_config', 'model')),
    owner_id            TEXT NOT NULL,
    position            BIGINT NOT NULL,
    metric              TEXT NOT NULL CHECK (metric IN ('cost', 'requests', 'tokens')),
    max                 BIGINT NOT NULL CHECK (max >= 0),
    period              TEXT NOT NULL,
    anchor_ms           BIGINT NOT NULL,
    calendar_aligned    BOOLEAN NOT NULL,
    time_zone           TEXT NOT NULL DEFAULT 'UTC',
    quarter_start_month BIGINT NOT NULL DEFAULT 1,
    open_start_ms       BIGINT,
    open_end_ms         BIGINT,
    CONSTRAINT limits_owner_metric_period_key UNIQUE (owner_kind, owner_id, metric, period)
);
INSERT INTO limits_anew
SELECT id, owner_kind, owner_id, position, metric, max, period, anchor_ms, calendar_aligned, time_zone,
       quarter_start_month, open_start_ms, open_end_ms
FROM limits;
DROP TABLE limits;
ALTER TABLE limits_anew RENAME TO limits;
