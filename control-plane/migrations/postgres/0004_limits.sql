-- Budgets (metric 'cost', nano-dollars) and rate limits ('requests', 'tokens') of every owner.
CREATE TABLE limits (
    id               TEXT PRIMARY KEY,
    owner_kind       TEXT NOT NULL
        CHECK (owner_kind IN ('customer', 'team', 'virtual_key', 'provider_config')),
    owner_id         TEXT NOT NULL,
    position         BIGINT NOT NULL,
    metric           TEXT NOT NULL CHECK (metric IN ('cost', 'requests', 'tokens')),
    max              BIGINT NOT NULL CHECK (max >= 0),
    period           TEXT NOT NULL,
    -- Start of the first rolling window.
    anchor_ms        BIGINT NOT NULL,
    calendar_aligned BOOLEAN NOT NULL,
    CONSTRAINT limits_owner_metric_period_key UNIQUE (owner_kind, owner_id, metric, period)
);

-- What has been used, per window and Envoy. It refers to no configuration, so that no change of
-- configuration can touch it.
CREATE TABLE limit_usage (
    limit_id        TEXT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    node_id         TEXT NOT NULL,
    boot_id         TEXT NOT NULL,
    amount          BIGINT NOT NULL,
    PRIMARY KEY (limit_id, window_start_ms, node_id, boot_id)
);
