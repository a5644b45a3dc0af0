//! The text of an answer, and the rule that counts tokens.
//!
//! # The rule
//! A token is the longest run of whole characters that fits into four bytes. For ASCII that is
//! "bytes divided by four, rounded up". Each text (one message, one system prompt, one answer) is
//! counted by itself. Prompts and answers follow the same rule, and a stream sends one token per
//! chunk, so the usage of an answer can be checked by counting its chunks.
//!
//! What is no text, an image or a recording, counts the same: its bytes divided by four, rounded up.
//! That is far from any vendor's price of a picture, and easy to check.

use std::iter;

/// Longest part of the prompt that an answer quotes, in characters.
const QUOTED_CHARS: usize = 200;
/// Bytes of a token, at most.
pub(super) const TOKEN_BYTES: usize = 4;

/// What an answer is padded with when more tokens are asked for than it has to say.
const WORDS: [&str; 32] = [
    "apple", "bridge", "cloud", "dune", "ember", "field", "garden", "harbour", "island", "jade",
    "kettle", "lantern", "meadow", "north", "orchard", "pebble", "quiet", "river", "stone",
    "timber", "umbrella", "valley", "willow", "yarn", "zephyr", "anchor", "breeze", "copper",
    "drift", "echo", "fern", "grove",
];

/// The text of one answer, cut into tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// One token each; put together they are the text.
    pub(super) tokens: Vec<String>,
    /// Tokens of it that are thoughts, which come before the text and are not shown.
    pub(super) reasoning: u64,
    /// Whether the request's own maximum cut the text short.
    pub(super) truncated: bool,
}

impl Answer {
    /// The text as a whole.
    pub(super) fn text(&self) -> String {
        self.tokens.concat()
    }

    /// How many tokens are shown.
    pub(super) fn shown(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// How many tokens it has, shown or not.
    pub(super) fn len(&self) -> u64 {
        self.shown().saturating_add(self.reasoning)
    }

    /// The same answer, of which the first `most` tokens are thoughts.
    pub(super) fn with_reasoning(mut self, most: u32) -> Self {
        let thoughts = self.tokens.len().min(most as usize);
        self.tokens.drain(..thoughts);
        self.reasoning = thoughts as u64;
        self
    }
}

/// Who answers what: everything an answer's text is derived from.
pub(super) struct Subject<'a> {
    /// Name of this instance.
    pub(super) provider: &'a str,
    /// The model that was asked for.
    pub(super) model: &'a str,
    /// The last text of the prompt.
    pub(super) asked: &'a str,
}

/// The answer about `subject`: exactly `wanted` tokens long if given, and never longer than `most`.
pub(super) fn answer(subject: &Subject<'_>, wanted: Option<u32>, most: Option<u32>) -> Answer {
    let limit = most.map_or(usize::MAX, |most| most as usize);
    let mut text = opening(subject);
    let mut truncated = false;
    if let Some(wanted) = wanted.map(|wanted| wanted as usize) {
        truncated = wanted > limit;
        let needed = wanted.min(limit).saturating_mul(TOKEN_BYTES);
        let mut words = filler(seed(subject));
        while text.len() < needed {
            text.push(' ');
            text.extend(words.next());
        }
    }
    let mut tokens: Vec<String> = tokens(&text).map(str::to_owned).collect();
    match wanted {
        Some(wanted) => tokens.truncate((wanted as usize).min(limit)),
        None => {
            truncated = tokens.len() > limit;
            tokens.truncate(limit);
        }
    }
    Answer {
        tokens,
        reasoning: 0,
        truncated,
    }
}

/// Counts `text` by the rule above.
pub(super) fn count(text: &str) -> u64 {
    tokens(text).fold(0, |count, _| count + 1)
}

/// Counts what is no text by the rule above.
pub(super) fn count_bytes(bytes: &[u8]) -> u64 {
    bytes.len().div_ceil(TOKEN_BYTES) as u64
}

