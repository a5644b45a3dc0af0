//! Slots in the same bad world, in which Envoys are cut off for minutes too, and time matters: each process
//! has a clock of its own.

mod alone;
mod control_plane;

use std::collections::BTreeMap;

use reeve_policy::calendar::Alignment;
use reeve_policy::lease::pools::{self, Of};
use reeve_policy::lease::term::{LASTS_MS, RENEW_EVERY_MS, Term, Watch};
use reeve_policy::lease::{
    Account, Answer, LeaseId, Lent, Need, Pool, Refused, Session, Want, Worker,
};
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::period::Period;

use control_plane::ControlPlane;

use crate::chance::Chance;
use crate::envoy::Shared;
use crate::network::{LimitNumber, Wire};
use crate::oracle::Totals;

/// A life of an Envoy process.
type Boot = Session;
/// A worker looks whether its term is over at least so often.
const SLOWEST_LOOK_MS: i64 = 4_000;

#[derive(Clone)]
enum Up {
    Ask {
        vm: usize,
        limit: LimitNumber,
        want: Want,
    },
    Renew {
        asked_at_ms: i64,
    },
}

#[derive(Clone)]
enum Down {
    Answer {
        vm: usize,
        want: Want,
        answer: Answer,
    },
    Recall {
        limit: LimitNumber,
        session: Session,
    },
    Renewed {
        session: Session,
        asked_at_ms: i64,
    },
}

struct Envoy {
    shared: Shared,
    term: Term,
    vms: Vec<Vm>,
    ahead_ms: i64,
    renew_at_ms: i64,
    recalled: Vec<bool>,
}

#[derive(Default)]
struct Vm {
    worker: Worker,
    /// The slots of requests that are under way; a note of each is in shared data.
    flights: Vec<(LimitNumber, LeaseId)>,
}

pub(crate) struct SlotsWorld {
    seed: u64,
    chance: Chance,
    steps: u64,
    now_ms: i64,
    limits: Vec<Limit>,
    control_plane: ControlPlane,
    down_until: u64,
    envoys: BTreeMap<Boot, Envoy>,
    boots: Boot,
    /// Until when nobody hears of them.
    cut_off: BTreeMap<Boot, u64>,
    up: Wire<Up>,
    down: Wire<Down>,
    /// How late a message is at most, in steps; 0: nothing goes wrong.
    worst: u64,
    /// When something was last said under a session that is over.
    said_in_vain_at: u64,
    pub(crate) totals: Totals,
}

