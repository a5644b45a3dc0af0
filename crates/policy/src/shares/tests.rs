//! Providers that fail and recover, in virtual time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::judge::{Judge, Reason};
use super::{Counts, FLOOR_PPM, Seen, Shares, Target, Totals, WHOLE_PPM};
use crate::routing::choose;

/// How a provider behaves: of a hundred attempts so many fail so, and answers take so long.
#[derive(Clone, Copy)]
struct Behaviour {
    percent: u64,
    fails: Seen,
    first_byte_ms: u64,
}

const GOOD: Behaviour = Behaviour {
    percent: 0,
    fails: Seen::Failed,
    first_byte_ms: 300,
};
const HALF_BAD: Behaviour = Behaviour {
    percent: 50,
    ..GOOD
};

/// Providers `a`, `b`, ... of equal weight, and callers that know the shares that are published.
struct World {
    judge: Judge,
    shares: Shares,
    now_ms: i64,
    random: u64,
    published: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            judge: Judge::default(),
            shares: Shares::default(),
            now_ms: 1_000_000,
            random: seed,
            published: 0,
        }
    }

    /// `SplitMix64`, so that the sequence is the same every time.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn name(index: usize) -> String {
        char::from(b'a' + u8::try_from(index).unwrap()).to_string()
    }

    /// A second in which so many requests are drawn; gives how many each provider got.
    fn second(&mut self, requests: u32, behaviours: &[Behaviour]) -> Vec<u32> {
        let mut got = vec![0; behaviours.len()];
        let mut news = Totals::new();
        for _ in 0..requests {
            let weight = |index| self.shares.weight(&Self::name(index), None, 500_000);
            let weights: Vec<u32> = (0..behaviours.len()).map(weight).collect();
            let draw = self.draw();
            let drawn = choose(&weights, draw).unwrap();
            let behaviour = behaviours[drawn];
            let seen = if self.draw() % 100 < behaviour.percent {
                behaviour.fails
            } else {
                Seen::Answered
            };
            let target = Target::provider(&Self::name(drawn));
            let counts = news.entry(target).or_default();
            counts.count(seen, Some(behaviour.first_byte_ms));
            got[drawn] += 1;
        }
        self.judge.observe(&news, self.now_ms);
        self.tick();
        got
    }

    fn tick(&mut self) {
        self.now_ms += 1_000;
        self.judge.tick(self.now_ms);
        if let Some(shares) = self.judge.publish() {
            self.shares = shares;
            self.published += 1;
        }
    }

    fn factor(&self, name: &str) -> u32 {
        self.shares.factor(name, None)
    }

    fn reason(&self, name: &str) -> Reason {
        let target = Target::provider(name);
        let mut judged = self.judge.judged(self.now_ms);
        judged.find(|of| of.target == target).unwrap().reason
    }
}

#[test]
fn the_share_of_one_that_fails_half_falls_within_10_s_and_returns_within_60_s_of_recovery() {
    for (seed, rate) in [(1, 5), (2, 20), (3, 100), (4, 1_000)] {
        let mut world = World::new(seed);
        for _ in 0..30 {
            world.second(rate, &[GOOD, GOOD]);
        }
        assert_eq!(world.published, 0, "nothing moves while all is well");
        let fell = (1..=10).find(|_| {
            world.second(rate, &[HALF_BAD, GOOD]);
            world.factor("a") <= WHOLE_PPM / 4
        });
        assert!(fell.is_some(), "{rate}/s: {}", world.factor("a"));
        assert!(matches!(world.reason("a"), Reason::Errors { .. }));
        assert_eq!(world.factor("b"), WHOLE_PPM);
        let mut got = [0; 2];
        for _ in 0..60 {
            let of = world.second(rate, &[HALF_BAD, GOOD]);
            got = [got[0] + of[0], got[1] + of[1]];
        }
        assert!(got[0] * 4 < got[1], "{rate}/s: it stays low: {got:?}");
        assert!(got[0] > 0, "{rate}/s: and is still asked");
        let mut was_recovering = false;
        let returned = (1..=60).find(|_| {
            world.second(rate, &[GOOD, GOOD]);
            was_recovering |= world.reason("a") == Reason::Recovering;
            world.factor("a") == WHOLE_PPM
        });
        assert!(returned.is_some(), "{rate}/s: {}", world.factor("a"));
        assert!(was_recovering);
        assert_eq!(world.reason("a"), Reason::Healthy);
    }
}

