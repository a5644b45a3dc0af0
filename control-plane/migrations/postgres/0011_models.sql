-- What operators add to the built-in catalogue, or set above it. Prices are nano-dollars per million
-- tokens; NULL: not charged separately.
CREATE TABLE models (
    provider          TEXT NOT NULL,
    model             TEXT NOT NULL,
    input_price       BIGINT NOT NULL CHECK (input_price >= 0),
    output_price      BIGINT NOT NULL CHECK (output_price >= 0),
    cache_read_price  BIGINT CHECK (cache_read_price >= 0),
    cache_write_price BIGINT CHECK (cache_write_price >= 0),
    max_input_tokens  BIGINT CHECK (max_input_tokens > 0),
    max_output_tokens BIGINT CHECK (max_output_tokens > 0),
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    CONSTRAINT models_provider_model_key PRIMARY KEY (provider, model)
);
