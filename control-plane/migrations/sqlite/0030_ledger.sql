-- Lives of Envoy processes: what they hold of limits counts until it is released.
CREATE TABLE sessions (
    id                    BIGINT PRIMARY KEY,
    node_id               TEXT NOT NULL,
    boot_id               TEXT NOT NULL,
    -- One part in so many of a limit may be used without asking; 0: none.
    standing_divisor      BIGINT NOT NULL,
    joined_at             BIGINT NOT NULL,
    heard_at              BIGINT NOT NULL,
    -- NULL: what it holds counts.
    released_at           BIGINT,
    -- How far its usage is stored.
    acknowledged_sequence BIGINT NOT NULL
);
-- A process that was silent for so long that its session was released gets another one.
CREATE INDEX sessions_boot ON sessions (node_id, boot_id, id);

-- What each session has been lent of a limit in a window, has given back, and has used. It refers to no
-- configuration, so that no change of configuration can touch it.
CREATE TABLE holdings (
    limit_id        TEXT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    session_id      BIGINT NOT NULL,
    lent            BIGINT NOT NULL,
    returned        BIGINT NOT NULL,
    posted          BIGINT NOT NULL,
    -- Greater than every earlier one at each change, so that what changed since can be asked for.
    revision        BIGINT NOT NULL,
    PRIMARY KEY (limit_id, window_start_ms, session_id)
);
CREATE INDEX holdings_revision ON holdings (revision);
CREATE INDEX holdings_session ON holdings (session_id);

-- What was added to a limit for one window: top-ups, and what a reset forgave.
CREATE TABLE limit_additions (
    limit_id        TEXT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    amount          BIGINT NOT NULL,
    PRIMARY KEY (limit_id, window_start_ms)
);

-- Every movement but usage, which is in usage_records with its charges. Never changed, never deleted.
CREATE TABLE transfers (
    id              BIGINT PRIMARY KEY,
    at              BIGINT NOT NULL,
    kind            TEXT NOT NULL
        CHECK (kind IN ('lend', 'return', 'release', 'top_up', 'reset')),
    limit_id        TEXT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    -- NULL: it is not about a session.
    session_id      BIGINT,
    amount          BIGINT NOT NULL CHECK (amount >= 0),
    -- Who did it; NULL: the protocol.
    actor           TEXT,
    reason          TEXT
);
CREATE INDEX transfers_limit ON transfers (limit_id, window_start_ms);

INSERT INTO sessions (id, node_id, boot_id, standing_divisor, joined_at, heard_at, released_at,
                      acknowledged_sequence)
SELECT ROW_NUMBER() OVER (ORDER BY node_id, boot_id), node_id, boot_id, 0, 0, 0, NULL,
       acknowledged_sequence
FROM usage_boots;

INSERT INTO holdings (limit_id, window_start_ms, session_id, lent, returned, posted, revision)
SELECT u.limit_id, u.window_start_ms, s.id, 0, 0, u.amount, u.revision
FROM limit_usage u JOIN sessions s ON s.node_id = u.node_id AND s.boot_id = u.boot_id;

DROP TABLE limit_usage;
DROP TABLE usage_boots;
