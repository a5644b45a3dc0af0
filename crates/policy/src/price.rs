//! Prices and costs.
//!
//! A price is nano-dollars per million tokens, an integer. The cost of an exchange is the sum over
//! its kinds of tokens, rounded up once at the end: never in the caller's favour, and never by more
//! than a nano-dollar.

use crate::money::Nanos;

const PER_TOKENS: i128 = 1_000_000;
/// Most tokens of one kind that one exchange may be charged for; more is a provider's mistake.
pub const MAX_TOKENS: u64 = 1 << 40;

/// What a model charges, nano-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Uncached input.
    pub input: i64,
    /// Output, reasoning included.
    pub output: i64,
    /// Input read from the provider's prompt cache.
    pub cache_read: i64,
    /// Input written to the provider's prompt cache.
    pub cache_write: i64,
}

/// Tokens of one exchange, each counted under exactly one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Uncached input.
    pub input: u64,
    /// Output, reasoning included.
    pub output: u64,
    /// Input read from the provider's prompt cache.
    pub cache_read: u64,
    /// Input written to the provider's prompt cache.
    pub cache_write: u64,
}

impl Tokens {
    /// All of them, for token limits.
    pub const fn total(self) -> u64 {
        self.input
            .saturating_add(self.output)
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
    }
}

/// What `tokens` cost at `price`, rounded up to a nano-dollar. `None`: beyond the range of money
/// (more than nine billion dollars), or a count beyond [`MAX_TOKENS`].
pub fn cost(tokens: Tokens, price: Price) -> Option<Nanos> {
    let kinds = [
        (tokens.input, price.input),
        (tokens.output, price.output),
        (tokens.cache_read, price.cache_read),
        (tokens.cache_write, price.cache_write),
    ];
    let mut sum: i128 = 0;
    for (count, each) in kinds {
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

/// An upper bound of what a request can cost: every byte of its body a token of the dearest kind of
/// input (a byte-level BPE token covers at least one byte), and the most output it may have.
pub fn upper_bound(
    body_bytes: u64,
    max_output_tokens: u64,
    choices: u32,
    price: Price,
) -> Option<Nanos> {
    let dearest = price.input.max(price.cache_write).max(price.cache_read);
    let output = max_output_tokens.checked_mul(u64::from(choices))?;
    let tokens = Tokens {
        input: body_bytes,
        output,
        ..Tokens::default()
    };
    cost(
        tokens,
        Price {
            input: dearest,
            ..price
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const GPT_4O: Price = Price {
        input: 2_500_000_000,
        output: 10_000_000_000,
        cache_read: 1_250_000_000,
        cache_write: 2_500_000_000,
    };

    #[test]
    fn a_known_exchange_costs_what_the_price_list_says() {
        let tokens = Tokens {
            input: 1000,
            output: 500,
            cache_read: 200,
            cache_write: 0,
        };
        assert_eq!(cost(tokens, GPT_4O), Some(Nanos::new(7_750_000)));
    }

    #[test]
    fn a_fraction_of_a_nano_dollar_is_charged_whole_and_once() {
        let price = Price {
            input: 1,
            output: 1,
            cache_read: 1,
            cache_write: 1,
        };
        let tokens = Tokens {
            input: 1,
            output: 1,
            cache_read: 1,
            cache_write: 1,
        };
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
        assert_eq!(
            cost(
                Tokens::default(),
                Price {
                    input: -1,
                    ..GPT_4O
                }
            ),
            None
        );
        assert_eq!(upper_bound(1, u64::MAX, 2, GPT_4O), None);
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn what_was_reserved_covers_whatever_the_exchange_costs(
            body in 0u64..10_000_000, max_output in 0u64..1_000_000, choices in 1u32..128,
            input_price in 0i64..100_000_000_000, output_price in 0i64..100_000_000_000,
            read_price in 0i64..100_000_000_000, write_price in 0i64..100_000_000_000,
            shares in proptest::array::uniform3(0u64..=1000), output_share in 0u64..=1000,
        ) {
            let price = Price {
                input: input_price, output: output_price,
                cache_read: read_price, cache_write: write_price,
            };
            let reserved = upper_bound(body, max_output, choices, price).unwrap();
            // Any honest split of at most `body` input tokens and the output that was allowed.
            let whole: u64 = shares.iter().sum::<u64>().max(1);
            let tokens = Tokens {
                input: body * shares[0] / whole,
                cache_read: body * shares[1] / whole,
                cache_write: body * shares[2] / whole,
                output: max_output * u64::from(choices) * output_share / 1000,
            };
            proptest::prop_assert!(cost(tokens, price).unwrap() <= reserved);
        }
    }
}
