-- How a key authenticates where it is not sent as it is: as JSON, without what is secret. That is sealed.
ALTER TABLE provider_keys ADD COLUMN config TEXT;
