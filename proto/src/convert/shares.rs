//! What came of attempts, and the shares that come of that.

use reeve_policy::shares::{Counts, Shares, Target, Totals, WHOLE_PPM};

use super::{ConvertError, Problem, optional, present};
use crate::v1;

impl TryFrom<v1::ProviderShares> for Shares {
    type Error = ConvertError;

    fn try_from(message: v1::ProviderShares) -> Result<Self, ConvertError> {
        let factors = message
            .shares
            .into_iter()
            .enumerate()
            .map(|(index, share)| read(share).map_err(|error| error.within("shares", index)));
        Ok(Self::new(factors.collect::<Result<Vec<_>, _>>()?))
    }
}

fn read(share: v1::ProviderShare) -> Result<(Target, u32), ConvertError> {
    let problem = match share.factor_ppm {
        0 => Some(Problem::Missing),
        factor if factor > WHOLE_PPM => Some(Problem::AboveOne),
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(ConvertError::new("factor_ppm", problem));
    }
    let target = Target {
        provider: present("provider", share.provider)?,
        key_id: optional(share.key_id),
    };
    Ok((target, share.factor_ppm))
}

impl From<&Shares> for v1::ProviderShares {
    fn from(shares: &Shares) -> Self {
        let factors = shares.factors();
        Self {
            shares: factors
                .map(|(target, factor_ppm)| v1::ProviderShare {
                    provider: target.provider,
                    key_id: target.key_id.unwrap_or_default(),
                    factor_ppm,
                })
                .collect(),
        }
    }
}

impl From<&Totals> for v1::Observed {
    fn from(totals: &Totals) -> Self {
        let targets = totals.iter().map(|(target, of)| v1::ObservedTarget {
            provider: target.provider.clone(),
            key_id: target.key_id.clone().unwrap_or_default(),
            attempts: of.attempts,
            failed: of.failed,
            unanswered: of.unanswered,
            broken_off: of.broken_off,
            key_refused: of.key_refused,
            rate_limited: of.rate_limited,
            timed: of.timed,
            first_byte_ms: of.first_byte_ms,
        });
        Self {
            targets: targets.collect(),
        }
    }
}

impl v1::Observed {
    /// The totals. What stands in it twice is added up.
    pub fn totals(self) -> Totals {
        let mut totals = Totals::new();
        for of in self.targets {
            let target = Target {
                provider: of.provider,
                key_id: optional(of.key_id),
            };
            totals.entry(target).or_default().add(Counts {
                attempts: of.attempts,
                failed: of.failed,
                unanswered: of.unanswered,
                broken_off: of.broken_off,
                key_refused: of.key_refused,
                rate_limited: of.rate_limited,
                timed: of.timed,
                first_byte_ms: of.first_byte_ms,
            });
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn target(provider: &str, key_id: Option<&str>) -> Target {
        Target {
            provider: provider.into(),
            key_id: key_id.map(Into::into),
        }
    }

    #[test]
    fn shares_and_counts_survive_the_way() {
        let shares = Shares::new([
            (target("a", None), 50_000),
            (target("a", Some("k")), 1),
            (target("b", Some("k")), 999_999),
        ]);
        assert_eq!(
            Shares::try_from(v1::ProviderShares::from(&shares)),
            Ok(shares)
        );
        let counts = Counts {
            attempts: 1,
            failed: 2,
            unanswered: 3,
            broken_off: 4,
            key_refused: 5,
            rate_limited: 6,
            timed: 7,
            first_byte_ms: 8,
        };
        let totals = Totals::from([
            (target("a", None), counts),
            (target("a", Some("k")), Counts::default()),
        ]);
        assert_eq!(v1::Observed::from(&totals).totals(), totals);
    }

    #[test]
    fn a_factor_that_is_none_is_refused() {
        for (factor_ppm, problem) in [(0, Problem::Missing), (1_000_001, Problem::AboveOne)] {
            let share = v1::ProviderShare {
                provider: "a".into(),
                key_id: String::new(),
                factor_ppm,
            };
            let message = v1::ProviderShares {
                shares: vec![share],
            };
            let error = Shares::try_from(message).unwrap_err();
            assert_eq!(error.field, "shares[0].factor_ppm");
            assert_eq!(error.problem, problem);
        }
    }
}
