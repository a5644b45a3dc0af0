-- Every kind of token that has a price of its own. Audio and images are part of the input or of the
-- output, as reasoning is. NULL: the provider did not report it.
ALTER TABLE usage_records RENAME COLUMN cache_write_tokens TO cache_write_5m_tokens;
ALTER TABLE usage_records ADD COLUMN cache_write_1h_tokens BIGINT;
ALTER TABLE usage_records ADD COLUMN audio_input_tokens BIGINT;
ALTER TABLE usage_records ADD COLUMN audio_output_tokens BIGINT;
ALTER TABLE usage_records ADD COLUMN image_input_tokens BIGINT;
ALTER TABLE usage_records ADD COLUMN image_output_tokens BIGINT;
