-- The zone whose midnights calendar-aligned windows start at; a new owner takes that of the settings.
ALTER TABLE settings ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';
ALTER TABLE customers ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';
ALTER TABLE teams ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';
ALTER TABLE virtual_keys ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';

ALTER TABLE limits ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';
ALTER TABLE limits ADD COLUMN quarter_start_month BIGINT NOT NULL DEFAULT 1;
-- The window that was open when the limit's windows were last configured anew.
ALTER TABLE limits ADD COLUMN open_start_ms BIGINT;
ALTER TABLE limits ADD COLUMN open_end_ms BIGINT;
