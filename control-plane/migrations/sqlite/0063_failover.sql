-- After which failures of a provider the next one is tried (words with spaces between), and how long the
-- head of its answer may take; null: as long as it likes.
ALTER TABLE providers ADD COLUMN retry_on TEXT NOT NULL DEFAULT 'connect_failure 5xx 429 timeout';
ALTER TABLE providers ADD COLUMN per_try_timeout_ms BIGINT;
-- How many attempts a request took, and the place of the provider that answered among those thought of.
ALTER TABLE usage_records ADD COLUMN attempts BIGINT NOT NULL DEFAULT 1;
ALTER TABLE usage_records ADD COLUMN fallback_index BIGINT NOT NULL DEFAULT 0;
