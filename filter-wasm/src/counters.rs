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

/// A reservation that was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Start of the window that it was taken in.
    pub(crate) window_start_ms: i64,
    /// All that counts against the limit in that window now.
    pub(crate) used: i64,
}

/// Takes all reservations or none.
pub(crate) fn reserve_all(
    reservations: &[Reservation],
    now_ms: i64,
) -> Result<Vec<Taken>, Refused> {
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
    let mut all = Vec::with_capacity(reservations.len());
    for (index, reservation) in reservations.iter().enumerate() {
        match reserve(reservation, index, now_ms) {
            Ok(taken) => all.push(taken),
            Err(refused) => {
                let windows: Vec<i64> = all.iter().map(|taken| taken.window_start_ms).collect();
                give_back(reservations, &windows);
                return Err(refused);
            }
        }
    }
    Ok(all)
}

/// Gives back what was taken in these windows: of the first reservations, as many as there are.
pub(crate) fn give_back(reservations: &[Reservation], windows: &[i64]) {
    for (taken, window_start_ms) in reservations.iter().zip(windows) {
        settle(&taken.limit.id, *window_start_ms, taken.amount, 0);
    }
}

fn reserve(reservation: &Reservation, index: usize, now_ms: i64) -> Result<Taken, Refused> {
    let id = &reservation.limit.id;
    loop {
        let (counter, version) = read(id).ok_or(Refused::Unavailable)?;
        let taken = counter
            .reserve(&reservation.limit, reservation.amount, now_ms)
            .map_err(|exceeded| Refused::Exceeded(index, exceeded))?;
        if host::shared_swap(&key(id), &taken.to_bytes(), version) {
            return Ok(Taken {
                window_start_ms: taken.window_start_ms,
                used: taken.used(),
            });
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
