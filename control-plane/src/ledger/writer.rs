//! One transaction after the other, each for all jobs that wait by then. So the cost of making
//! something durable is shared by as many as there are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reeve_policy::lease::{Account, Answer, Ask, Session, Terms};
use reeve_policy::limit::Limit;
use reeve_proto::v1::UsageRecord;

use super::books::{Books, Saved};
use super::{Holder, Job, Joined, Key, Recall, Unavailable, accounts, replicas, sessions, slots};
use crate::app::App;
use crate::db::{Error, Tx};
use crate::usage::ingest::{self, Posting};
use crate::usage::{self, Boot};

/// Most jobs of one transaction.
const MOST_JOBS: usize = 256;
/// After a failure.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A window may begin so much later than now by our clock, or have ended so much earlier, and still be
/// lent from.
const CLOCK_SKEW_MS: i64 = 600_000;

/// What came of a job.
enum Outcome {
    Joined(Joined),
    Posted(Posting),
    Released(Vec<Session>),
    /// By an administrator; whether it was counted and has gone.
    ReleasedOne(bool),
    Answered(Vec<(Key, Answer)>),
    Renewed(Session),
    Ended(Vec<Session>),
    /// The session is not counted (any more).
    Refused,
}

/// What came of a transaction.
#[derive(Default)]
struct Outcomes {
    /// Of each job, in order.
    jobs: Vec<Outcome>,
    /// Who is to return what it has not spent.
    recalls: BTreeSet<Recall>,
    saved: Saved,
}

/// Works until the application stops.
pub async fn run(app: Arc<App>) {
    let Some(mut jobs) = app.ledger.take_inbox() else {
        tracing::error!("the ledger has a writer already");
        return;
    };
    let mut books = Books::default();
    let mut waiting = Vec::new();
    let mut failures: u32 = 0;
    loop {
        if waiting.is_empty() {
            tokio::select! {
                count = jobs.recv_many(&mut waiting, MOST_JOBS) => if count == 0 { return },
                () = app.stopped() => return,
            }
        }
        match transact(&app, &mut books, &waiting).await {
            Ok(outcomes) => {
                if failures > 0 {
                    tracing::info!(failures, "the ledger writes again");
                }
                failures = 0;
                tell(&app, waiting.drain(..), outcomes);
            }
            Err(error) => {
                if failures == 0 {
                    tracing::error!(%error, "the ledger cannot write; it is repeated until it can");
                }
                books.forget();
                // Who holds a request back is told at once; what was used waits.
                waiting.retain(|job| !matches!(job, Job::Ask { .. } | Job::Renew { .. }));
                let wait = SHORTEST_WAIT.saturating_mul(1 << failures.min(7));
                failures = failures.saturating_add(1);
                tokio::select! {
                    () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
                    () = app.stopped() => return,
                }
            }
        }
    }
}

