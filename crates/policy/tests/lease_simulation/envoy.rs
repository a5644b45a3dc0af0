//! One Envoy process: pools in its shared data, VMs that hold blocks of them in their memory, usage that
//! waits to be acknowledged.

use std::cell::RefCell;
use std::collections::BTreeMap;

use reeve_policy::lease::pools::{Of, Pools};
use reeve_policy::lease::{
    Ask, LeaseId, Lent, Need, Pool, Refused, Session, Tenure, Want, Worker, standing,
};
use reeve_policy::limit::Limit;

use crate::network::{Down, LimitNumber, Record, Up, WindowStart};
use crate::oracle::Oracle;

pub(crate) struct Envoy {
    pub(crate) tenure: Tenure,
    pub(crate) shared: Shared,
    pub(crate) vms: Vec<Vm>,
    outbox: Vec<Record>,
    sequence: u64,
    /// Something was recalled since each VM looked last.
    recalled: Vec<bool>,
}

/// Shared data.
#[derive(Default)]
pub(crate) struct Shared(pub(crate) RefCell<BTreeMap<String, Pool>>);

impl Pools for Shared {
    type Version = Pool;

    fn read(&self, limit_id: &str) -> Option<(Pool, Pool)> {
        let pool = *self.0.borrow().get(limit_id)?;
        Some((pool, pool))
    }

    fn swap(&self, limit_id: &str, pool: Pool, version: Pool) -> bool {
        let mut pools = self.0.borrow_mut();
        let stored = pools.get_mut(limit_id).unwrap();
        let is_current = *stored == version;
        if is_current {
            *stored = pool;
        }
        is_current
    }
}

#[derive(Default)]
pub(crate) struct Vm {
    worker: Worker,
    pub(crate) flights: Vec<Flight>,
}

/// A request that has gone to its provider: what was reserved of which limits.
pub(crate) struct Flight(Vec<(LimitNumber, LeaseId, i64)>);

pub(crate) enum Admission {
    Admitted,
    Refused,
    /// Ask for this.
    Short(Vec<Want>),
}

impl Envoy {
    pub(crate) fn new(
        tenure: Tenure,
        limits: &[Limit],
        withheld: &[(LimitNumber, WindowStart)],
        vms: usize,
    ) -> Self {
        let pools = limits
            .iter()
            .map(|limit| (limit.id.clone(), Pool::default()));
        let mut pools: BTreeMap<String, Pool> = pools.collect();
        for (limit, window_start_ms) in withheld {
            let lease = LeaseId {
                session: tenure.session,
                window_start_ms: *window_start_ms,
            };
            pools.insert(limits[*limit].id.clone(), Pool::default().at(lease, 0));
        }
        Self {
            tenure,
            shared: Shared(RefCell::new(pools)),
            vms: (0..vms).map(|_| Vm::default()).collect(),
            outbox: Vec::new(),
            sequence: 0,
            recalled: vec![false; vms],
        }
    }

    pub(crate) const fn session(&self) -> Session {
        self.tenure.session
    }

    /// A request asks for these amounts: all or none.
    pub(crate) fn admit(
        &mut self,
        vm: usize,
        wants: &[(LimitNumber, i64)],
        now_ms: i64,
        limits: &[Limit],
        oracle: &mut Oracle,
        emergency_percent: u32,
    ) -> Admission {
        let needs: Vec<Need<'_>> = wants
            .iter()
            .map(|(limit, amount)| Need {
                limit: &limits[*limit],
                amount: *amount,
                tenure: self.tenure,
            })
            .collect();
        let vm = &mut self.vms[vm];
        if emergency_percent > 0 {
            vm.worker
                .draw(&self.shared, &needs, emergency_percent, now_ms);
        }
        match vm.worker.reserve_all(&self.shared, &needs, 0, now_ms) {
            Ok(taken) => {
                let reserved = wants.iter().zip(taken);
                let reserved: Vec<_> = reserved
                    .map(|((limit, amount), taken)| (*limit, taken.lease, *amount))
                    .collect();
                for (limit, lease, amount) in &reserved {
                    oracle.of(*limit, lease.window_start_ms).in_flight += amount;
                }
                vm.flights.push(Flight(reserved));
                Admission::Admitted
            }
            Err(Refused::Short(wants)) => Admission::Short(wants),
            Err(Refused::Exceeded(..)) => Admission::Refused,
            Err(Refused::Unavailable) => panic!("the policy is whole"),
        }
    }

