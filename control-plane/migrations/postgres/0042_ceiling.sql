-- What a model without a price costs, nano-dollars per million tokens; null: it is refused.
ALTER TABLE settings ADD COLUMN ceiling_input_price BIGINT;
ALTER TABLE settings ADD COLUMN ceiling_output_price BIGINT;
ALTER TABLE settings ADD COLUMN ceiling_price_version BIGINT NOT NULL DEFAULT 0;