async fn transact(app: &App, books: &mut Books, jobs: &[Job]) -> Result<Outcomes, Error> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin_write().await?;
    books.open(&mut tx).await?;
    let asked = jobs.iter().flat_map(|job| match job {
        Job::Ask { asks, .. } => asks.as_slice(),
        _ => &[],
    });
    let asked: Vec<&Key> = asked.map(|(key, _)| key).collect();
    books.fetch(&mut tx, &asked).await?;
    let mut outcomes = Outcomes::default();
    for job in jobs {
        let outcome = match job {
            Job::Join { boot, .. } => Outcome::Joined(join(&mut tx, books, boot, now_ms).await?),
            Job::Post { boot, batch, .. } => {
                Outcome::Posted(post(&mut tx, books, boot, batch.clone(), now_ms).await?)
            }
            Job::Release {
                connected,
                silent_before_ms,
                ..
            } => {
                for boot in connected {
                    sessions::hear(&mut tx, boot, now_ms).await?;
                }
                let silent = sessions::silent_since(&mut tx, *silent_before_ms).await?;
                for session in &silent {
                    release(&mut tx, books, *session, None, now_ms).await?;
                }
                Outcome::Released(silent)
            }
            Job::ReleaseOne {
                session,
                silent_before_ms,
                actor,
                ..
            } => {
                let silent = sessions::silent_since(&mut tx, *silent_before_ms).await?;
                let is_silent = silent.contains(session);
                if is_silent {
                    release(&mut tx, books, *session, Some(*actor), now_ms).await?;
                }
                Outcome::ReleasedOne(is_silent)
            }
            Job::Renew { process, .. } if books.sessions().contains_key(process) => {
                let (session, is_new) = slots::renew(&mut tx, *process, now_ms).await?;
                if is_new {
                    books.count_slots(session, *process);
                }
                Outcome::Renewed(session)
            }
            Job::EndSlots { silent, .. } => {
                let ended = slots::still_silent(&mut tx, silent).await?;
                for session in &ended {
                    release(&mut tx, books, *session, None, now_ms).await?;
                }
                Outcome::Ended(ended)
            }
            // Who waits must not go on as if it were counted; who only tells must not keep from us what
            // others tell in the same message.
            Job::Ask { asks, .. }
                if asks
                    .iter()
                    .all(|(_, ask)| !ask.waits || books.is_counted(ask.session)) =>
            {
                let recalls = &mut outcomes.recalls;
                Outcome::Answered(ask(&mut tx, books, asks, recalls, now_ms).await?)
            }
            Job::Renew { .. } | Job::Ask { .. } => Outcome::Refused,
        };
        outcomes.jobs.push(outcome);
    }
    outcomes.saved = books.save(&mut tx, now_ms).await?;
    replicas::pass_on(app, &mut tx, &outcomes.recalls, now_ms).await?;
    tx.commit().await?;
    Ok(outcomes)
}

/// Tells everyone what has been committed. Whoever no longer listens does not need to know.
fn tell(app: &App, jobs: impl Iterator<Item = Job>, outcomes: Outcomes) {
    for (job, outcome) in jobs.zip(outcomes.jobs) {
        match (job, outcome) {
            (Job::Join { reply, .. }, Outcome::Joined(joined)) => drop(reply.send(joined)),
            (Job::Post { reply, .. }, Outcome::Posted(posting)) => drop(reply.send(posting)),
            (Job::Release { reply, .. }, Outcome::Released(released)) => {
                drop(reply.send(released));
            }
            (Job::ReleaseOne { reply, .. }, Outcome::ReleasedOne(is_silent)) => {
                let _ = reply.send(is_silent);
            }
            (Job::Renew { reply, .. }, Outcome::Renewed(session)) => {
                let _ = reply.send(Some(session));
            }
            (Job::Renew { reply, .. }, _) => drop(reply.send(None)),
            (Job::EndSlots { reply, .. }, Outcome::Ended(ended)) => drop(reply.send(ended)),
            (Job::Ask { reply, .. }, Outcome::Answered(answers)) => drop(reply.send(Ok(answers))),
            (Job::Ask { reply, .. }, _) => drop(reply.send(Err(Unavailable))),
            _ => {}
        }
    }
    for recall in outcomes.recalls {
        app.policy_sync.recall(recall);
    }
    if let Some(spending) = outcomes.saved.spending {
        app.policy_sync.spent(spending);
    }
    if outcomes.saved.is_freed {
        app.ledger.freed.send_replace(());
    }
}

/// A life of an Envoy process says hello. One whose session was released in its absence has lost what
/// it held, and gets another session. One that has a session is told the same again: the first time may
/// have been lost.
pub(super) async fn join(
    tx: &mut Tx,
    books: &mut Books,
    boot: &Boot,
    now_ms: i64,
) -> Result<Joined, Error> {
    let row = match sessions::find(tx, boot).await? {
        Some(row) if !row.is_released => {
            sessions::hear(tx, boot, now_ms).await?;
            row
        }
        before => {
            let acknowledged = match before {
                Some(row) => row.acknowledged,
                // Its sessions may have been forgotten.
                None => usage::store::highest(tx, boot).await?,
            };
            let counted = books.sessions().len();
            let row = sessions::insert(tx, boot, counted, acknowledged, now_ms).await?;
            let divisor = row.standing_divisor;
            let current = books.current(tx, now_ms).await?;
            books.fetch(tx, &current.iter().collect::<Vec<_>>()).await?;
            for key in current {
                let join =
                    |account: &mut Account, terms: Terms<'_>| account.join(row.id, divisor, terms);
                books.with(tx, &key, join).await?;
            }
            books.count(row.id, divisor);
            row
        }
    };
    let withheld = books.withheld(tx, row.id, now_ms).await?;
    Ok(Joined {
        session: row.id,
        standing_divisor: row.standing_divisor,
        withheld: withheld.into_iter().collect(),
        acknowledged: row.acknowledged,
    })
}

