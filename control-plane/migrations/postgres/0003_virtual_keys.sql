CREATE TABLE virtual_keys (
    id                  TEXT PRIMARY KEY,
    name                TEXT NOT NULL,
    description         TEXT NOT NULL,
    -- SHA-256 of the value; the value itself is shown once and kept nowhere.
    digest              BYTEA NOT NULL,
    -- The ten characters after the prefix: they identify the key and are not secret.
    kid                 TEXT NOT NULL,
    last4               TEXT NOT NULL,
    is_active           BOOLEAN NOT NULL,
    allow_all_providers BOOLEAN NOT NULL,
    team_id             TEXT REFERENCES teams (id),
    customer_id         TEXT REFERENCES customers (id),
    calendar_aligned    BOOLEAN NOT NULL,
    expires_at          BIGINT,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    CONSTRAINT virtual_keys_name_key UNIQUE (name),
    CONSTRAINT virtual_keys_digest_key UNIQUE (digest),
    CHECK (team_id IS NULL OR customer_id IS NULL)
);
CREATE INDEX virtual_keys_team ON virtual_keys (team_id);
CREATE INDEX virtual_keys_customer ON virtual_keys (customer_id);

CREATE TABLE provider_configs (
    id                 TEXT PRIMARY KEY,
    virtual_key_id     TEXT NOT NULL REFERENCES virtual_keys (id) ON DELETE CASCADE,
    position           BIGINT NOT NULL,
    provider           TEXT NOT NULL,
    -- Parts per million; NULL: can be addressed, is never drawn.
    weight_ppm         BIGINT,
    allowed_models     TEXT NOT NULL,
    blacklisted_models TEXT NOT NULL,
    CONSTRAINT provider_configs_virtual_key_id_provider_key UNIQUE (virtual_key_id, provider)
);
CREATE INDEX provider_configs_provider ON provider_configs (provider);