/// A number that depends on every byte of the parts and on nothing else (FNV-1a, 64 bit).
pub(super) fn hash(parts: &[&str]) -> u64 {
    let bytes = parts
        .iter()
        .flat_map(|part| part.bytes().chain(iter::once(0xff)));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// An endless, repeatable sequence of numbers from `seed` (SplitMix64).
pub(super) fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
    iter::repeat_with(move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let (token, after) = rest.split_at_checked(rest.floor_char_boundary(TOKEN_BYTES))?;
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}

fn opening(subject: &Subject<'_>) -> String {
    let quoted: String = subject.asked.chars().take(QUOTED_CHARS).collect();
    format!(
        "This is the demo provider \"{}\" answering as {}. You wrote: {quoted}",
        subject.provider, subject.model
    )
}

fn seed(subject: &Subject<'_>) -> u64 {
    hash(&[subject.model, subject.asked])
}

fn filler(seed: u64) -> impl Iterator<Item = &'static str> {
    // The top five bits choose one of the 32 words.
    numbers(seed).filter_map(|number| WORDS.get(usize::try_from(number >> 59).ok()?).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject<'_> = Subject {
        provider: "demo",
        model: "gpt-4o",
        asked: "Hello",
    };

    #[test]
    fn ascii_counts_one_token_per_four_bytes_rounded_up() {
        for (text, tokens) in [
            ("", 0),
            ("a", 1),
            ("four", 1),
            ("fives", 2),
            ("twelve bytes", 3),
        ] {
            assert_eq!(count(text), tokens, "{text}");
        }
    }

    #[test]
    fn a_token_never_splits_a_character() {
        assert_eq!(tokens("aé€😀b").collect::<Vec<_>>(), ["aé", "€", "😀", "b"]);
    }

    #[test]
    fn an_answer_has_exactly_the_tokens_asked_for() {
        for wanted in [0, 1, 5, 37, 500] {
            let answer = answer(&SUBJECT, Some(wanted), None);
            assert_eq!(answer.len(), u64::from(wanted));
            assert_eq!(count(&answer.text()), u64::from(wanted));
            assert!(!answer.truncated);
        }
    }

    #[test]
    fn thoughts_are_a_part_of_the_answer_that_is_not_shown() {
        for (asked, reasoning, shown) in [(0, 0, 10), (4, 4, 6), (99, 10, 0)] {
            let answer = answer(&SUBJECT, Some(10), None).with_reasoning(asked);
            assert_eq!((answer.reasoning, answer.shown()), (reasoning, shown));
            assert_eq!(answer.len(), 10);
        }
    }

    #[test]
    fn an_answer_with_wide_characters_has_exactly_the_tokens_asked_for() {
        let subject = Subject {
            asked: "日本語のテキスト",
            ..SUBJECT
        };
        assert_eq!(answer(&subject, Some(40), None).len(), 40);
    }

    #[test]
    fn the_maximum_of_the_request_cuts_the_answer_short() {
        assert!(answer(&SUBJECT, Some(50), Some(10)).truncated);
        assert_eq!(answer(&SUBJECT, Some(50), Some(10)).len(), 10);
        assert!(answer(&SUBJECT, None, Some(3)).truncated);
        assert!(!answer(&SUBJECT, Some(10), Some(10)).truncated);
    }

    #[test]
    fn the_same_request_gets_the_same_text_and_another_gets_another() {
        let again = answer(&SUBJECT, Some(60), None);
        assert_eq!(answer(&SUBJECT, Some(60), None), again);
        let other = Subject {
            asked: "Howdy",
            ..SUBJECT
        };
        assert_ne!(answer(&other, Some(60), None), again);
    }

    #[test]
    fn the_answer_quotes_the_prompt() {
        assert!(
            answer(&SUBJECT, None, None)
                .text()
                .ends_with("You wrote: Hello")
        );
    }
}
