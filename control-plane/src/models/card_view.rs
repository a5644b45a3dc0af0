//! Prices that hold under a condition, as the API shows them.

use reeve_policy::money::Nanos;
use reeve_policy::price_list::Card;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::number::Number;

/// Prices of a service tier, of prompts longer than so many tokens, or of both. US dollars per million
/// tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PriceCard)]
pub(super) struct CardView {
    /// `standard`, `flex`, `balanced`, `priority` or `ultrafast`.
    service_tier: &'static str,
    /// The prompt has more tokens than this; 0: any prompt.
    above_tokens: u64,
    #[schema(value_type = f64)]
    input_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    output_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    cache_read_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    cache_write_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    cache_write_1h_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    reasoning_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    audio_input_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    audio_output_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    image_input_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    image_output_cost_per_million_tokens: Number,
}

impl From<&Card> for CardView {
    fn from(card: &Card) -> Self {
        let dollars = |price: i64| Number::from_display(Nanos::new(price));
        let price = card.price;
        Self {
            service_tier: card.service.as_str(),
            above_tokens: card.above_tokens,
            input_cost_per_million_tokens: dollars(price.input),
            output_cost_per_million_tokens: dollars(price.output),
            cache_read_cost_per_million_tokens: dollars(price.cache_read),
            cache_write_cost_per_million_tokens: dollars(price.cache_write_5m),
            cache_write_1h_cost_per_million_tokens: dollars(price.cache_write_1h),
            reasoning_cost_per_million_tokens: dollars(price.reasoning),
            audio_input_cost_per_million_tokens: dollars(price.audio_input),
            audio_output_cost_per_million_tokens: dollars(price.audio_output),
            image_input_cost_per_million_tokens: dollars(price.image_input),
            image_output_cost_per_million_tokens: dollars(price.image_output),
        }
    }
}
