//! Limits counted in shared data: `policy::limit::Counter` inside a compare-and-swap.

use reeve_exchange::request::Reservation;
use reeve_policy::limit::{Counter, Exceeded};

use crate::host;

/// Why nothing was reserved.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    /// The reservation at this index has no room.
    Exceeded(usize, Exceeded),
    /// A limit of the policy has no counter: the policy is not whole.
    Unavailable,
}

/// Takes all reservations or none, and gives the window that each was taken in.
pub(crate) fn reserve_all(reservations: &[Reservation], now_ms: i64) -> Result<Vec<i64>, Refused> {
    // Look first: a request that one limit refuses must not, even for a moment, hold room under
    // another that a neighbour needs.
    if reservations.len() > 1 {
        for (index, reservation) in reservations.iter().enumerate() {
            let (counter, _) = read(&reservation.limit.id).ok_or(Refused::Unavailable)?;
            counter
                .reserve(&reservation.limit, reservation.amount, now_ms)
                .map_err(|exceeded| Refused::Exceeded(index, exceeded))?;
        }
    }
    let mut windows = Vec::with_capacity(reservations.len());
    for (index, reservation) in reservations.iter().enumerate() {
        match reserve(reservation, index, now_ms) {
            Ok(window_start_ms) => windows.push(window_start_ms),
            Err(refused) => {
                for (taken, window_start_ms) in reservations.iter().zip(windows) {
                    settle(&taken.limit.id, window_start_ms, taken.amount, 0);
                }
                return Err(refused);
            }
        }
    }
    Ok(windows)
}

fn reserve(reservation: &Reservation, index: usize, now_ms: i64) -> Result<i64, Refused> {
    let id = &reservation.limit.id;
    loop {
        let (counter, version) = read(id).ok_or(Refused::Unavailable)?;
        let taken = counter
            .reserve(&reservation.limit, reservation.amount, now_ms)
            .map_err(|exceeded| Refused::Exceeded(index, exceeded))?;
        if host::shared_swap(&key(id), &taken.to_bytes(), version) {
            return Ok(taken.window_start_ms);
        }
    }
}

/// Replaces a reservation by what was used.
pub(crate) fn settle(limit_id: &str, window_start_ms: i64, reserved: i64, used: i64) {
    change(limit_id, |counter| {
        counter.settle(window_start_ms, reserved, used)
    });
}

/// Takes the control plane's word for what everyone else has spent. Leader only.
pub(crate) fn set_others(limit_id: &str, window_start_ms: i64, others: i64) {
    create(limit_id);
    change(limit_id, |counter| {
        counter.with_others(window_start_ms, others)
    });
}

/// Makes sure that a limit has a counter. Leader only; see `shared.rs`.
pub(crate) fn create(limit_id: &str) {
    if read(limit_id).is_none() {
        host::shared_set(&key(limit_id), &Counter::default().to_bytes());
    }
}

fn change(limit_id: &str, to: impl Fn(Counter) -> Counter) {
    loop {
        // A counter that is gone has nothing to settle.
        let Some((counter, version)) = read(limit_id) else {
            return;
        };
        if host::shared_swap(&key(limit_id), &to(counter).to_bytes(), version) {
            return;
        }
    }
}

fn read(limit_id: &str) -> Option<(Counter, Option<u32>)> {
    let (bytes, version) = host::shared_get(&key(limit_id));
    Some((Counter::from_bytes(&bytes?)?, version))
}

fn key(limit_id: &str) -> String {
    format!("limit/{limit_id}")
}
