-- The kind of a provider says whose wire format it speaks and where it wants its key. The column is
-- replaced where it is: a table that is made anew would lose the keys, which go with their provider.
ALTER TABLE providers ADD COLUMN base_provider_type TEXT NOT NULL DEFAULT 'openai'
    CHECK (base_provider_type IN ('openai', 'azure', 'anthropic', 'gemini', 'bedrock', 'cohere'));
UPDATE providers SET base_provider_type = wire_format;
ALTER TABLE providers DROP COLUMN wire_format;
