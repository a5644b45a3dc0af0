//! What a model charges per token, by kind of token.

use reeve_policy::price::Price;
use reeve_policy::price_list::{Card, Service};

use super::builtin::{self, Entry, Meter, Mode};

/// Nano-dollars per million tokens. A kind without a price costs what its wider kind does: input
/// or output, and for an hour in the cache what five minutes there cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prices {
    /// Uncached input that is no audio and no image.
    pub input: Option<i64>,
    /// Output that is no reasoning, audio or image.
    pub output: Option<i64>,
    /// Input read from the provider's cache.
    pub cache_read: Option<i64>,
    /// Input written to the provider's cache for its ordinary time (five minutes).
    pub cache_write_5m: Option<i64>,
    /// Input written to the provider's cache for an hour.
    pub cache_write_1h: Option<i64>,
    /// Output spent on reasoning.
    pub reasoning: Option<i64>,
    /// Uncached audio of the input.
    pub audio_input: Option<i64>,
    /// Audio of the output.
    pub audio_output: Option<i64>,
    /// Uncached images of the input.
    pub image_input: Option<i64>,
    /// Images of the output.
    pub image_output: Option<i64>,
}

impl Prices {
    /// The prices of a built-in model; none for one that charges nothing for tokens. Such a model
    /// counts something else (images, seconds, queries), and priced by its tokens it would be free.
    pub fn of(entry: &Entry) -> Self {
        Self::read(entry, |meter| entry.standard.price(meter))
    }

    /// The prices under other conditions. What a card does not name costs the same as without it.
    pub fn cards_of(entry: &Entry) -> Vec<Card> {
        let cards = entry.cards.iter().filter_map(|card| {
            let price = |meter| card.rates.price(meter).or(entry.standard.price(meter));
            Some(Card {
                service: service(card.service)?,
                above_tokens: card.above_tokens,
                price: Self::read(entry, price).resolved()?,
            })
        });
        cards.collect()
    }

    /// Every kind with its own price, or that of its wider kind. `None`: without a price.
    pub fn resolved(self) -> Option<Price> {
        let (input, output) = self.input.zip(self.output)?;
        Some(Price {
            input,
            output,
            cache_read: self.cache_read.unwrap_or(input),
            cache_write_5m: self.cache_write_5m.unwrap_or(input),
            cache_write_1h: self.cache_write_1h.or(self.cache_write_5m).unwrap_or(input),
            reasoning: self.reasoning.unwrap_or(output),
            audio_input: self.audio_input.unwrap_or(input),
            audio_output: self.audio_output.unwrap_or(output),
            image_input: self.image_input.unwrap_or(input),
            image_output: self.image_output.unwrap_or(output),
        })
    }

    fn read(entry: &Entry, price: impl Fn(Meter) -> Option<i64>) -> Self {
        let input = price(Meter::Input);
        let reasoning = price(Meter::Reasoning);
        let audio_output = price(Meter::AudioOut);
        let image_output = price(Meter::ImageOut);
        // Output of a kind that is not told costs at most what the dearest kind does.
        let dearest_output = reasoning.max(audio_output).max(image_output);
        // An embedding has no output, and the catalogue no price for what there is none of.
        let no_output = (entry.mode == Mode::Embedding && input.is_some()).then_some(0);
        let prices = Self {
            input,
            output: price(Meter::Output).or(dearest_output).or(no_output),
            cache_read: price(Meter::CacheRead),
            cache_write_5m: price(Meter::CacheWrite),
            cache_write_1h: price(Meter::CacheWriteHour),
            reasoning,
            audio_input: price(Meter::AudioIn),
            audio_output,
            image_input: price(Meter::ImageIn),
            image_output,
        };
        if prices.each().into_iter().flatten().any(|price| price > 0) {
            prices
        } else {
            Self::default()
        }
    }

    const fn each(self) -> [Option<i64>; 10] {
        [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.reasoning,
            self.audio_input,
            self.audio_output,
            self.image_input,
            self.image_output,
        ]
    }
}

