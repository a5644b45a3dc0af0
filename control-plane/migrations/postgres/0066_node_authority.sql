-- One row: the certificate authority of Envoys (src/node_identity).
CREATE TABLE node_authority (
    id          BIGINT PRIMARY KEY CHECK (id = 1),
    certificate TEXT NOT NULL,
    -- Encrypted (src/secrets/sealed.rs), bound to this row and column.
    sealed_key  TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
