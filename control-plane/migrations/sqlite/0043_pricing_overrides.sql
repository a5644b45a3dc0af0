-- Prices of the administrators' own, nano-dollars per million tokens. Empty scopes hold for all.
CREATE TABLE pricing_overrides (
    id                TEXT PRIMARY KEY,
    name              TEXT NOT NULL,
    virtual_key_id    TEXT NOT NULL,
    provider          TEXT NOT NULL,
    pattern           TEXT NOT NULL,
    input_price       BIGINT NOT NULL,
    output_price      BIGINT NOT NULL,
    cache_read_price  BIGINT,
    cache_write_price BIGINT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    CONSTRAINT pricing_overrides_virtual_key_id_provider_pattern_key
        UNIQUE (virtual_key_id, provider, pattern)
);
