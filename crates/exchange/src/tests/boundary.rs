//! Whatever a caller asks for, no attempt leaves the key's boundary (R-32).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::chains::{CHAT, FULL, amount, ask, fallbacks, policy, with_limits};
use crate::chain::{MAX_ATTEMPTS, Shortened};
use crate::request::judge_body;
use crate::testing::Head;

/// SplitMix64, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.next() % u64::try_from(of.len()).unwrap()).unwrap()]
    }
}

/// Whatever a body asks for: each attempt is one that the key may make by itself, what is reserved is
/// enough for each, and limits that fill up take nothing but attempts away.
#[test]
fn no_attempt_leaves_the_keys_boundary_and_each_is_covered() {
    const PROVIDERS: [&str; 8] = [
        "openai",
        "azure",
        "third",
        "fourth",
        "fifth",
        "elsewhere",
        "anthropic",
        "nobody",
    ];
    const MODELS: [&str; 5] = [
        "gpt-4o",
        "gpt-4o-mini",
        "unpriced",
        "claude-3-5-sonnet-20241022",
        "openai/gpt-4o",
    ];
    let mut random = Random(7);
    let (mut chains, mut attempts) = (0, 0);
    for _ in 0..2_000 {
        let policy = with_limits(policy().with_key(|key| {
            key.allow_all_providers = random.next().is_multiple_of(4);
            key.provider_configs
                .retain(|_| !random.next().is_multiple_of(3));
            for config in &mut key.provider_configs {
                config.weight_ppm = *random.one_of(&[None, Some(0), Some(1), Some(9)]);
            }
        }));
        let model = match random.next() % 2 {
            0 => (*random.one_of(&MODELS)).to_owned(),
            _ => format!("{}/{}", random.one_of(&PROVIDERS), random.one_of(&MODELS)),
        };
        let wanted: Vec<String> = (0..random.next() % 6)
            .map(|_| format!("{}/{}", random.one_of(&PROVIDERS), random.one_of(&MODELS)))
            .collect();
        let more = match random.next() % 3 {
            0 => String::new(),
            _ => fallbacks(&wanted.iter().map(String::as_str).collect::<Vec<_>>()),
        };
        let admission = Head::post(CHAT).judge(&policy).unwrap();
        let body = format!(r#"{{"model":"{model}","max_tokens":9{more},"messages":[]}}"#);
        let Ok(mut chain) = judge_body(&policy, 0, &admission, body.as_bytes(), random.next())
        else {
            continue;
        };
        chains += 1;
        loop {
            assert!(chain.attempts().count() <= MAX_ATTEMPTS);
            for plan in chain.attempts() {
                attempts += 1;
                let alone = ask(&policy, &format!("{}/{}", plan.provider, plan.model), "");
                let alone = alone.unwrap_or_else(|denial| panic!("{body}: {denial:?}"));
                assert_eq!(alone.first().provider_config_id, plan.provider_config_id);
                for own in &plan.reservations {
                    assert!(amount(&chain, &own.limit.id) >= Some(own.amount));
                }
            }
            let count = chain.attempts().count();
            let places: Vec<usize> = (0..chain.reservations().len()).collect();
            let index = *random.one_of(&places);
            match chain.shortened(index, FULL, || body.clone().into_bytes()) {
                Shortened::GoOn(rest) => {
                    assert!(rest.attempts().count() < count);
                    chain = rest;
                }
                Shortened::Refuse(_) => break,
                Shortened::Clamp(..) => panic!("nobody has set that"),
            }
        }
    }
    assert!(chains > 500 && attempts > 1_000, "{chains} {attempts}");
}
