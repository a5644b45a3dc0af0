-- Limits of models and providers. An empty provider is every provider, an empty scope_id is nobody's.
CREATE TABLE model_configs (
    id               TEXT PRIMARY KEY,
    -- '*': every model.
    model_name       TEXT NOT NULL,
    provider         TEXT NOT NULL,
    scope            TEXT NOT NULL CHECK (scope IN ('global', 'virtual_key')),
    scope_id         TEXT NOT NULL,
    calendar_aligned BOOLEAN NOT NULL,
    time_zone        TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    CONSTRAINT model_configs_scope_key UNIQUE (scope, scope_id, provider, model_name)
);

ALTER TABLE limits DROP CONSTRAINT limits_owner_kind_check;
ALTER TABLE limits ADD CONSTRAINT limits_owner_kind_check CHECK (owner_kind IN
    ('customer', 'team', 'virtual_key', 'provider_config', 'model'));