    /// A request has ended and used so much of what was reserved for it, in percent.
    pub(crate) fn finish(
        &mut self,
        vm: usize,
        flight: usize,
        percent: i64,
        limits: &[Limit],
        oracle: &mut Oracle,
    ) {
        let vm = &mut self.vms[vm];
        let Flight(reserved) = vm.flights.swap_remove(flight);
        let mut charges = Vec::new();
        for (limit, lease, amount) in reserved {
            let used = amount * percent / 100;
            let id = &limits[limit].id;
            vm.worker.settle(&self.shared, id, lease, amount, used);
            let truth = oracle.of(limit, lease.window_start_ms);
            truth.in_flight -= amount;
            truth.used += used;
            truth.overrun += (used - amount).max(0);
            charges.push((limit, lease.window_start_ms, used));
        }
        self.append(charges);
    }

    fn append(&mut self, charges: Vec<(LimitNumber, WindowStart, i64)>) {
        self.sequence += 1;
        self.outbox.push(Record {
            sequence: self.sequence,
            charges,
        });
    }

    /// A VM traps; what it had in flight is charged what was reserved. Its memory is gone, and with it
    /// the knowledge of what it had not used.
    pub(crate) fn trap(&mut self, vm: usize, oracle: &mut Oracle) {
        let dead = std::mem::take(&mut self.vms[vm]);
        for Flight(reserved) in dead.flights {
            let mut charges = Vec::new();
            for (limit, lease, amount) in reserved {
                let truth = oracle.of(limit, lease.window_start_ms);
                truth.in_flight -= amount;
                truth.used += amount;
                charges.push((limit, lease.window_start_ms, amount));
            }
            self.append(charges);
        }
    }

    /// The process is killed: nobody will ever know what was not told.
    pub(crate) fn die(self, acknowledged: u64, oracle: &mut Oracle) {
        let untold = self
            .outbox
            .iter()
            .filter(|record| record.sequence > acknowledged);
        for (limit, window, used) in untold.flat_map(|record| &record.charges) {
            let truth = oracle.of(*limit, *window);
            truth.used -= used;
            truth.untold += used;
        }
        for Flight(reserved) in self.vms.iter().flat_map(|vm| &vm.flights) {
            for (limit, lease, amount) in reserved {
                let truth = oracle.of(*limit, lease.window_start_ms);
                truth.in_flight -= amount;
                truth.untold += amount;
            }
        }
    }

    /// What a VM does now and then.
    pub(crate) fn tick(&mut self, vm: usize) -> Vec<Want> {
        let look = std::mem::take(&mut self.recalled[vm]);
        self.vms[vm].worker.tick(&self.shared, look)
    }

    /// Usage that is not acknowledged.
    pub(crate) fn report(&self) -> Up {
        Up::Usage {
            session: self.session(),
            records: self.outbox.iter().take(8).cloned().collect(),
        }
    }

    pub(crate) fn on_message(&mut self, message: Down, limits: &[Limit], now_ms: i64) -> Vec<Want> {
        match message {
            Down::Answer { vm, want, answer } => {
                let lent = Lent {
                    total: answer.lent,
                    tight: answer.tight,
                    posted: answer.posted,
                    committed: answer.committed,
                };
                let worker = &mut self.vms[vm].worker;
                worker.on_lent(&self.shared, &want, lent, now_ms);
                Vec::new()
            }
            Down::Acknowledged { sequence } => {
                self.outbox.retain(|record| record.sequence > sequence);
                Vec::new()
            }
            Down::Recall { limit, window } => {
                let limit = &limits[limit];
                let of = Of {
                    limit_id: &limit.id,
                    lease: LeaseId {
                        session: self.session(),
                        window_start_ms: window,
                    },
                    standing: standing(limit.max, self.tenure.divisor),
                    exactly: false,
                };
                self.recalled.fill(true);
                let leader = &mut self.vms[0].worker;
                leader.recall(&self.shared, of).into_iter().collect()
            }
        }
    }

    pub(crate) fn is_told(&self) -> bool {
        self.outbox.is_empty()
    }
}

/// A want as it goes over the wire.
pub(crate) fn ask(want: &Want) -> Ask {
    Ask {
        session: want.lease.session,
        lent: want.lent,
        returned: want.returned,
        want: want.missing,
        waits: want.waits,
    }
}
