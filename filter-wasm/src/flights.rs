//! Exchanges in flight: what becomes of them when their VM dies.
//!
//! A trap ends every stream of its worker, and none of their callbacks comes any more. What such an
//! exchange used would be free. So each leaves a note in shared data before it goes to its provider:
//! the record that is due if nobody sees it end, charged for what was reserved. Whoever sees it end
//! takes the note away. The leader looks for notes whose VM is dead, and reports them.
//!
//! A VM is dead when its heartbeat has not moved while the leader looked [`PATIENCE`] times, a second
//! apart. The leader counts its looks, not the time: a process that was paused as a whole moves all
//! its heartbeats again before it has looked often enough. Should a VM come back that was taken for
//! dead, it begins a new life under another number, and forgets what has been reported for it.

use std::cell::RefCell;

use prost::Message as _;
use reeve_exchange::chain::Chain;
use reeve_exchange::response;
use reeve_proto::v1::{self, Slot};

use crate::shared;
use crate::usage_record::{self, Reserved};
use crate::{host, limits, outbox};

/// Numbers of VMs given out.
const VM_COUNT: &str = "vm_count";
/// Looks of the leader without a heartbeat, until a VM is dead.
const PATIENCE: u32 = 5;
/// What stands for the heartbeat of a VM that was taken for dead.
const DEAD: u64 = u64::MAX;

thread_local! {
    /// This VM. A VM has one thread.
    static VM: RefCell<Vm> = RefCell::new(Vm::default());
}

/// One VM: its number, its heartbeat, its places for notes.
#[derive(Debug, Default)]
struct Vm {
    /// Zero: none yet; it has had no exchange.
    number: u64,
    beats: u64,
    /// Places that were ever used.
    places: u64,
    free: Vec<u64>,
}

/// Where an exchange has left its note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flight {
    vm: u64,
    place: u64,
}

/// Creates what the VMs share. Leader only; see `shared.rs`.
pub(crate) fn create() {
    if shared::count(VM_COUNT).is_none() {
        host::shared_set(VM_COUNT, &0_u64.to_le_bytes());
    }
}

/// Leaves a note. `None`: no policy has been applied in this process, so nothing may fly.
pub(crate) fn begin(chain: &Chain, reserved: &Reserved) -> Option<Flight> {
    let flight = VM.with_borrow_mut(Vm::take_place)?;
    let settlement = response::abandon(chain);
    let record = usage_record::of(chain, reserved, &settlement, reserved.at_ms);
    let reservations = chain.reservations();
    let taken = reservations.iter().zip(&reserved.leases);
    let slot = taken.filter(|(reservation, _)| limits::is_slot(reservation));
    let note = v1::Flight {
        record: Some(record),
        slot: slot
            .map(|(reservation, lease)| Slot {
                limit_id: reservation.limit.id.clone(),
                session: lease.session,
                window_start_ms: lease.window_start_ms,
            })
            .next(),
    };
    host::shared_set(&flight.key(), &note.encode_to_vec());
    Some(flight)
}

/// The number of this VM; 0: it has had no exchange.
pub(crate) fn number() -> u64 {
    VM.with_borrow(|vm| vm.number)
}

/// How many numbers have been given out, from 1.
pub(crate) fn count() -> u64 {
    shared::count(VM_COUNT).unwrap_or(0)
}

/// Has the exchange not been reported yet? (Not so, if this VM was taken for dead meanwhile.)
pub(crate) fn is_due(flight: Flight) -> bool {
    VM.with_borrow(|vm| vm.number == flight.vm)
}

/// Takes the note away: the exchange has been seen to end, and is reported.
pub(crate) fn end(flight: Flight) {
    VM.with_borrow_mut(|vm| {
        host::shared_set(&flight.key(), &[]);
        vm.free.push(flight.place);
    });
}

/// The same of one with a slot. False: the leader has found the note before, and given the slot back.
pub(crate) fn end_with_slot(flight: Flight) -> bool {
    let is_mine = flight.take_note().is_some();
    VM.with_borrow_mut(|vm| vm.free.push(flight.place));
    is_mine
}

/// Shows that this VM lives. Call on every tick of a worker. False: it was taken for dead.
pub(crate) fn beat() -> bool {
    VM.with_borrow_mut(Vm::beat)
}

