-- Ids of the provider keys that requests may carry, as JSON; null: any.
ALTER TABLE provider_configs ADD COLUMN key_ids TEXT;
