//! How much usage a control plane makes durable, and how many leases it grants, per second.
//!
//! A control plane of its own, reached as Envoys reach it: by gRPC, with batches as large as theirs. Each
//! record is charged to four budgets. What was acknowledged is looked for in the end, to the nano-dollar.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::control_plane::{Admin, ControlPlane, Ports};
use crate::envoy::{Envoy, Sent};
use crate::family::{self, Family};
use crate::figures::{Durations, Quantiles, Spread, as_f64, rate};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program that is measured.
    #[arg(long)]
    reeve: PathBuf,
    /// Where its data goes: on the disk that is measured.
    #[arg(long)]
    directory: PathBuf,
    /// As REEVE_DATABASE_URL; left out: SQLite in the directory.
    #[arg(long)]
    database: Option<String>,
    #[command(flatten)]
    ports: Ports,
    #[arg(long, default_value_t = 1_000)]
    keys: usize,
    /// Envoys that report at once.
    #[arg(long, default_value_t = 4)]
    envoys: u64,
    /// Requests of each Envoy that wait for a lease at once.
    #[arg(long, default_value_t = 16)]
    callers: u64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of each of the three parts of a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// The figures, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Figures {
    database: &'static str,
    keys: usize,
    envoys: u64,
    callers: u64,
    levels: usize,
    /// Usage alone.
    events_per_second: Spread,
    settlements_per_second: Spread,
    cpu_us_per_event: Spread,
    batch_p50_ms: Spread,
    batch_p99_ms: Spread,
    /// Leases alone.
    asks_per_second: Spread,
    ask_p50_ms: Spread,
    ask_p99_ms: Spread,
    /// Both at once.
    both_events_per_second: Spread,
    both_asks_per_second: Spread,
    both_ask_p50_ms: Spread,
    both_ask_p99_ms: Spread,
    rounds: Vec<Round>,
}

#[derive(Serialize)]
struct Round {
    usage: Usage,
    asks: Asks,
    both: (Usage, Asks),
}

#[derive(Clone, Copy, Serialize)]
struct Usage {
    events: u64,
    events_per_second: f64,
    /// Of the control plane, for each event; what it did for leases meanwhile included.
    cpu_us_per_event: f64,
    batch_ms: Quantiles,
}

#[derive(Clone, Copy, Serialize)]
struct Asks {
    asks_per_second: f64,
    ask_ms: Quantiles,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(&args.directory).context("no place for the data")?;
    let database = args.database.as_deref();
    let control_plane =
        ControlPlane::start(&args.reeve, directory.path(), database, &args.ports).await?;
    let families = family::create(&control_plane, args.keys).await?;
    let levels = families.first().map_or(0, |family| family.windows.len());
    let connecting = (1..=args.envoys).map(|number| Envoy::connect(&control_plane, number));
    let mut bench = Bench {
        envoys: try_join_all(connecting).await?,
        total: Sent::default(),
        records_before: records(&mut control_plane.admin()).await?,
        control_plane,
        families,
        args,
    };
    let mut rounds = Vec::new();
    for number in 1..=bench.args.rounds {
        let round = bench.round().await?;
        eprintln!(
            "round {number}: {:.0} events/s, {:.0} asks/s; both at once {:.0} and {:.0}",
            round.usage.events_per_second,
            round.asks.asks_per_second,
            round.both.0.events_per_second,
            round.both.1.asks_per_second,
        );
        rounds.push(round);
    }
    bench.compare().await?;
    let figures = Figures::of(rounds, &bench.args, levels);
    figures.print();
    if let Some(path) = &bench.args.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

struct Bench {
    args: Args,
    control_plane: ControlPlane,
    families: Vec<Family>,
    envoys: Vec<Envoy>,
    /// Everything that was acknowledged.
    total: Sent,
    records_before: u64,
}

impl Bench {
    async fn round(&mut self) -> anyhow::Result<Round> {
        let (usage, _) = self.measure(true, false).await?;
        let (_, asks) = self.measure(false, true).await?;
        let both = self.measure(true, true).await?;
        Ok(Round { usage, asks, both })
    }

    async fn measure(&mut self, usage: bool, asks: bool) -> anyhow::Result<(Usage, Asks)> {
        let started = Instant::now();
        let cpu = self.control_plane.cpu_time();
        let end = started + Duration::from_secs(self.args.seconds);
        let (families, callers) = (&self.families, self.args.callers);
        let asking = self.envoys.iter().map(Envoy::asker).collect::<Vec<_>>();
        let reporting = async {
            let reporting = self.envoys.iter_mut();
            let reporting = reporting.map(|envoy| envoy.send_usage(families, end));
            let sent = if usage {
                try_join_all(reporting).await?
            } else {
                Vec::new()
            };
            anyhow::Ok((sent, started.elapsed()))
        };
        let asking = async {
            let asking = asking.iter().map(|asker| asker.ask(families, callers, end));
            let asked = if asks {
                try_join_all(asking).await?
            } else {
                Vec::new()
            };
            anyhow::Ok((asked, started.elapsed()))
        };
        let ((sent, usage_time), (asked, ask_time)) = tokio::try_join!(reporting, asking)?;
        let cpu = self.control_plane.cpu_time().zip(cpu);
        let cpu = cpu.map_or(Duration::ZERO, |(after, before)| {
            after.saturating_sub(before)
        });

        let mut all = Sent::default();
        for of_one in sent {
            all.records = all.records.saturating_add(of_one.records);
            all.cost = all.cost.saturating_add(of_one.cost);
            all.batches.append(of_one.batches);
        }
        self.total.records = self.total.records.saturating_add(all.records);
        self.total.cost = self.total.cost.saturating_add(all.cost);
        let mut answered = Durations::default();
        for of_one in asked {
            answered.append(of_one);
        }
        let usage = Usage {
            events: all.records,
            events_per_second: rate(all.records, usage_time),
            cpu_us_per_event: cpu.as_secs_f64() * 1e6 / as_f64(all.records.max(1)),
            batch_ms: all.batches.quantiles(),
        };
        let asks = Asks {
            asks_per_second: rate(answered.count(), ask_time),
            ask_ms: answered.quantiles(),
        };
        Ok((usage, asks))
    }

