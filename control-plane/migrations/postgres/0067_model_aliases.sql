-- Names that callers may use for a provider's models, as a JSON object; and on a record the one that was used.
ALTER TABLE providers ADD COLUMN aliases TEXT NOT NULL DEFAULT '{}';
ALTER TABLE usage_records ADD COLUMN alias TEXT;
