//! Prices and costs.
//!
//! A price is nano-dollars per million tokens, an integer. The cost of an exchange is the sum over
//! its kinds of tokens, rounded up once at the end: never in the caller's favour, and never by more
//! than a nano-dollar.

use crate::money::Nanos;
use crate::units::{UnitPrices, Units};

const PER_TOKENS: i128 = 1_000_000;
/// Most tokens of one kind that one exchange may be charged for; more is a provider's mistake.
pub const MAX_TOKENS: u64 = 1 << 40;

/// What a model charges, nano-dollars per million tokens. A kind that its price list does not name
/// costs what its wider kind does: [`Price::uniform`] is where to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Uncached input that is no audio and no image.
    pub input: i64,
    /// Output that is no reasoning, audio or image.
    pub output: i64,
    /// Input read from the provider's prompt cache.
    pub cache_read: i64,
    /// Input written to the provider's prompt cache for its ordinary time (five minutes).
    pub cache_write_5m: i64,
    /// Input written to the provider's prompt cache for an hour.
    pub cache_write_1h: i64,
    /// Output spent on reasoning.
    pub reasoning: i64,
    /// Uncached audio of the input.
    pub audio_input: i64,
    /// Audio of the output.
    pub audio_output: i64,
    /// Uncached images of the input.
    pub image_input: i64,
    /// Images of the output.
    pub image_output: i64,
}

/// Tokens of one exchange, each counted under exactly one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// See [`Price::input`].
    pub input: u64,
    /// See [`Price::output`].
    pub output: u64,
    /// See [`Price::cache_read`].
    pub cache_read: u64,
    /// See [`Price::cache_write_5m`].
    pub cache_write_5m: u64,
    /// See [`Price::cache_write_1h`].
    pub cache_write_1h: u64,
    /// See [`Price::reasoning`].
    pub reasoning: u64,
    /// See [`Price::audio_input`].
    pub audio_input: u64,
    /// See [`Price::audio_output`].
    pub audio_output: u64,
    /// See [`Price::image_input`].
    pub image_input: u64,
    /// See [`Price::image_output`].
    pub image_output: u64,
}

impl Price {
    /// The same price for every kind of input, and the same for every kind of output.
    pub const fn uniform(input: i64, output: i64) -> Self {
        Self {
            input,
            output,
            cache_read: input,
            cache_write_5m: input,
            cache_write_1h: input,
            reasoning: output,
            audio_input: input,
            audio_output: output,
            image_input: input,
            image_output: output,
        }
    }

    /// Of two prices, the dearer for each kind of token.
    #[must_use]
    pub fn dearest(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write_5m: self.cache_write_5m.max(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
            reasoning: self.reasoning.max(other.reasoning),
            audio_input: self.audio_input.max(other.audio_input),
            audio_output: self.audio_output.max(other.audio_output),
            image_input: self.image_input.max(other.image_input),
            image_output: self.image_output.max(other.image_output),
        }
    }

    /// Of the kinds of input, the dearest.
    fn dearest_input(self) -> i64 {
        self.input
            .max(self.cache_read)
            .max(self.cache_write_5m)
            .max(self.cache_write_1h)
            .max(self.audio_input)
            .max(self.image_input)
    }

    /// Of the kinds of output, the dearest.
    fn dearest_output(self) -> i64 {
        self.output
            .max(self.reasoning)
            .max(self.audio_output)
            .max(self.image_output)
    }

