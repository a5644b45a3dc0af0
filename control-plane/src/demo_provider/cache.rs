//! How the steering divides a prompt between what a cache had and what it had not.

use super::steering::Steering;

/// The tokens of a prompt. The parts are disjoint; together they are the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    /// Neither read from a cache nor written to one.
    pub(super) fresh: u64,
    /// Read from a cache.
    pub(super) read: u64,
    /// Written to a cache for five minutes.
    pub(super) written_5m: u64,
    /// Written to a cache for an hour.
    pub(super) written_1h: u64,
}

impl Cache {
    /// Divides `tokens`: each part takes what was asked for, at most what the parts before it left.
    pub(super) fn of(tokens: u64, steering: &Steering) -> Self {
        let mut fresh = tokens;
        let mut take = |most: u32| {
            let taken = fresh.min(most.into());
            fresh = fresh.saturating_sub(taken);
            taken
        };
        let read = take(steering.cached_tokens);
        let written_5m = take(steering.cache_write_tokens);
        let written_1h = take(steering.cache_write_1h_tokens);
        Self {
            fresh,
            read,
            written_5m,
            written_1h,
        }
    }

    /// Written to a cache, for however long.
    pub(super) fn written(self) -> u64 {
        self.written_5m.saturating_add(self.written_1h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_in_two_parts() {
        let steering = Steering {
            cached_tokens: 3,
            cache_write_tokens: 4,
            cache_write_1h_tokens: 5,
            ..Steering::default()
        };
        let parts = |tokens| {
            let cache = Cache::of(tokens, &steering);
            [cache.read, cache.written_5m, cache.written_1h, cache.fresh]
        };
        assert_eq!(parts(20), [3, 4, 5, 8]);
        assert_eq!(parts(9), [3, 4, 2, 0]);
        assert_eq!(parts(2), [2, 0, 0, 0]);
    }
}