    /// What was acknowledged is there, once.
    async fn compare(&self) -> anyhow::Result<()> {
        let mut admin = self.control_plane.admin();
        let customers = self
            .families
            .iter()
            .map(|family| family.customer_id.as_str());
        let mut charged: i64 = 0;
        for customer in customers.collect::<BTreeSet<_>>() {
            charged = charged.saturating_add(family::charged(&mut admin, customer).await?);
        }
        ensure!(
            charged == self.total.cost,
            "charged {charged} nano-dollars, sent {}",
            self.total.cost
        );
        let stored = records(&mut admin)
            .await?
            .saturating_sub(self.records_before);
        ensure!(
            stored == self.total.records,
            "{stored} records, sent {}",
            self.total.records
        );
        eprintln!(
            "{stored} records are stored, and charged with {charged} nano-dollars at each level"
        );
        Ok(())
    }
}

/// How many records there are.
async fn records(admin: &mut Admin) -> anyhow::Result<u64> {
    #[derive(Deserialize)]
    struct Answer {
        total_count: u64,
    }
    let answer = admin.get("/api/governance/usage/records?limit=1").await?;
    let answer: Answer = serde_json::from_slice(&answer)?;
    Ok(answer.total_count)
}

impl Figures {
    fn of(rounds: Vec<Round>, args: &Args, levels: usize) -> Self {
        let spread = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
        let events_per_second = spread(|round| round.usage.events_per_second);
        let levels_f64 = as_f64(u64::try_from(levels).unwrap_or(u64::MAX));
        Self {
            database: if args.database.is_some() {
                "PostgreSQL"
            } else {
                "SQLite"
            },
            keys: args.keys,
            envoys: args.envoys,
            callers: args.callers,
            levels,
            events_per_second,
            settlements_per_second: Spread {
                min: events_per_second.min * levels_f64,
                median: events_per_second.median * levels_f64,
                max: events_per_second.max * levels_f64,
            },
            cpu_us_per_event: spread(|round| round.usage.cpu_us_per_event),
            batch_p50_ms: spread(|round| round.usage.batch_ms.p50),
            batch_p99_ms: spread(|round| round.usage.batch_ms.p99),
            asks_per_second: spread(|round| round.asks.asks_per_second),
            ask_p50_ms: spread(|round| round.asks.ask_ms.p50),
            ask_p99_ms: spread(|round| round.asks.ask_ms.p99),
            both_events_per_second: spread(|round| round.both.0.events_per_second),
            both_asks_per_second: spread(|round| round.both.1.asks_per_second),
            both_ask_p50_ms: spread(|round| round.both.1.ask_ms.p50),
            both_ask_p99_ms: spread(|round| round.both.1.ask_ms.p99),
            rounds,
        }
    }

    /// A table for docs/performance.md.
    fn print(&self) {
        println!(
            "| {} | min | median | max |\n|---|---:|---:|---:|",
            self.database
        );
        let whole: [(&str, Spread); 5] = [
            ("usage events a second, durable", self.events_per_second),
            (
                "settlements a second (an event at each level)",
                self.settlements_per_second,
            ),
            (
                "lease asks a second (one request, all levels)",
                self.asks_per_second,
            ),
            (
                "both at once: usage events a second",
                self.both_events_per_second,
            ),
            (
                "both at once: lease asks a second",
                self.both_asks_per_second,
            ),
        ];
        for (name, Spread { min, median, max }) in whole {
            println!("| {name} | {min:.0} | {median:.0} | {max:.0} |");
        }
        let fine: [(&str, Spread); 7] = [
            ("control plane CPU for an event, us", self.cpu_us_per_event),
            ("a batch until acknowledged, p50 ms", self.batch_p50_ms),
            ("a batch until acknowledged, p99 ms", self.batch_p99_ms),
            ("a lease ask until answered, p50 ms", self.ask_p50_ms),
            ("a lease ask until answered, p99 ms", self.ask_p99_ms),
            ("both at once: a lease ask, p50 ms", self.both_ask_p50_ms),
            ("both at once: a lease ask, p99 ms", self.both_ask_p99_ms),
        ];
        for (name, Spread { min, median, max }) in fine {
            println!("| {name} | {min:.1} | {median:.1} | {max:.1} |");
        }
    }
}
