//! All prices of a model: those of an ordinary request, of other service tiers, and of long inputs.
//!
//! A card holds under a condition: a tier, an input longer than so many tokens, or both. What an answer
//! is charged is decided by the tier it says it was served in and by its input as counted; what is
//! reserved is the dearest of all that may come to be charged. Where a tier has no card for long inputs
//! and ordinary requests have one, each kind of token costs the dearer of the two.

use crate::price::Price;
use crate::units::UnitPrices;

/// How a provider serves a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Service {
    /// As an ordinary request.
    #[default]
    Standard,
    /// Slower and cheaper.
    Flex,
    /// Between flex and priority.
    Balanced,
    /// Faster and dearer.
    Priority,
    /// Fastest and dearest.
    Ultrafast,
}

/// Every tier.
const SERVICES: [Service; 5] = [
    Service::Standard,
    Service::Flex,
    Service::Balanced,
    Service::Priority,
    Service::Ultrafast,
];

/// In which tiers a request may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// In this one, or as an ordinary request where the provider has no room in it.
    For(Service),
    /// In any that the provider chooses.
    Any,
}

/// Prices that hold under a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// The tier that the request was served in.
    pub service: Service,
    /// The input has more tokens than this; all of the request then costs these prices. 0: any input.
    pub above_tokens: u64,
    /// The prices.
    pub price: Price,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    /// Of an ordinary request.
    pub standard: Price,
    /// Under conditions.
    pub cards: Vec<Card>,
    /// Of what is billed beside tokens.
    pub units: UnitPrices,
    /// Changes whenever a price changes; written on every record that was charged by it.
    pub version: u64,
}

impl From<Price> for PriceList {
    fn from(standard: Price) -> Self {
        Self {
            standard,
            cards: Vec::new(),
            units: UnitPrices::default(),
            version: 0,
        }
    }
}

impl PriceList {
    /// What an answer served in this tier, to an input of so many tokens, is charged by.
    pub fn of(&self, service: Service, input_tokens: u64) -> Price {
        let long = self.card(Service::Standard, input_tokens);
        let standard = long.map_or(self.standard, |card| card.price);
        if service == Service::Standard {
            return standard;
        }
        let Some(own) = self.card(service, input_tokens) else {
            return standard;
        };
        match long {
            Some(long) if long.above_tokens > own.above_tokens => own.price.dearest(long.price),
            _ => own.price,
        }
    }

    /// What an answer that does not say its tier is charged by.
    pub fn of_unsaid(&self, asked: Asked, input_tokens: u64) -> Price {
        let standard = self.of(Service::Standard, input_tokens);
        match asked {
            Asked::For(service) => self.of(service, input_tokens).dearest(standard),
            Asked::Any => standard,
        }
    }

    /// Of everything that a request with at most so much input may come to be charged by, the dearest for
    /// each kind of token.
    pub fn dearest(&self, asked: Asked, most_input: u64) -> Price {
        let may_be = |service: Service| match asked {
            Asked::For(named) => service == named || service == Service::Standard,
            Asked::Any => true,
        };
        self.cards
            .iter()
            .filter(|card| may_be(card.service) && applies(card, most_input))
            .fold(self.standard, |dearest, card| dearest.dearest(card.price))
    }

    /// The card of this tier for the longest inputs that this one is longer than.
    fn card(&self, service: Service, input_tokens: u64) -> Option<&Card> {
        self.cards
            .iter()
            .filter(|card| card.service == service && applies(card, input_tokens))
            .max_by_key(|card| card.above_tokens)
    }
}

const fn applies(card: &Card, input_tokens: u64) -> bool {
    card.above_tokens == 0 || input_tokens > card.above_tokens
}

