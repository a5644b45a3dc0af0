//! Puts all of it together, and says what must always hold.

use std::collections::BTreeMap;

use reeve_policy::calendar::Alignment;
use reeve_policy::lease::{Session, Tenure, Want, emergency_allowance};
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::period::Period;

use crate::chance::Chance;
use crate::control_plane::ControlPlane;
use crate::envoy::{Admission, Envoy};
use crate::network::{Down, LimitNumber, Up, Wire};
use crate::oracle::Oracle;

/// What goes wrong in a run: once in so many steps; 0: never.
pub(crate) struct Hazards {
    network: u64,
    trap: u64,
    kill: u64,
    crash: u64,
    /// Requests that use more than was reserved for them.
    overrun: u64,
    /// A new window begins.
    window: u64,
    /// Of each limit, what an Envoy may go beyond it while it cannot ask; 0: nothing.
    emergency_percent: u32,
}

impl Hazards {
    /// Some runs are calm, so that what they show at rest is not blurred.
    pub(crate) fn of_run(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0xdead);
        let mut often = |times: u64| if chance.once_in(3) { 0 } else { times };
        Self {
            network: often(60),
            trap: often(300),
            kill: often(400),
            crash: often(500),
            overrun: often(100),
            window: often(700),
            emergency_percent: u32::try_from(often(30)).unwrap(),
        }
    }
}

pub(crate) struct World {
    seed: u64,
    chance: Chance,
    hazards: Hazards,
    steps: u64,
    /// Windows are a second long.
    now_ms: i64,
    limits: Vec<Limit>,
    control_plane: ControlPlane,
    /// Until when it is down.
    down_until: u64,
    envoys: BTreeMap<Session, Envoy>,
    sessions: Session,
    up: Wire<Up>,
    down: Wire<Down>,
    pub(crate) oracle: Oracle,
}

impl World {
    pub(crate) fn new(seed: u64, hazards: Hazards) -> Self {
        let mut chance = Chance::new(seed);
        let limits: Vec<Limit> = (0..6)
            .map(|number| {
                let magnitude = chance.below(6);
                Limit {
                    id: format!("limit-{number}"),
                    metric: Metric::Cost,
                    max: chance.within(0, 10_i64.pow(u32::try_from(magnitude).unwrap() + 1)),
                    period: Period::parse("1s").unwrap(),
                    anchor_ms: 0,
                    alignment: Alignment::Rolling,
                    open: None,
                    raised_by: None,
                }
            })
            .collect();
        let maxima = limits.iter().map(|limit| limit.max).collect();
        let mut world = Self {
            seed,
            chance,
            hazards,
            steps: 0,
            now_ms: 1_000,
            limits,
            control_plane: ControlPlane::new(maxima),
            down_until: 0,
            envoys: BTreeMap::new(),
            sessions: 0,
            up: Wire::new(),
            down: Wire::new(),
            oracle: Oracle::default(),
        };
        for _ in 0..world.chance.within(1, 4) {
            world.start_envoy();
        }
        world
    }

    fn start_envoy(&mut self) {
        self.sessions += 1;
        let (divisor, withheld) = self.control_plane.join(self.sessions);
        let vms = self.chance.index(3) + 1;
        let tenure = Tenure {
            session: self.sessions,
            divisor,
        };
        let envoy = Envoy::new(tenure, &self.limits, &withheld, vms);
        self.envoys.insert(self.sessions, envoy);
    }

    fn any_envoy(&mut self) -> Session {
        let sessions: Vec<Session> = self.envoys.keys().copied().collect();
        sessions[self.chance.index(sessions.len())]
    }

    pub(crate) fn step(&mut self) {
        self.steps += 1;
        let session = self.any_envoy();
        let vms = self.envoys[&session].vms.len();
        let vm = self.chance.index(vms);
        match self.chance.below(10) {
            0..=3 => self.request(session, vm),
            4..=6 => self.finish(session, vm),
            7 => self.tick(session, vm),
            8 => self.report(session),
            _ => self.hazard(session, vm),
        }
        self.deliver();
    }

