-- Whether shares of providers are lowered while those fail.
ALTER TABLE settings ADD COLUMN adaptive_routing BOOLEAN NOT NULL DEFAULT TRUE;
