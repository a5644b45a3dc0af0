CREATE TABLE providers (
    name                  TEXT NOT NULL,
    wire_format           TEXT NOT NULL CHECK (wire_format IN ('openai', 'anthropic')),
    base_url              TEXT NOT NULL,
    allow_private_network BOOLEAN NOT NULL,
    is_key_less           BOOLEAN NOT NULL,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL,
    CONSTRAINT providers_name_key PRIMARY KEY (name)
);

CREATE TABLE provider_keys (
    id           TEXT PRIMARY KEY,
    provider     TEXT NOT NULL REFERENCES providers (name) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    -- Encrypted (src/secrets/sealed.rs), bound to this row and column.
    sealed_value TEXT NOT NULL,
    last4        TEXT NOT NULL,
    -- Parts per million.
    weight_ppm   BIGINT NOT NULL CHECK (weight_ppm >= 0),
    is_active    BOOLEAN NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    CONSTRAINT provider_keys_provider_name_key UNIQUE (provider, name)
);
