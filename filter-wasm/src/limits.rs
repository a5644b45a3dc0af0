//! Limits: this VM's [`Worker`] on the process's pools in shared data, and its questions to the control
//! plane.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use prost::Message as _;
use reeve_exchange::request::Reservation;
use reeve_policy::lease::pools::{self, Of, Pools};
use reeve_policy::lease::{LeaseId, Lent, Need, Pool, Refused, Taken, Tenure, Want, Worker};
use reeve_policy::limit::{Limit, Metric};
use reeve_proto::v1::{LeaseAnswer, LeaseAsk, LeaseRequest, LeaseResponse, Slot};

use crate::{host, shared};

const SERVICE: &str = "reeve.v1.PolicySync";
const METHOD: &str = "Lease";
/// How long it is not asked when it has not answered, where a request can do without.
const RETRY_MS: i64 = 1_000;
/// How long the control plane has to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may wait for others to return something, when a request waits for it.
const PATIENCE_FOR_RETURNS_MS: u32 = 500;

thread_local! {
    /// One per VM, and a VM has one thread.
    static WORKER: RefCell<Worker> = RefCell::default();
    /// Until when the control plane is not asked by requests that need not.
    static UNREACHABLE_UNTIL_MS: Cell<i64> = Cell::default();
}

/// `limit/<id>` in shared data.
#[derive(Debug, Clone, Copy)]
struct Shared;

impl Pools for Shared {
    type Version = Option<u32>;

    fn read(&self, limit_id: &str) -> Option<(Pool, Option<u32>)> {
        let (bytes, version) = host::shared_get(&key(limit_id));
        Some((Pool::from_bytes(&bytes?)?, version))
    }

    fn swap(&self, limit_id: &str, pool: Pool, version: Option<u32>) -> bool {
        host::shared_swap(&key(limit_id), &pool.to_bytes(), version)
    }
}

fn key(limit_id: &str) -> String {
    format!("limit/{limit_id}")
}

/// Is it one of the requests that may be under way at once?
pub(crate) fn is_slot(reservation: &Reservation) -> bool {
    reservation.limit.metric == Metric::InFlight
}

/// Under which each of the reservations is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tenures {
    pub(crate) of_limits: Tenure,
    pub(crate) of_slots: Tenure,
}

/// Takes all reservations or none, slots under a tenure of their own. `asked`: how often the request has
/// asked for them.
pub(crate) fn reserve_all(
    tenures: Tenures,
    reservations: &[Reservation],
    asked: u32,
    now_ms: i64,
) -> Result<Vec<Taken>, Refused> {
    let needs = needs(tenures, reservations);
    WORKER.with_borrow_mut(|worker| worker.reserve_all(&Shared, &needs, asked, now_ms))
}

/// Makes room for the reservations beyond what is held, as far as that is allowed: the control plane cannot be
/// asked.
pub(crate) fn draw(tenures: Tenures, reservations: &[Reservation], percent: u32, now_ms: i64) {
    let needs = needs(tenures, reservations);
    WORKER.with_borrow_mut(|worker| worker.draw(&Shared, &needs, percent, now_ms));
}

fn needs(tenures: Tenures, reservations: &[Reservation]) -> Vec<Need<'_>> {
    let all = reservations.iter().map(|reservation| Need {
        limit: &reservation.limit,
        amount: reservation.amount,
        tenure: if is_slot(reservation) {
            tenures.of_slots
        } else {
            tenures.of_limits
        },
    });
    all.collect()
}

/// The control plane could not be asked a moment ago; waiting for it once more would hold requests up.
pub(crate) fn is_unreachable(now_ms: i64) -> bool {
    now_ms < UNREACHABLE_UNTIL_MS.get()
}

/// It could not be asked.
pub(crate) fn note_unreachable(now_ms: i64) {
    UNREACHABLE_UNTIL_MS.set(now_ms.saturating_add(RETRY_MS));
}

/// Nobody waits for these: the next tick asks for them.
pub(crate) fn postpone(wants: &[Want]) {
    WORKER.with_borrow_mut(|worker| worker.postpone(&Shared, wants));
}

/// Replaces a reservation by what was used.
pub(crate) fn settle(limit_id: &str, lease: LeaseId, reserved: i64, used: i64) {
    WORKER.with_borrow_mut(|worker| worker.settle(&Shared, limit_id, lease, reserved, used));
}

