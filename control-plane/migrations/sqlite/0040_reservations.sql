-- How budgets are reserved: what earlier answers suggest instead of all that an answer can be, and
-- whether a request's bound is lowered to what is left.
ALTER TABLE settings ADD COLUMN balanced_reservations BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE settings ADD COLUMN clamp_when_short BOOLEAN NOT NULL DEFAULT FALSE;
