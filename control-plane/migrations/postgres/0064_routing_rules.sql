-- Where conditions on requests send them. Targets and fallbacks are JSON; an empty scope_id: everyone.
CREATE TABLE routing_rules (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    description    TEXT NOT NULL,
    enabled        BOOLEAN NOT NULL,
    cel_expression TEXT NOT NULL,
    targets        TEXT NOT NULL,
    fallbacks      TEXT NOT NULL,
    scope          TEXT NOT NULL,
    scope_id       TEXT NOT NULL,
    priority       BIGINT NOT NULL,
    chain_rule     BOOLEAN NOT NULL,
    query          TEXT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    CONSTRAINT routing_rules_name_key UNIQUE (name)
);
CREATE INDEX routing_rules_scope ON routing_rules (scope, scope_id);