impl Service {
    /// The word for it in JSON and on records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Balanced => "balanced",
            Self::Priority => "priority",
            Self::Ultrafast => "ultrafast",
        }
    }

    /// The tier of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        SERVICES
            .into_iter()
            .find(|service| service.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const STANDARD: Price = Price::uniform(10, 100);
    const LONG: Price = Price::uniform(20, 150);
    const FLEX: Price = Price::uniform(5, 50);
    const PRIORITY: Price = Price::uniform(18, 180);
    const PRIORITY_LONG: Price = Price::uniform(36, 270);

    fn list() -> PriceList {
        let card = |service, above_tokens, price| Card {
            service,
            above_tokens,
            price,
        };
        PriceList {
            standard: STANDARD,
            cards: vec![
                card(Service::Standard, 200_000, LONG),
                card(Service::Flex, 0, FLEX),
                card(Service::Priority, 0, PRIORITY),
                card(Service::Priority, 200_000, PRIORITY_LONG),
            ],
            units: UnitPrices::default(),
            version: 1,
        }
    }

    #[test]
    fn an_input_longer_than_the_bound_of_a_card_costs_its_prices_as_a_whole() {
        assert_eq!(list().of(Service::Standard, 200_000), STANDARD);
        assert_eq!(list().of(Service::Standard, 200_001), LONG);
        assert_eq!(list().of(Service::Priority, 200_000), PRIORITY);
        assert_eq!(list().of(Service::Priority, 200_001), PRIORITY_LONG);
    }

    #[test]
    fn a_tier_without_a_card_for_long_inputs_is_not_cheaper_than_an_ordinary_request() {
        assert_eq!(list().of(Service::Flex, 1), FLEX);
        assert_eq!(list().of(Service::Flex, 200_001), LONG);
    }

    #[test]
    fn a_tier_without_a_card_costs_what_an_ordinary_request_costs() {
        assert_eq!(list().of(Service::Ultrafast, 1), STANDARD);
        assert_eq!(list().of(Service::Ultrafast, 200_001), LONG);
    }

    #[test]
    fn an_answer_that_does_not_say_its_tier_is_never_charged_less_than_an_ordinary_one() {
        let unsaid = |asked| list().of_unsaid(asked, 1);
        assert_eq!(unsaid(Asked::For(Service::Flex)), STANDARD);
        assert_eq!(unsaid(Asked::For(Service::Priority)), PRIORITY);
        assert_eq!(unsaid(Asked::Any), STANDARD);
    }

    #[test]
    fn the_dearest_tier_that_a_request_may_be_served_in_is_reserved() {
        let dearest = |asked, most| list().dearest(asked, most);
        assert_eq!(dearest(Asked::For(Service::Standard), 9), STANDARD);
        assert_eq!(dearest(Asked::For(Service::Standard), 200_001), LONG);
        assert_eq!(dearest(Asked::For(Service::Flex), 9), STANDARD);
        assert_eq!(dearest(Asked::Any, 9), PRIORITY);
        assert_eq!(dearest(Asked::Any, 200_001), PRIORITY_LONG);
    }

    #[test]
    fn every_tier_has_a_word_of_its_own() {
        for service in SERVICES {
            assert_eq!(Service::of_word(service.as_str()), Some(service));
        }
        assert_eq!(Service::of_word("batch"), None);
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn whatever_is_charged_was_reserved(
            input in 0u64..1_000, beyond in 0u64..1_000,
            cards in proptest::collection::vec(
                (0usize..5, 0u64..1_000, 0i64..100, 0i64..100), 0..8),
            served in 0usize..5, any in proptest::bool::ANY,
        ) {
            let cards = cards.into_iter().map(|(service, above_tokens, input, output)| Card {
                service: SERVICES[service],
                above_tokens,
                price: Price::uniform(input, output),
            });
            let list = PriceList { cards: cards.collect(), ..list() };
            let service = SERVICES[served];
            let asked = if any { Asked::Any } else { Asked::For(service) };
            let reserved = list.dearest(asked, input + beyond);
            for charged in [list.of(service, input), list.of_unsaid(asked, input)] {
                proptest::prop_assert_eq!(charged.dearest(reserved), reserved);
            }
        }
    }
}
