use std::fmt;

use zeroize::Zeroizing;

/// Text that must reach no log, dump, metric or API answer. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What people may see of it: the last four characters, or nothing of a secret so short that
    /// four characters would give it away.
    pub fn last4(&self) -> String {
        const SHORTEST_TO_SHOW: usize = 12;
        let count = self.0.chars().count();
        if count < SHORTEST_TO_SHOW {
            return String::new();
        }
        self.0.chars().skip(count - 4).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_holds_the_text() {
        let shown = format!("{:?}", Secret::new("sk-live-0123456789"));
        assert_eq!(shown, "Secret(redacted)");
    }

    #[test]
    fn four_characters_of_a_long_secret_are_shown_and_none_of_a_short_one() {
        assert_eq!(Secret::new("sk-live-0123456789").last4(), "6789");
        assert_eq!(Secret::new("demo").last4(), "");
        assert_eq!(Secret::new("schlüssel-ß-€öäü").last4(), "€öäü");
    }
}
