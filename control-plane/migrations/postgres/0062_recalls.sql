-- What sessions that are connected to another replica are asked to give back: each replica looks for what
-- is newer than what it has seen.
CREATE TABLE recalls (
    limit_id        TEXT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    session_id      BIGINT NOT NULL,
    -- The session of its process.
    process_id      BIGINT NOT NULL,
    base            BIGINT NOT NULL,
    -- Greater than every earlier one at each recall.
    sequence        BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    PRIMARY KEY (limit_id, window_start_ms, session_id)
);
CREATE INDEX recalls_sequence ON recalls (sequence);