    fn request(&mut self, session: Session, vm: usize) {
        let limits = self.control_plane.maxima.len();
        let levels = self.chance.index(4) + 1;
        let mut wants: BTreeMap<LimitNumber, i64> = BTreeMap::new();
        for _ in 0..levels {
            let limit = self.chance.index(limits);
            let part = self.chance.within(5, 200);
            let most = (self.control_plane.maxima[limit] / part).max(3);
            wants.insert(limit, self.chance.within(0, most));
        }
        let wants: Vec<_> = wants.into_iter().collect();
        // A request that has asked tries again when it is answered; here the next one does.
        let Self {
            envoys,
            oracle,
            limits,
            now_ms,
            chance,
            hazards,
            ..
        } = self;
        let is_down = self.steps < self.down_until;
        let envoy = envoys.get_mut(&session).unwrap();
        match envoy.admit(vm, &wants, *now_ms, limits, oracle, 0) {
            Admission::Admitted => oracle.totals.admitted += 1,
            Admission::Refused => oracle.totals.refused += 1,
            // Whether it is away, or an answer is only late, nobody here knows.
            Admission::Short(_) if is_down || chance.once_in(20) => {
                let percent = hazards.emergency_percent;
                let alone = envoy.admit(vm, &wants, *now_ms, limits, oracle, percent);
                oracle.totals.alone += u64::from(matches!(alone, Admission::Admitted));
            }
            Admission::Short(wants) => {
                oracle.totals.asked += 1;
                self.ask(session, vm, wants);
            }
        }
    }

    /// By how much a limit can be overspent: by an allowance for each life of a process.
    fn emergency(&self, limit: LimitNumber) -> i64 {
        let percent = self.hazards.emergency_percent;
        self.sessions * emergency_allowance(&self.limits[limit], percent)
    }

    fn ask(&mut self, session: Session, vm: usize, wants: Vec<Want>) {
        for want in wants {
            let limit = self
                .limits
                .iter()
                .position(|limit| limit.id == want.limit_id);
            let limit = limit.unwrap();
            self.send_up(session, Up::Ask { vm, limit, want });
        }
    }

    fn tick(&mut self, session: Session, vm: usize) {
        let wants = self.envoys.get_mut(&session).unwrap().tick(vm);
        self.ask(session, vm, wants);
    }

    fn finish(&mut self, session: Session, vm: usize) {
        let envoy = self.envoys.get_mut(&session).unwrap();
        let flights = envoy.vms[vm].flights.len();
        if flights == 0 {
            return;
        }
        let percent = if self.chance.once_in(self.hazards.overrun) {
            self.chance.within(101, 300)
        } else {
            self.chance.within(0, 100)
        };
        let flight = self.chance.index(flights);
        envoy.finish(vm, flight, percent, &self.limits, &mut self.oracle);
    }

    fn report(&mut self, session: Session) {
        let usage = self.envoys[&session].report();
        self.send_up(session, usage);
    }

    fn send_up(&mut self, session: Session, message: Up) {
        let worst = self.hazards.network;
        self.up
            .send(&mut self.chance, self.steps, worst, session, message);
    }

    fn deliver(&mut self) {
        for _ in 0..4 {
            if self.steps >= self.down_until
                && let Some(message) = self.up.take(self.steps)
            {
                for (session, reply) in self.control_plane.on_message(message.body) {
                    let worst = self.hazards.network;
                    self.down
                        .send(&mut self.chance, self.steps, worst, session, reply);
                }
            }
            if let Some(message) = self.down.take(self.steps)
                && let Some(envoy) = self.envoys.get_mut(&message.session)
            {
                let wants = envoy.on_message(message.body, &self.limits, self.now_ms);
                self.ask(message.session, 0, wants);
            }
        }
    }

    fn hazard(&mut self, session: Session, vm: usize) {
        // One step in ten comes here.
        let once_in = |times: u64| times.div_ceil(10);
        if self.chance.once_in(once_in(self.hazards.trap)) {
            self.oracle.totals.trapped += 1;
            let envoy = self.envoys.get_mut(&session).unwrap();
            envoy.trap(vm, &mut self.oracle);
        }
        if self.chance.once_in(once_in(self.hazards.kill)) {
            self.oracle.totals.killed += 1;
            let envoy = self.envoys.remove(&session).unwrap();
            let acknowledged = self.control_plane.acknowledged.get(&session).copied();
            envoy.die(acknowledged.unwrap_or_default(), &mut self.oracle);
            self.start_envoy();
        }
        if self.chance.once_in(once_in(self.hazards.crash)) {
            self.oracle.totals.crashed += 1;
            self.up.lose_all();
            self.down.lose_all();
            self.down_until = self.steps + self.chance.below(200);
        }
        if self.chance.once_in(once_in(self.hazards.window)) {
            self.now_ms += 1_000;
        } else {
            self.now_ms = (self.now_ms + 20).min(self.now_ms / 1_000 * 1_000 + 999);
        }
    }

    /// What must hold after every step. (Windows that are long over are looked at when all is at rest.)
    pub(crate) fn check(&self) {
        self.check_since(self.now_ms - 2_000);
    }