/// Gives back a slot of a VM that is dead. Leader only.
pub(crate) fn return_slot(slot: &Slot) {
    let lease = LeaseId {
        session: slot.session,
        window_start_ms: slot.window_start_ms,
    };
    pools::change(&Shared, &slot.limit_id, |pool| pool.give_back(lease, 1));
}

/// Forgets a slot that was given back by the leader: this VM was taken for dead.
pub(crate) fn write_off(reservation: &Reservation, lease: LeaseId) {
    WORKER.with_borrow_mut(|worker| {
        worker.write_off(&reservation.limit.id, lease, reservation.amount);
    });
}

/// Gives back what was taken.
pub(crate) fn give_back(reservations: &[Reservation], leases: &[LeaseId]) {
    for (reservation, lease) in reservations.iter().zip(leases) {
        settle(&reservation.limit.id, *lease, reservation.amount, 0);
    }
}

/// What this VM does now and then; gives what the control plane is to be asked and told. `look`: something
/// was recalled.
pub(crate) fn tick(look: bool) -> Vec<Want> {
    WORKER.with_borrow_mut(|worker| worker.tick(&Shared, look))
}

/// Others need what this process does not use. Leader only.
pub(crate) fn recall(of: Of<'_>) -> Option<Want> {
    WORKER.with_borrow_mut(|worker| worker.recall(&Shared, of))
}

/// Makes sure that a limit has a pool. Leader only; see `shared.rs`.
pub(crate) fn create(limit_id: &str) {
    if Shared.read(limit_id).is_none() {
        host::shared_set(&key(limit_id), &Pool::default().to_bytes());
    }
}

/// The session may use nothing of a limit in this window unasked. Leader only.
pub(crate) fn withhold(limit_id: &str, lease: LeaseId) {
    let pool = Pool::default().at(lease, 0);
    host::shared_set(&key(limit_id), &pool.to_bytes());
}

/// How much of a limit is used, as far as it is known here. Reads what the process holds of it, and what
/// all others have used.
pub(crate) fn used(tenure: Tenure, limit: &Limit, now_ms: i64) -> i64 {
    let others = |window_start_ms| match shared::spent(&limit.id) {
        Some((start_ms, amount)) if start_ms == window_start_ms => amount,
        _ => 0,
    };
    WORKER.with_borrow(|worker| worker.used(&Shared, tenure, limit, others, now_ms))
}

/// Takes the control plane's word for what everyone else has used. Leader only. It comes before the limit
/// has a pool, too, so it is kept apart from that as well.
pub(crate) fn set_others(limit_id: &str, window_start_ms: i64, others: i64) {
    shared::set_spent(limit_id, window_start_ms, others);
    pools::change(&Shared, limit_id, |pool| {
        pool.with_others(window_start_ms, others)
    });
}

/// Asks the control plane; the answer comes to the context that asks ([`on_answer`]). `None`: it could not
/// be sent.
pub(crate) fn ask(cluster: &str, wants: &[Want]) -> Option<u32> {
    let waits = wants.iter().any(|want| want.waits);
    let request = LeaseRequest {
        patience_ms: if waits { PATIENCE_FOR_RETURNS_MS } else { 0 },
        asks: wants
            .iter()
            .map(|want| LeaseAsk {
                limit_id: want.limit_id.clone(),
                window_start_ms: want.lease.window_start_ms,
                lent: want.lent,
                returned: want.returned,
                want: want.missing,
                session: want.lease.session,
            })
            .collect(),
    };
    host::call(cluster, SERVICE, METHOD, &request.encode_to_vec(), PATIENCE)
}

/// Takes in what was answered. `Err`: it is no answer to `wants`.
pub(crate) fn on_answer(wants: &[Want], bytes: &[u8], now_ms: i64) -> Result<(), String> {
    let response = LeaseResponse::decode(bytes).map_err(|error| error.to_string())?;
    let is_answer = |(want, answer): (&Want, &LeaseAnswer)| {
        want.limit_id == answer.limit_id && want.lease.window_start_ms == answer.window_start_ms
    };
    let pairs = || wants.iter().zip(&response.answers);
    UNREACHABLE_UNTIL_MS.set(0);
    if response.answers.len() != wants.len() || !pairs().all(is_answer) {
        return Err("it answers other questions".into());
    }
    WORKER.with_borrow_mut(|worker| {
        for (want, answer) in pairs() {
            let lent = Lent {
                total: answer.lent,
                tight: answer.tight,
                posted: answer.posted,
                committed: answer.committed,
            };
            worker.on_lent(&Shared, want, lent, now_ms);
        }
    });
    Ok(())
}