/// Stores what is new in a batch: records, what they are charged to each limit, and how far this
/// session's numbers are stored now.
pub(super) async fn post(
    tx: &mut Tx,
    books: &mut Books,
    boot: &Boot,
    batch: Vec<UsageRecord>,
    now_ms: i64,
) -> Result<Posting, Error> {
    // Usage of a session that was released is usage all the same.
    let (session, before) = match sessions::find(tx, boot).await? {
        Some(row) => (row.id, row.acknowledged),
        None => {
            let joined = join(tx, books, boot, now_ms).await?;
            (joined.session, joined.acknowledged)
        }
    };
    let posting = ingest::post(batch, before);
    if posting.acknowledged == before {
        return Ok(posting);
    }
    usage::store::insert(tx, boot, &posting, now_ms).await?;
    let keys: Vec<&Key> = posting.charges.keys().collect();
    books.fetch(tx, &keys).await?;
    for (key, amount) in &posting.charges {
        let post = |account: &mut Account, terms: Terms<'_>| account.post(session, *amount, terms);
        books.with(tx, key, post).await?;
    }
    sessions::acknowledge(tx, session, posting.acknowledged).await?;
    Ok(posting)
}

/// Takes from a session what it has not spent.
async fn release(
    tx: &mut Tx,
    books: &mut Books,
    session: Session,
    actor: Option<&'static str>,
    now_ms: i64,
) -> Result<(), Error> {
    let held = accounts::held_by(tx, session).await?;
    books.fetch(tx, &held.iter().collect::<Vec<_>>()).await?;
    for key in &held {
        books
            .with(tx, key, |account, _| account.release(session))
            .await?;
    }
    sessions::release(tx, session, now_ms).await?;
    books.release(session, actor);
    Ok(())
}

async fn ask(
    tx: &mut Tx,
    books: &mut Books,
    asks: &[(Key, Ask)],
    recalls: &mut BTreeSet<Recall>,
    now_ms: i64,
) -> Result<Vec<(Key, Answer)>, Error> {
    let mut answers = Vec::with_capacity(asks.len());
    for (key, ask) in asks {
        // It holds nothing any more: what it says changes nothing, and need not be said again.
        if !books.is_counted(ask.session) {
            let answer = Answer {
                lent: ask.lent,
                tight: true,
                recall: false,
                posted: 0,
                committed: 0,
            };
            answers.push((key.clone(), answer));
            continue;
        }
        books.fetch(tx, &[key]).await?;
        let limit = books.limit(&key.limit_id);
        let is_current = limit.is_some_and(|limit| is_current(limit, key, now_ms));
        // A window that is not now is only told about.
        let want = if is_current { ask.want } else { 0 };
        let ask = Ask { want, ..*ask };
        let mut holders = Vec::new();
        let answer = |account: &mut Account, terms: Terms<'_>| {
            let answer = account.ask(ask, terms);
            if answer.recall {
                holders.extend(account.holders(terms).map(|session| (session, terms.base)));
            }
            answer
        };
        let answer = books.with(tx, key, answer).await?;
        recalls.extend(holders.into_iter().map(|(session, base)| Recall {
            holder: Some(Holder {
                session,
                process: books.process_of(session),
            }),
            key: key.clone(),
            base,
        }));
        answers.push((key.clone(), answer));
    }
    Ok(answers)
}

/// Is this a window of the limit, and now?
fn is_current(limit: &Limit, key: &Key, now_ms: i64) -> bool {
    let window = limit.window(key.window_start_ms);
    window.start_ms == key.window_start_ms
        && window.start_ms <= now_ms.saturating_add(CLOCK_SKEW_MS)
        && window.end_ms > now_ms.saturating_sub(CLOCK_SKEW_MS)
}
