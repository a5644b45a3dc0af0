-- What an administrator has added to a limit for some windows: those that start at or after
-- `override_from_ms` and before `override_until_ms`. NULL: nothing.
ALTER TABLE limits ADD COLUMN override_amount BIGINT;
ALTER TABLE limits ADD COLUMN override_from_ms BIGINT;
ALTER TABLE limits ADD COLUMN override_until_ms BIGINT;
-- How many windows; NULL: for ever.
ALTER TABLE limits ADD COLUMN override_cycles BIGINT;

ALTER TABLE transfers DROP CONSTRAINT transfers_kind_check;
ALTER TABLE transfers ADD CONSTRAINT transfers_kind_check
    CHECK (kind IN ('lend', 'return', 'release', 'top_up', 'reset', 'override', 'override_removed'));