#[test]
fn one_that_always_fails_keeps_the_floor_and_nothing_less() {
    let mut world = World::new(5);
    let dead = Behaviour {
        percent: 100,
        fails: Seen::Unanswered,
        ..GOOD
    };
    for _ in 0..120 {
        world.second(50, &[dead, GOOD]);
        assert!(world.factor("a") >= FLOOR_PPM);
    }
    assert_eq!(world.factor("a"), FLOOR_PPM);
    let rate_ppm = WHOLE_PPM;
    assert_eq!(world.reason("a"), Reason::Errors { rate_ppm });
    assert!(world.published <= 3, "{} publications", world.published);
}

#[test]
fn when_all_fail_alike_nobody_moves_much_and_nobody_flaps() {
    for (percent, most) in [(100, 0), (50, 12)] {
        let bad = Behaviour { percent, ..GOOD };
        let mut world = World::new(6);
        for _ in 0..120 {
            world.second(100, &[bad, bad]);
            for name in ["a", "b"] {
                assert!(world.factor(name) > WHOLE_PPM / 3, "{percent} %: {name}");
            }
        }
        assert!(world.published <= most, "{}", world.published);
    }
    // Of three, one is better, and gets what the others lose.
    let mut world = World::new(7);
    for _ in 0..20 {
        world.second(60, &[HALF_BAD, HALF_BAD, GOOD]);
    }
    assert!(world.factor("a") < WHOLE_PPM / 4 && world.factor("b") < WHOLE_PPM / 4);
    assert_eq!(world.factor("c"), WHOLE_PPM);
}

#[test]
fn a_few_attempts_and_a_few_failures_change_nothing() {
    let mut judge = Judge::default();
    let mut few = Counts::default();
    for _ in 0..9 {
        few.count(Seen::Failed, None);
    }
    let mut many = Counts::default();
    for number in 0..1_000 {
        let seen = if number < 2 {
            Seen::Failed
        } else {
            Seen::Answered
        };
        many.count(seen, Some(10));
    }
    let news = Totals::from([
        (Target::provider("few"), few),
        (Target::provider("many"), many),
    ]);
    judge.observe(&news, 5_000);
    judge.tick(5_100);
    assert_eq!(judge.publish(), None);
    // One more of each.
    few.attempts = 1;
    few.failed = 1;
    judge.observe(&Totals::from([(Target::provider("few"), few)]), 6_000);
    judge.tick(6_100);
    assert!(judge.publish().is_some());
}

#[test]
fn refusals_as_too_many_cost_what_is_refused_and_settle() {
    let mut world = World::new(8);
    let mut shares_seen = Vec::new();
    for second in 0..120 {
        // It takes 20 a second of the 50 that are its share.
        let got = world.shares.weight("a", None, 50);
        let percent = u64::from(got.saturating_sub(20)) * 100 / u64::from(got.max(1));
        let full = Behaviour {
            percent,
            fails: Seen::RateLimited,
            ..GOOD
        };
        world.second(100, &[full, GOOD]);
        if second > 60 {
            shares_seen.push(world.factor("a"));
        }
    }
    let (least, most) = (shares_seen.iter().min(), shares_seen.iter().max());
    assert!(
        least > Some(&300_000) && most < Some(&750_000),
        "{least:?} to {most:?}"
    );
    let told = world.reason("a");
    assert!(
        matches!(told, Reason::RateLimited { .. } | Reason::Recovering),
        "{told:?}"
    );
}