/// `None`: its API is not served.
const fn service(service: builtin::Service) -> Option<Service> {
    Some(match service {
        builtin::Service::Standard => Service::Standard,
        builtin::Service::Flex => Service::Flex,
        builtin::Service::Balanced => Service::Balanced,
        builtin::Service::Priority => Service::Priority,
        builtin::Service::Ultrafast => Service::Ultrafast,
        builtin::Service::Batch => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::builtin::{Catalogue, Rates};
    use super::*;

    fn prices(mode: Mode, standard: &[(Meter, u64)]) -> Prices {
        let standard: BTreeMap<Meter, u64> = standard.iter().copied().collect();
        Prices::of(&Entry {
            provider: "openai",
            model: "m",
            mode,
            max_input_tokens: None,
            max_output_tokens: None,
            deprecated_on: None,
            standard: Rates::try_from(standard).unwrap(),
            cards: Vec::new(),
        })
    }

    #[test]
    fn every_kind_of_token_has_the_price_of_its_meter() {
        let meters = [
            (Meter::Input, 1),
            (Meter::Output, 2),
            (Meter::CacheRead, 3),
            (Meter::CacheWrite, 4),
            (Meter::CacheWriteHour, 5),
            (Meter::Reasoning, 6),
            (Meter::AudioIn, 7),
            (Meter::AudioOut, 8),
            (Meter::ImageIn, 9),
            (Meter::ImageOut, 10),
        ];
        let expected = Prices {
            input: Some(1),
            output: Some(2),
            cache_read: Some(3),
            cache_write_5m: Some(4),
            cache_write_1h: Some(5),
            reasoning: Some(6),
            audio_input: Some(7),
            audio_output: Some(8),
            image_input: Some(9),
            image_output: Some(10),
        };
        assert_eq!(prices(Mode::Chat, &meters), expected);
    }

    #[test]
    fn output_without_a_price_costs_what_its_dearest_kind_costs() {
        let image = [(Meter::Input, 5), (Meter::ImageOut, 40)];
        assert_eq!(prices(Mode::ImageGeneration, &image).output, Some(40));
        let both = [
            (Meter::Input, 5),
            (Meter::ImageOut, 40),
            (Meter::AudioOut, 60),
        ];
        assert_eq!(prices(Mode::Chat, &both).output, Some(60));
        let named = [
            (Meter::Input, 5),
            (Meter::Output, 10),
            (Meter::AudioOut, 60),
        ];
        assert_eq!(prices(Mode::Chat, &named).output, Some(10));
    }

    #[test]
    fn only_an_embedding_has_output_for_nothing() {
        let input = [(Meter::Input, 5)];
        assert_eq!(prices(Mode::Embedding, &input).output, Some(0));
        assert_eq!(prices(Mode::Chat, &input).output, None);
    }

    #[test]
    fn a_model_that_charges_by_something_else_than_tokens_has_no_price() {
        for meter in [
            Meter::Queries,
            Meter::SecondsIn,
            Meter::CharsIn,
            Meter::ImagesOut,
            Meter::PixelsIn,
            Meter::Pages,
            Meter::Requests,
        ] {
            let free = [(Meter::Input, 0), (Meter::Output, 0), (meter, 7)];
            assert_eq!(prices(Mode::Chat, &free), Prices::default(), "{meter:?}");
            let silent = [(meter, 7)];
            assert_eq!(prices(Mode::Chat, &silent), Prices::default(), "{meter:?}");
            let input = [(Meter::Input, 1), (meter, 7)];
            assert_eq!(prices(Mode::Chat, &input).input, Some(1), "{meter:?}");
        }
        let embedding = [(Meter::Input, 0), (Meter::Queries, 7)];
        assert_eq!(prices(Mode::Embedding, &embedding), Prices::default());
    }

    #[test]
    fn a_moderation_model_has_no_price() {
        let entries = Catalogue::builtin().unwrap().entries().iter();
        let mut moderation = entries
            .filter(|entry| entry.mode == Mode::Moderation)
            .peekable();
        assert!(moderation.peek().is_some());
        assert!(moderation.all(|entry| Prices::of(entry) == Prices::default()));
    }

    #[test]
    fn models_of_the_catalogue_are_priced_by_these_rules() {
        let catalogue = Catalogue::builtin().unwrap();
        let of = |provider, model| Prices::of(catalogue.get(provider, model).unwrap());
        assert_eq!(of("azure", "gpt-image-1").output, Some(40_000_000_000));
        let claude = of("anthropic", "claude-sonnet-4-5");
        assert_eq!(claude.cache_write_1h, Some(6_000_000_000));
        for (provider, model) in [
            ("openai", "whisper-1"),
            ("azure_ai", "cohere-rerank-v3-english"),
            ("gemini", "lyria-3-pro-preview"),
        ] {
            assert_eq!(of(provider, model), Prices::default(), "{model}");
        }
    }
}