impl SlotsWorld {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let limit = |number| Limit {
            id: format!("slots-{number}"),
            metric: Metric::InFlight,
            max: chance.within(1, 40),
            period: Period::parse("never").unwrap(),
            anchor_ms: 0,
            alignment: Alignment::Rolling,
            open: None,
            raised_by: None,
        };
        let limits: Vec<Limit> = (0..3).map(limit).collect();
        let mut world = Self {
            seed,
            steps: 0,
            now_ms: 1_000_000,
            control_plane: ControlPlane {
                accounts: vec![Account::default(); limits.len()],
                sessions: BTreeMap::new(),
                counted: BTreeMap::new(),
                last_session: 0,
                watch: Watch::default(),
                ahead_ms: 0,
            },
            limits,
            down_until: 0,
            envoys: BTreeMap::new(),
            boots: 0,
            cut_off: BTreeMap::new(),
            up: Wire::new(),
            down: Wire::new(),
            worst: if chance.once_in(3) { 0 } else { 40 },
            said_in_vain_at: 0,
            chance,
            totals: Totals::default(),
        };
        for _ in 0..world.chance.within(1, 4) {
            world.start_envoy();
        }
        world
    }

    fn start_envoy(&mut self) {
        self.boots += 1;
        let pools = self.limits.iter();
        let pools = pools.map(|limit| (limit.id.clone(), Pool::default()));
        let vms = self.chance.index(3) + 1;
        let envoy = Envoy {
            shared: Shared(std::cell::RefCell::new(pools.collect())),
            term: Term::default(),
            vms: (0..vms).map(|_| Vm::default()).collect(),
            ahead_ms: self.chance.within(-500_000, 500_000),
            renew_at_ms: 0,
            recalled: vec![false; vms],
        };
        self.envoys.insert(self.boots, envoy);
    }

    pub(crate) fn step(&mut self) {
        self.steps += 1;
        self.pass_time();
        let boots: Vec<Boot> = self.envoys.keys().copied().collect();
        let boot = boots[self.chance.index(boots.len())];
        let vm = self.chance.index(self.envoys[&boot].vms.len());
        match self.chance.below(10) {
            0..=4 => self.request(boot, vm),
            5..=6 => self.finish(boot, vm),
            7..=8 => self.tick(boot, vm),
            _ => self.hazard(boot, vm),
        }
        self.deliver();
    }

    fn pass_time(&mut self) {
        self.now_ms += self.chance.within(0, 400);
        let boots: Vec<Boot> = self.envoys.keys().copied().collect();
        for boot in boots {
            let own_ms = self.now_ms + self.envoys[&boot].ahead_ms;
            if self.envoys[&boot].renew_at_ms <= own_ms {
                self.envoys.get_mut(&boot).unwrap().renew_at_ms = own_ms + RENEW_EVERY_MS;
                self.send_up(
                    boot,
                    Up::Renew {
                        asked_at_ms: own_ms,
                    },
                );
            }
            let envoy = self.envoys.get_mut(&boot).unwrap();
            let is_over = envoy.term.tenure_at(own_ms).is_none();
            let must_look = envoy.term.tenure_at(own_ms - SLOWEST_LOOK_MS).is_none();
            if is_over && (must_look || self.chance.once_in(5)) {
                self.totals.ended += envoy.end_all(None);
            }
        }
        if self.steps >= self.down_until {
            let expired = self.control_plane.expire(self.now_ms);
            self.totals.expired += expired;
        }
    }

    fn request(&mut self, boot: Boot, vm: usize) {
        let number = self.chance.index(self.limits.len());
        let envoy = self.envoys.get_mut(&boot).unwrap();
        let own_ms = self.now_ms + envoy.ahead_ms;
        let Some(tenure) = envoy.term.tenure_at(own_ms) else {
            return;
        };
        let limit = &self.limits[number];
        let needs = [Need {
            limit,
            amount: 1,
            tenure,
        }];
        let state = &mut envoy.vms[vm];
        match state.worker.reserve_all(&envoy.shared, &needs, 0, own_ms) {
            Ok(taken) => {
                state.flights.push((number, taken[0].lease));
                self.totals.admitted += 1;
            }
            Err(Refused::Short(wants)) => {
                self.totals.asked += 1;
                self.ask(boot, vm, wants);
            }
            Err(Refused::Exceeded(..)) => self.totals.refused += 1,
            Err(Refused::Unavailable) => panic!("there is a term"),
        }
    }

    fn finish(&mut self, boot: Boot, vm: usize) {
        let envoy = self.envoys.get_mut(&boot).unwrap();
        let count = envoy.vms[vm].flights.len();
        if count > 0 {
            let flight = self.chance.index(count);
            envoy.finish(vm, flight);
        }
    }

    fn tick(&mut self, boot: Boot, vm: usize) {
        let envoy = self.envoys.get_mut(&boot).unwrap();
        let look = std::mem::take(&mut envoy.recalled[vm]);
        let wants = envoy.vms[vm].worker.tick(&envoy.shared, look);
        let live = &self.control_plane.sessions;
        if wants
            .iter()
            .any(|want| !live.contains_key(&want.lease.session))
        {
            self.said_in_vain_at = self.steps;
        }
        self.ask(boot, vm, wants);
    }

    fn hazard(&mut self, boot: Boot, vm: usize) {
        if self.chance.once_in(40) {
            self.totals.trapped += 1;
            self.envoys.get_mut(&boot).unwrap().trap(vm);
        }
        if self.chance.once_in(50) {
            self.totals.killed += 1;
            self.envoys.remove(&boot);
            self.start_envoy();
        } else if self.chance.once_in(20) {
            let until = self.steps + self.chance.below(600);
            self.cut_off.insert(boot, until);
            self.up.lose_of(boot);
            self.down.lose_of(boot);
        }
        if self.chance.once_in(60) {
            self.totals.crashed += 1;
            self.up.lose_all();
            self.down.lose_all();
            self.down_until = self.steps + self.chance.below(300);
            self.control_plane.watch = Watch::default();
            self.control_plane.ahead_ms = self.chance.within(-500_000, 500_000);
        }
    }

    fn ask(&mut self, boot: Boot, vm: usize, wants: Vec<Want>) {
        for want in wants {
            let is_it = |limit: &Limit| limit.id == want.limit_id;
            let limit = self.limits.iter().position(is_it).unwrap();
            self.send_up(boot, Up::Ask { vm, limit, want });
        }
    }

    fn is_cut_off(&self, boot: Boot) -> bool {
        self.cut_off
            .get(&boot)
            .is_some_and(|until| self.steps < *until)
    }

    fn send_up(&mut self, boot: Boot, message: Up) {
        if !self.is_cut_off(boot) {
            let (chance, steps) = (&mut self.chance, self.steps);
            self.up.send(chance, steps, self.worst, boot, message);
        }
    }

    fn deliver(&mut self) {
        for _ in 0..4 {
            if self.steps >= self.down_until
                && let Some(message) = self.up.take(self.steps)
            {
                let replies =
                    self.control_plane
                        .on_message(message.session, message.body, &self.limits);
                for (boot, reply) in replies {
                    if !self.is_cut_off(boot) {
                        let (chance, steps) = (&mut self.chance, self.steps);
                        self.down.send(chance, steps, self.worst, boot, reply);
                    }
                }
            }
            if let Some(message) = self.down.take(self.steps)
                && let Some(envoy) = self.envoys.get_mut(&message.session)
            {
                let own_ms = self.now_ms + envoy.ahead_ms;
                let wants = envoy.on_message(message.body, &self.limits, own_ms);
                self.ask(message.session, 0, wants);
            }
        }
    }

    /// What must hold after every step.
    pub(crate) fn check(&self) {
        let seed = self.seed;
        for (number, limit) in self.limits.iter().enumerate() {
            let of_limit = |vm: &Vm| vm.flights.iter().filter(|(of, _)| *of == number).count();
            let vms = self.envoys.values().flat_map(|envoy| &envoy.vms);
            let under_way: usize = vms.map(of_limit).sum();
            assert!(
                i64::try_from(under_way).unwrap() <= limit.max,
                "seed {seed}: {under_way} under way of {limit:?}"
            );
        }
    }

    /// Everything heals and ends, and one Envoy takes all that there is.
    pub(crate) fn settle_down(&mut self) {
        self.worst = 0;
        self.down_until = 0;
        self.cut_off.clear();
        for envoy in self.envoys.values_mut() {
            envoy.end_all(None);
        }
        let boot = *self.envoys.keys().next().unwrap();
        for _ in 0..600 {
            self.steps += 1;
            self.pass_time();
            let boots: Vec<Boot> = self.envoys.keys().copied().collect();
            for boot in boots {
                for vm in 0..self.envoys[&boot].vms.len() {
                    self.tick(boot, vm);
                }
            }
            for vm in 0..self.envoys[&boot].vms.len() {
                self.request(boot, vm);
            }
            for _ in 0..10 {
                self.deliver();
            }
            self.check();
        }
    }

    /// Nothing was kept from it: not by the dead, not by VMs that trapped, not by who rests. And nobody
    /// says for ever what concerns nobody any more.
    pub(crate) fn check_at_rest(&self) {
        let said_at = self.said_in_vain_at;
        assert!(said_at + 100 < self.steps, "seed {}", self.seed);
        let slots: i64 = self.limits.iter().map(|limit| limit.max).sum();
        let vms = self.envoys.values().flat_map(|envoy| &envoy.vms);
        let under_way: usize = vms.map(|vm| vm.flights.len()).sum();
        assert_eq!(
            i64::try_from(under_way).unwrap(),
            slots,
            "seed {}",
            self.seed
        );
    }
}

