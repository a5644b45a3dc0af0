-- What changed in policy, in order (src/policy_changes.rs).
CREATE TABLE policy_changes (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL,
    entity_id TEXT NOT NULL
);

-- SHA-256 of each admin token; the token itself is shown once and kept nowhere.
CREATE TABLE admin_tokens (
    id         TEXT PRIMARY KEY,
    digest     BLOB NOT NULL,
    created_at BIGINT NOT NULL
);

-- One row: what PUT /api/config sets.
CREATE TABLE settings (
    id                     BIGINT PRIMARY KEY CHECK (id = 1),
    enable_governance      BOOLEAN NOT NULL,
    required_headers       TEXT NOT NULL,
    max_request_body_bytes BIGINT NOT NULL
);