impl Flight {
    fn key(self) -> String {
        format!("flight/{}/{}", self.vm, self.place)
    }

    /// Takes the note away; of two who do, one gets it.
    fn take_note(self) -> Option<Vec<u8>> {
        let key = self.key();
        let (note, version) = host::shared_get(&key);
        let note = note.filter(|note| !note.is_empty())?;
        host::shared_swap(&key, &[], version).then_some(note)
    }
}

impl Vm {
    fn take_place(&mut self) -> Option<Flight> {
        if self.number == 0 {
            self.number = shared::increment(VM_COUNT)?;
            self.write();
        }
        let place = if let Some(place) = self.free.pop() {
            place
        } else {
            let place = self.places;
            self.places = self.places.saturating_add(1);
            // Known before it is used.
            self.write();
            place
        };
        Some(Flight {
            vm: self.number,
            place,
        })
    }

    fn beat(&mut self) -> bool {
        if self.number == 0 {
            return true;
        }
        if Life::read(self.number).is_some_and(|life| life.beats == DEAD) {
            host::error("this VM was taken for dead: what it had in flight has been charged");
            *self = Self::default();
            return false;
        }
        self.beats = self.beats.saturating_add(1);
        self.write();
        true
    }

    fn write(&self) {
        let words = [self.beats, self.places].map(u64::to_le_bytes);
        host::shared_set(&Life::key(self.number), words.as_flattened());
    }
}

/// What a VM says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    beats: u64,
    places: u64,
}

impl Life {
    fn key(number: u64) -> String {
        format!("vm/{number}")
    }

    fn read(number: u64) -> Option<Self> {
        let bytes = host::shared_get(&Self::key(number)).0?;
        let (beats, rest) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            beats: u64::from_le_bytes(*beats),
            places: u64::from_le_bytes(*rest.first_chunk::<8>()?),
        })
    }
}

/// The leader's eye on the VMs.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Vec<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    beats: u64,
    looks_without_beat: u32,
    is_over: bool,
}

impl Watch {
    /// Looks at every VM once, and reports what the dead ones had in flight.
    pub(crate) fn look(&mut self, now_ms: i64) {
        let count = usize::try_from(count()).unwrap_or(0);
        if self.seen.len() < count {
            self.seen.resize(count, Seen::default());
        }
        for (number, seen) in (1..).zip(&mut self.seen) {
            if seen.is_over {
                continue;
            }
            let Some(life) = Life::read(number) else {
                continue;
            };
            if life.beats != DEAD && life.beats != seen.beats {
                *seen = Seen {
                    beats: life.beats,
                    ..Seen::default()
                };
                continue;
            }
            seen.looks_without_beat = seen.looks_without_beat.saturating_add(1);
            if seen.looks_without_beat >= PATIENCE {
                bury(number, life, now_ms);
                seen.is_over = true;
            }
        }
    }
}

/// Reports everything that a dead VM had in flight.
fn bury(number: u64, life: Life, now_ms: i64) {
    let words = [DEAD, life.places].map(u64::to_le_bytes);
    host::shared_set(&Life::key(number), words.as_flattened());
    let mut reported: u64 = 0;
    for place in 0..life.places {
        let flight = Flight { vm: number, place };
        let note = host::shared_get(&flight.key()).0.unwrap_or_default();
        let Some(v1::Flight { record, slot }) = decode(&note) else {
            continue;
        };
        // Reported first: were this VM to die in between, it is charged twice rather than never.
        if let Some(record) = record {
            outbox::append(v1::UsageRecord {
                finished_at_ms: now_ms,
                ..record
            });
        }
        // Given back last, and by one only: a slot may be lost so, but never be two.
        if flight.take_note().is_some() {
            slot.iter().for_each(limits::return_slot);
        }
        reported = reported.saturating_add(1);
    }
    if reported > 0 {
        host::error(&format!(
            "a VM died with {reported} exchanges in flight: they are charged what was reserved"
        ));
    }
}

/// `None`: there is no note.
fn decode(note: &[u8]) -> Option<v1::Flight> {
    if note.is_empty() {
        return None;
    }
    v1::Flight::decode(note)
        .map_err(|error| host::error(&format!("a note of a flight is unusable: {error}")))
        .ok()
}