impl Envoy {
    fn finish(&mut self, vm: usize, flight: usize) {
        let state = &mut self.vms[vm];
        let (limit, lease) = state.flights.swap_remove(flight);
        let id = format!("slots-{limit}");
        state.worker.settle(&self.shared, &id, lease, 1, 0);
    }

    /// Ends the requests in slots of every session but this.
    fn end_all(&mut self, but: Option<Session>) -> u64 {
        let mut ended = 0;
        for vm in 0..self.vms.len() {
            let is_over = |(_, lease): &(LimitNumber, LeaseId)| Some(lease.session) != but;
            while let Some(flight) = self.vms[vm].flights.iter().position(is_over) {
                self.finish(vm, flight);
                ended += 1;
            }
        }
        ended
    }

    /// The leader finds the notes of a VM that is dead.
    fn trap(&mut self, vm: usize) {
        let dead = std::mem::take(&mut self.vms[vm]);
        for (limit, lease) in dead.flights {
            let id = format!("slots-{limit}");
            pools::change(&self.shared, &id, |pool| pool.give_back(lease, 1));
        }
    }

    fn on_message(&mut self, message: Down, limits: &[Limit], own_ms: i64) -> Vec<Want> {
        match message {
            Down::Renewed {
                session,
                asked_at_ms,
            } => {
                self.term = self.term.renewed(session, asked_at_ms);
                assert!(asked_at_ms <= own_ms && self.term.tenure_at(own_ms + LASTS_MS).is_none());
                // What runs under a session that is over was to end before it was.
                let session = self.term.tenure_at(asked_at_ms).map(|it| it.session);
                self.end_all(session);
                Vec::new()
            }
            Down::Answer { vm, want, answer } => {
                let lent = Lent {
                    total: answer.lent,
                    tight: answer.tight,
                    posted: answer.posted,
                    committed: answer.committed,
                };
                self.vms[vm]
                    .worker
                    .on_lent(&self.shared, &want, lent, own_ms);
                Vec::new()
            }
            Down::Recall { limit, session } => {
                if self.term.tenure_at(own_ms).map(|it| it.session) != Some(session) {
                    return Vec::new();
                }
                let of = Of {
                    limit_id: &limits[limit].id,
                    lease: LeaseId {
                        session,
                        window_start_ms: 0,
                    },
                    standing: 0,
                    exactly: true,
                };
                self.recalled.fill(true);
                let leader = &mut self.vms[0].worker;
                leader.recall(&self.shared, of).into_iter().collect()
            }
        }
    }
}
