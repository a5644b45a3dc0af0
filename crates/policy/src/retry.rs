//! After which failures of a provider the next one is tried.

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// No connection, or one that refuses the request unseen.
    ConnectFailure,
    /// It answers that it has failed or is overloaded.
    ServerError,
    /// It answers 429.
    RateLimited,
    /// Its answer does not begin in time, or the connection breaks before it does.
    Timeout,
}

impl RetryClass {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ConnectFailure,
        Self::ServerError,
        Self::RateLimited,
        Self::Timeout,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::ServerError => "5xx",
            Self::RateLimited => "429",
            Self::Timeout => "timeout",
        }
    }

    /// The class of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::ConnectFailure => 1,
            Self::ServerError => 2,
            Self::RateLimited => 4,
            Self::Timeout => 8,
        }
    }
}

/// A set of kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOn(u8);

impl RetryOn {
    /// None of them. Envoy knows one set for a whole request, the union of those of its providers.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(15);

    /// Is this one of them?
    pub const fn contains(self, class: RetryClass) -> bool {
        self.0 & class.bit() != 0
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each of them.
    pub fn classes(self) -> impl Iterator<Item = RetryClass> {
        RetryClass::ALL
            .into_iter()
            .filter(move |class| self.contains(*class))
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<RetryClass> for RetryOn {
    fn from_iter<I: IntoIterator<Item = RetryClass>>(classes: I) -> Self {
        let one = |set: Self, class: RetryClass| set.union(Self(class.bit()));
        classes.into_iter().fold(Self::NONE, one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_set_is_what_was_put_into_it() {
        assert_eq!(
            RetryClass::ALL.into_iter().collect::<RetryOn>(),
            RetryOn::ALL
        );
        for class in RetryClass::ALL {
            let one = RetryOn::from_iter([class]);
            assert_eq!(one.classes().collect::<Vec<_>>(), [class]);
            assert_eq!(RetryClass::parse(class.as_str()), Some(class));
            assert!(!RetryOn::NONE.contains(class));
        }
    }
}
