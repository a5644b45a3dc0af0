-- How many requests of a key may be under way at once; NULL: any number.
ALTER TABLE virtual_keys ADD COLUMN max_in_flight BIGINT;

-- The session whose process holds slots under this one; NULL: it is a session of its own.
ALTER TABLE sessions ADD COLUMN slots_of BIGINT;
CREATE INDEX sessions_slots ON sessions (slots_of) WHERE released_at IS NULL;