    const fn each(self) -> [i64; 10] {
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

impl Tokens {
    /// All of them, for token limits.
    pub fn total(self) -> u64 {
        self.each().into_iter().fold(0, u64::saturating_add)
    }

    /// All of the input, whether it went through a cache or not.
    pub fn all_input(self) -> u64 {
        let input = [
            self.input,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.audio_input,
            self.image_input,
        ];
        input.into_iter().fold(0, u64::saturating_add)
    }

    /// In the order of [`Price::each`].
    const fn each(self) -> [u64; 10] {
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

/// What `tokens` cost at `price`, rounded up to a nano-dollar. `None`: beyond the range of money
/// (more than nine billion dollars), or a count beyond [`MAX_TOKENS`].
pub fn cost(tokens: Tokens, price: Price) -> Option<Nanos> {
    cost_with_units(tokens, price, Units::default(), UnitPrices::default())
}

/// The same, with what is billed beside tokens.
pub fn cost_with_units(
    tokens: Tokens,
    price: Price,
    units: Units,
    unit_prices: UnitPrices,
) -> Option<Nanos> {
    let mut sum: i128 = units.millionths(unit_prices)?;
    for (count, each) in tokens.each().into_iter().zip(price.each()) {
        if count > MAX_TOKENS || each < 0 {
            return None;
        }
        sum = sum.checked_add(i128::from(count).checked_mul(i128::from(each))?)?;
    }
    let up = sum
        .checked_add(PER_TOKENS.checked_sub(1)?)?
        .checked_div(PER_TOKENS)?;
    i64::try_from(up).ok().map(Nanos::new)
}

/// An upper bound of what a request can cost: so many tokens of the dearest kind of input, and so
/// many of the dearest kind of output for each of its choices.
pub fn upper_bound(
    input_tokens: u64,
    output_tokens: u64,
    choices: u64,
    price: Price,
) -> Option<Nanos> {
    let tokens = Tokens {
        input: input_tokens,
        output: output_tokens.checked_mul(choices)?,
        ..Tokens::default()
    };
    let dearest = Price::uniform(price.dearest_input(), price.dearest_output());
    cost(tokens, dearest)
}

/// The most output tokens of each choice for which [`upper_bound`] is within `most`. `None`: not even the
/// input is, or output costs nothing.
pub fn output_within(most: Nanos, input_tokens: u64, choices: u64, price: Price) -> Option<u64> {
    let input = upper_bound(input_tokens, 0, choices, price)?;
    let rest = most
        .get()
        .checked_sub(input.get())
        .filter(|rest| *rest >= 0)?;
    let each = i128::from(price.dearest_output()).checked_mul(i128::from(choices))?;
    let tokens = i128::from(rest)
        .checked_mul(PER_TOKENS)?
        .checked_div(each)?;
    u64::try_from(tokens)
        .ok()
        .filter(|tokens| *tokens <= MAX_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const GPT_4O: Price = Price {
        cache_read: 1_250_000_000,
        ..Price::uniform(2_500_000_000, 10_000_000_000)
    };

    #[test]
    fn a_known_exchange_costs_what_the_price_list_says() {
        let tokens = Tokens {
            input: 1000,
            output: 500,
            cache_read: 200,
            ..Tokens::default()
        };
        assert_eq!(cost(tokens, GPT_4O), Some(Nanos::new(7_750_000)));
    }

    #[test]
    fn every_kind_is_charged_at_its_own_price() {
        let price = Price {
            input: 1_000_000,
            output: 2_000_000,
            cache_read: 3_000_000,
            cache_write_5m: 5_000_000,
            cache_write_1h: 7_000_000,
            reasoning: 11_000_000,
            audio_input: 13_000_000,
            audio_output: 17_000_000,
            image_input: 19_000_000,
            image_output: 23_000_000,
        };
        let tokens = Tokens {
            input: 1,
            output: 10,
            cache_read: 100,
            cache_write_5m: 1_000,
            cache_write_1h: 10_000,
            reasoning: 100_000,
            audio_input: 1_000_000,
            audio_output: 10_000_000,
            image_input: 100_000_000,
            image_output: 1_000_000_000,
        };
        assert_eq!(cost(tokens, price), Some(Nanos::new(25_084_175_321)));
        assert_eq!(tokens.total(), 1_111_111_111);
    }

    #[test]
    fn a_fraction_of_a_nano_dollar_is_charged_whole_and_once() {
        let tokens = Tokens {
            input: 1,
            output: 1,
            cache_read: 1,
            cache_write_1h: 1,
            ..Tokens::default()
        };
        let price = Price::uniform(1, 1);
        assert_eq!(cost(tokens, price), Some(Nanos::new(1)));
        assert_eq!(cost(Tokens::default(), price), Some(Nanos::ZERO));
    }

    #[test]
    fn an_absurd_count_or_price_has_no_cost_rather_than_a_wrong_one() {
        let tokens = Tokens {
            input: MAX_TOKENS + 1,
            ..Tokens::default()
        };
        assert_eq!(cost(tokens, GPT_4O), None);
        let price = Price {
            input: i64::MAX,
            ..GPT_4O
        };
        assert_eq!(
            cost(
                Tokens {
                    input: MAX_TOKENS,
                    ..Tokens::default()
                },
                price
            ),
            None
        );
        assert_eq!(cost(Tokens::default(), Price::uniform(-1, 0)), None);
        assert_eq!(upper_bound(1, u64::MAX, 2, GPT_4O), None);
    }

    #[test]
    fn units_and_tokens_are_rounded_up_together_and_once() {
        let prices = UnitPrices {
            search: 2_000_000_000_000,
            character: 15_000_000_000,
            second: 100_000_000_000,
            image: 500_000,
        };
        let units = Units {
            searches: 3,
            characters: 7,
            seconds: 11,
            images: 1,
        };
        let tokens = Tokens {
            input: 1,
            ..Tokens::default()
        };
        let price = Price::uniform(500_000, 0);
        let cost = |tokens, units| cost_with_units(tokens, price, units, prices);
        assert_eq!(
            cost(tokens, units),
            Some(Nanos::new(6_000_000 + 105_000 + 1_100_000 + 1))
        );
        let absurd = Units {
            searches: u64::MAX,
            ..units
        };
        assert_eq!(cost(tokens, absurd), None);
        let below = UnitPrices {
            second: -1,
            ..prices
        };
        assert_eq!(cost_with_units(tokens, price, units, below), None);
    }

    #[test]
    fn as_much_output_as_the_money_is_enough_for() {
        // 100 tokens of input, two choices.
        let most = Nanos::new(100 * 2_500 + 2 * 300 * 10_000);
        assert_eq!(output_within(most, 100, 2, GPT_4O), Some(300));
        assert_eq!(output_within(Nanos::new(249_999), 100, 2, GPT_4O), None);
        assert_eq!(output_within(most, 100, 2, Price::uniform(1, 0)), None);
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn output_that_is_within_a_sum_costs_no_more_than_it(
            most in 0i64..1_000_000_000_000, input in 0u64..1_000_000, choices in 1u64..128,
            each_input in 0i64..100_000_000_000, each_output in 1i64..100_000_000_000,
        ) {
            let price = Price::uniform(each_input, each_output);
            if let Some(tokens) = output_within(Nanos::new(most), input, choices, price) {
                let cost = upper_bound(input, tokens, choices, price).unwrap();
                proptest::prop_assert!(cost.get() <= most);
            }
        }

        #[test]
        fn what_was_reserved_covers_whatever_the_exchange_costs(
            most_input in 0u64..10_000_000, most_output in 0u64..1_000_000, choices in 1u64..128,
            prices in proptest::array::uniform10(0i64..100_000_000_000),
            shares in proptest::array::uniform10(0u64..=1000),
        ) {
            let [input, output, cache_read, cache_write_5m, cache_write_1h, reasoning,
                audio_input, audio_output, image_input, image_output] = prices;
            let price = Price {
                input, output, cache_read, cache_write_5m, cache_write_1h, reasoning,
                audio_input, audio_output, image_input, image_output,
            };
            let reserved = upper_bound(most_input, most_output, choices, price).unwrap();
            // Any honest split of at most the input and the output that were allowed.
            let ins: u64 = [0, 2, 3, 4, 6, 8].iter().map(|&i| shares[i]).sum::<u64>().max(1);
            let outs: u64 = [1, 5, 7, 9].iter().map(|&i| shares[i]).sum::<u64>().max(1);
            let of_input = |index: usize| most_input * shares[index] / ins;
            let of_output = |index: usize| most_output * choices * shares[index] / outs;
            let tokens = Tokens {
                input: of_input(0),
                output: of_output(1),
                cache_read: of_input(2),
                cache_write_5m: of_input(3),
                cache_write_1h: of_input(4),
                reasoning: of_output(5),
                audio_input: of_input(6),
                audio_output: of_output(7),
                image_input: of_input(8),
                image_output: of_output(9),
            };
            proptest::prop_assert!(cost(tokens, price).unwrap() <= reserved);
        }
    }
}
