-- What an administrator has added to a limit for some windows: those that start at or after
-- `override_from_ms` and before `override_until_ms`. NULL: nothing.
ALTER TABLE limits ADD COLUMN override_amount BIGINT;
ALTER TABLE limits ADD COLUMN override_from_ms BIGINT;
ALTER TABLE limits ADD COLUMN override_until_ms BIGINT;
-- How many windows; NULL: for ever.
ALTER TABLE limits ADD COLUMN override_cycles BIGINT;

-- SQLite cannot change a CHECK.
CREATE TABLE new_transfers (
    id              BIGINT PRIMARY KEY,
    at              BIGINT NOT NULL,
    kind            TEXT NOT NULL
        CHECK (kind IN ('lend', 'return', 'release', 'top_up', 'reset', 'override',
                        'override_removed')),
    limit_id        TEXT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    -- NULL: it is not about a session.
    session_id      BIGINT,
    amount          BIGINT NOT NULL CHECK (amount >= 0),
    -- Who did it; NULL: the protocol.
    actor           TEXT,
    reason          TEXT
);
INSERT INTO new_transfers (id, at, kind, limit_id, window_start_ms, session_id, amount, actor, reason)
SELECT id, at, kind, limit_id, window_start_ms, session_id, amount, actor, reason FROM transfers;
DROP TABLE transfers;
ALTER TABLE new_transfers RENAME TO transfers;
CREATE INDEX transfers_limit ON transfers (limit_id, window_start_ms);
