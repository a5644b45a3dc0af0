//! Callers that present keys which do not exist: how often before they have to wait. Pure; it is kept in
//! memory, for so many addresses at most.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Failures of one address within [`WINDOW_MS`] before it has to wait.
const MOST_FAILURES: u32 = 30;
const WINDOW_MS: i64 = 60_000;
/// Addresses that are remembered; who failed first is forgotten first.
const MOST_ADDRESSES: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub struct Guesses {
    by_address: HashMap<IpAddr, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since_ms: i64,
    count: u32,
}

impl Failures {
    const fn ends_ms(self) -> i64 {
        self.since_ms.saturating_add(WINDOW_MS)
    }
}

impl Guesses {
    /// How many seconds an address has to wait; `None`: it need not.
    pub fn wait_s(&self, address: IpAddr, now_ms: i64) -> Option<i64> {
        let failures = self.by_address.get(&network(address))?;
        let left_ms = failures.ends_ms().saturating_sub(now_ms);
        // A clock that was put back keeps nobody out for longer.
        let is_over = left_ms <= 0 || left_ms > WINDOW_MS;
        (failures.count >= MOST_FAILURES && !is_over)
            .then(|| left_ms.saturating_add(999).div_euclid(1_000))
    }

    /// An address has presented a key that does not exist.
    pub fn failed(&mut self, address: IpAddr, now_ms: i64) {
        let address = network(address);
        if !self.by_address.contains_key(&address) && self.by_address.len() >= MOST_ADDRESSES {
            let oldest = self
                .by_address
                .iter()
                .min_by_key(|(_, failures)| failures.since_ms);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.by_address.remove(&oldest);
            }
        }
        let failures = self.by_address.entry(address).or_insert(Failures {
            since_ms: now_ms,
            count: 0,
        });
        if now_ms >= failures.ends_ms() || now_ms < failures.since_ms {
            *failures = Failures {
                since_ms: now_ms,
                count: 0,
            };
        }
        failures.count = failures.count.saturating_add(1);
    }
}

/// Who has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_fails_too_often_waits_until_the_minute_is_over_and_nobody_else_does() {
        let mut guesses = Guesses::default();
        let (bad, good) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..MOST_FAILURES {
            assert_eq!(guesses.wait_s(bad, 0), None);
            guesses.failed(bad, 0);
        }
        assert_eq!(guesses.wait_s(bad, 0), Some(60));
        assert_eq!(guesses.wait_s(bad, 59_001), Some(1));
        assert_eq!(guesses.wait_s(bad, 60_000), None);
        assert_eq!(guesses.wait_s(good, 0), None);
        assert_eq!(guesses.wait_s(address("::ffff:192.0.2.1"), 0), Some(60));
        guesses.failed(bad, 60_000);
        assert_eq!(guesses.wait_s(bad, 60_000), None, "counted anew");
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let mut guesses = Guesses::default();
        for host in 0..MOST_FAILURES {
            guesses.failed(address(&format!("2001:db8::{host:x}")), 0);
        }
        assert_eq!(guesses.wait_s(address("2001:db8::ffff"), 0), Some(60));
        assert_eq!(guesses.wait_s(address("2001:db8:0:1::1"), 0), None);
    }

    #[test]
    fn no_number_of_addresses_fills_the_memory() {
        let mut guesses = Guesses::default();
        for number in 0..20_000_u32 {
            guesses.failed(IpAddr::from(number.to_be_bytes()), number.into());
        }
        assert_eq!(guesses.by_address.len(), MOST_ADDRESSES);
    }
}