    fn check_since(&self, first: i64) {
        let seed = self.seed;
        let truth = self.oracle.truth.iter();
        for ((limit, window), truth) in truth.filter(|((_, window), _)| *window >= first) {
            let max = self.control_plane.maxima[*limit];
            let used = truth.used + truth.in_flight + truth.untold;
            assert!(
                used <= max + truth.overrun + self.emergency(*limit),
                "seed {seed}: limit {limit} of {max} in window {window}: {truth:?}"
            );
        }
        let accounts = self.control_plane.accounts.iter();
        for ((limit, window), account) in accounts.filter(|((_, window), _)| *window >= first) {
            let max = self.control_plane.maxima[*limit];
            let overrun = self.oracle.truth.get(&(*limit, *window));
            let overrun = overrun.map_or(0, |truth| truth.overrun);
            let committed = account.committed(self.control_plane.terms(*limit));
            assert!(
                committed <= max + overrun + self.emergency(*limit),
                "seed {seed}: limit {limit} of {max} in window {window}: {account:?}"
            );
        }
        for envoy in self.envoys.values() {
            for (limit, pool) in envoy.shared.0.borrow().iter() {
                let number = self
                    .limits
                    .iter()
                    .position(|other| other.id == *limit)
                    .unwrap();
                let percent = self.hazards.emergency_percent;
                let allowance = emergency_allowance(&self.limits[number], percent);
                let truth = self.oracle.truth.get(&(number, pool.id.window_start_ms));
                let overrun = truth.map_or(0, |truth| truth.overrun);
                assert!(
                    pool.taken <= pool.lent - pool.returned + overrun + allowance,
                    "seed {seed}: {pool:?}"
                );
            }
        }
    }

    /// Everything heals, every request ends, everybody tells what there is to tell.
    pub(crate) fn settle_down(&mut self) {
        self.hazards.network = 0;
        self.hazards.overrun = 0;
        self.down_until = 0;
        let sessions: Vec<Session> = self.envoys.keys().copied().collect();
        for session in &sessions {
            for vm in 0..self.envoys[session].vms.len() {
                while !self.envoys[session].vms[vm].flights.is_empty() {
                    self.finish(*session, vm);
                }
            }
        }
        for round in 0..10_000 {
            self.steps += 100;
            for session in &sessions {
                for vm in 0..self.envoys[session].vms.len() {
                    self.tick(*session, vm);
                }
                self.report(*session);
            }
            self.deliver();
            for _ in 0..100 {
                self.deliver();
            }
            if round > 100 && self.envoys.values().all(Envoy::is_told) {
                break;
            }
        }
        for session in &sessions {
            self.report(*session);
        }
        for _ in 0..1_000 {
            self.deliver();
        }
    }

    /// What must hold when nothing is under way any more.
    pub(crate) fn check_at_rest(&mut self) {
        let seed = self.seed;
        self.check_since(0);
        assert!(self.envoys.values().all(Envoy::is_told), "seed {seed}");
        let sessions = &self.control_plane.sessions;
        for ((limit, window), truth) in &self.oracle.truth {
            let account = self.control_plane.accounts.get(&(*limit, *window));
            let posted = account.map_or(0, reeve_policy::lease::Account::posted);
            // What a killed process had sent may have arrived after its death.
            assert!(
                (truth.used..=truth.used + truth.untold).contains(&posted),
                "seed {seed}: limit {limit} in window {window}: {posted} of {truth:?}"
            );
        }
        // Who lives holds no more than the standing lease, unless a VM took what it had to its grave.
        if self.hazards.trap == 0 {
            let now = self.now_ms / 1_000 * 1_000;
            let accounts = self.control_plane.accounts.iter();
            for ((limit, window), account) in accounts.filter(|((_, window), _)| *window == now) {
                for (session, holding) in account.holdings() {
                    if !self.envoys.contains_key(&session) {
                        continue;
                    }
                    let max = self.control_plane.maxima[*limit];
                    let standing = reeve_policy::lease::standing(max, sessions[&session]);
                    assert!(
                        holding.unspent() <= standing,
                        "seed {seed}: limit {limit}, window {window}, session {session}: {holding:?} of {max}"
                    );
                }
            }
        }
        // Once the dead are buried, only what was used is left, and what the living hold.
        let dead: Vec<Session> = sessions
            .keys()
            .filter(|session| !self.envoys.contains_key(session))
            .copied()
            .collect();
        for session in dead {
            self.control_plane.release(session);
        }
        for account in self.control_plane.accounts.values() {
            for (session, holding) in account.holdings() {
                if !self.envoys.contains_key(&session) {
                    assert_eq!(holding.unspent(), 0, "seed {seed}");
                }
            }
        }
    }
}
