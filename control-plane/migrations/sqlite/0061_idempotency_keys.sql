-- Requests that came with an `Idempotency-Key` and were done, with what they were answered.
CREATE TABLE idempotency_keys (
    key     TEXT PRIMARY KEY,
    -- What was asked for.
    request TEXT NOT NULL,
    answer  TEXT NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_at ON idempotency_keys (at);
