-- What an Envoy does when it cannot ask for more of a limit: refuse, or go beyond what it holds by so much.
ALTER TABLE settings ADD COLUMN fail_open_capped BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE settings ADD COLUMN emergency_allowance_percent BIGINT NOT NULL DEFAULT 10;