#[test]
fn one_that_is_much_slower_than_its_peers_gets_less_but_never_little() {
    let mut world = World::new(9);
    let slow = |first_byte_ms| Behaviour {
        first_byte_ms,
        ..GOOD
    };
    for _ in 0..20 {
        world.second(60, &[slow(550), GOOD, GOOD]);
    }
    assert_eq!(world.factor("a"), WHOLE_PPM, "not even twice as slow");
    for _ in 0..20 {
        world.second(60, &[slow(1_200), GOOD, GOOD]);
    }
    assert_eq!(world.factor("a"), WHOLE_PPM / 2);
    let (first_byte_ms, peers_ms) = (1_200, 300);
    let reason = Reason::Slow {
        first_byte_ms,
        peers_ms,
    };
    assert_eq!(world.reason("a"), reason);
    for _ in 0..40 {
        world.second(60, &[slow(60_000), GOOD, GOOD]);
    }
    assert_eq!(world.factor("a"), 250_000);
}

#[test]
fn a_share_rises_again_where_nobody_asks_any_more() {
    let mut world = World::new(10);
    for _ in 0..10 {
        world.second(50, &[HALF_BAD, GOOD]);
    }
    assert!(world.factor("a") < WHOLE_PPM / 4);
    for _ in 0..60 {
        world.tick();
    }
    assert_eq!(world.factor("a"), WHOLE_PPM);
    assert!(world.shares.is_empty());
    for _ in 0..700 {
        world.tick();
    }
    assert_eq!(
        world.judge.judged(world.now_ms).count(),
        0,
        "and is forgotten"
    );
}

#[test]
fn a_key_is_judged_among_the_keys_of_its_provider() {
    let mut judge = Judge::default();
    let of = |key: &str| Target {
        provider: "a".into(),
        key_id: Some(key.into()),
    };
    let counts = |seen| {
        let mut counts = Counts::default();
        for _ in 0..20 {
            counts.count(seen, Some(10));
        }
        counts
    };
    let bad = counts(Seen::KeyRefused);
    let news = Totals::from([(of("bad"), bad), (of("good"), counts(Seen::Answered))]);
    judge.observe(&news, 5_000);
    judge.tick(5_100);
    let shares = judge.publish().unwrap();
    assert_eq!(shares.factor("a", Some("bad")), FLOOR_PPM);
    assert_eq!(shares.factor("a", Some("good")), WHOLE_PPM);
    assert!(
        shares.factor("a", None) < WHOLE_PPM / 4,
        "half of its attempts fail"
    );
    assert_eq!(Shares::new(shares.factors()), shares);
}

#[test]
fn a_clock_that_is_set_back_or_forward_stops_nothing() {
    let mut world = World::new(11);
    for _ in 0..10 {
        world.second(50, &[HALF_BAD, GOOD]);
    }
    for jump_ms in [-3_600_000, 7_200_000] {
        world.now_ms += jump_ms;
        for _ in 0..10 {
            world.second(50, &[HALF_BAD, GOOD]);
        }
        assert!(world.factor("a") < WHOLE_PPM / 4, "{jump_ms}");
        for _ in 0..60 {
            world.second(50, &[GOOD, GOOD]);
        }
        assert_eq!(world.factor("a"), WHOLE_PPM, "{jump_ms}");
    }
}

#[test]
fn a_weight_is_lowered_by_the_factor_and_never_to_nothing() {
    let shares = Shares::new([(Target::provider("a"), FLOOR_PPM)]);
    assert_eq!(shares.weight("a", None, 700_000), 35_000);
    assert_eq!(shares.weight("a", None, 3), 1);
    assert_eq!(shares.weight("a", None, 0), 0, "it was never drawn");
    assert_eq!(shares.weight("b", None, 700_000), 700_000);
}
