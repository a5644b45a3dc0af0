-- One row per exchange that reached a provider, as its Envoy told it.
CREATE TABLE usage_records (
    node_id            TEXT NOT NULL,
    boot_id            TEXT NOT NULL,
    sequence           BIGINT NOT NULL,
    request_id         TEXT NOT NULL,
    reserved_at        BIGINT NOT NULL,
    finished_at        BIGINT NOT NULL,
    virtual_key_id     TEXT,
    team_id            TEXT,
    customer_id        TEXT,
    provider_config_id TEXT,
    provider           TEXT NOT NULL,
    model              TEXT NOT NULL,
    operation          TEXT NOT NULL,
    -- NULL: the provider did not report it.
    input_tokens       BIGINT,
    cache_read_tokens  BIGINT,
    cache_write_tokens BIGINT,
    output_tokens      BIGINT,
    reasoning_tokens   BIGINT,
    cost_nanos         BIGINT NOT NULL,
    estimated          BOOLEAN NOT NULL,
    -- NULL: the caller saw none.
    status             BIGINT,
    streamed           BOOLEAN NOT NULL,
    outcome            TEXT NOT NULL,
    CONSTRAINT usage_records_node_id_boot_id_sequence_key UNIQUE (node_id, boot_id, sequence)
);
CREATE INDEX usage_records_reserved_at ON usage_records (reserved_at);
CREATE INDEX usage_records_virtual_key ON usage_records (virtual_key_id, reserved_at);
CREATE INDEX usage_records_request ON usage_records (request_id);

-- Records that break a rule, as they came.
CREATE TABLE usage_rejected (
    node_id     TEXT NOT NULL,
    boot_id     TEXT NOT NULL,
    sequence    BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    -- The encoded message.
    record      BYTEA NOT NULL,
    CONSTRAINT usage_rejected_node_id_boot_id_sequence_key UNIQUE (node_id, boot_id, sequence)
);

-- How far the usage of each life of each Envoy is stored.
CREATE TABLE usage_boots (
    node_id               TEXT NOT NULL,
    boot_id               TEXT NOT NULL,
    acknowledged_sequence BIGINT NOT NULL,
    CONSTRAINT usage_boots_node_id_boot_id_key UNIQUE (node_id, boot_id)
);

-- Greater than every earlier one at each change, so that what changed since can be asked for.
ALTER TABLE limit_usage ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
CREATE INDEX limit_usage_revision ON limit_usage (revision);
