CREATE TABLE customers (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    calendar_aligned BOOLEAN NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    CONSTRAINT customers_name_key UNIQUE (name)
);

CREATE TABLE teams (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    customer_id      TEXT REFERENCES customers (id),
    calendar_aligned BOOLEAN NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    CONSTRAINT teams_name_key UNIQUE (name)
);
CREATE INDEX teams_customer ON teams (customer_id);
