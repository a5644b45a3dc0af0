-- By which prices a record was charged, and in which tier the provider said it served the request.
ALTER TABLE usage_records ADD COLUMN price_version BIGINT;
ALTER TABLE usage_records ADD COLUMN service_tier TEXT;
