//! The whole of matchmaking below HTTP: tickets enter durably by the call that the API makes, 100,000 wait, and matches
//! are committed with their seats and servers; as many tickets come as are matched, so that the pool stays as it is.
//!
//! Twice: with warm servers for all who are matched meanwhile, and while the fleet replaces each that is claimed, which
//! shares the machine with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use muster_orchestrator::asker::Asker;
use muster_orchestrator::records::TicketState;
use muster_orchestrator::{Database, clock, state, tickets};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::population;
use super::stage::Stage;
use crate::bench::figures::Figure;
use crate::harness::stack::NAMESPACE;
use crate::harness::steps::Steps;

/// Tickets that wait.
const POOL: u64 = 100_000;
/// Servers warm in each region, more than are claimed meanwhile: none is replaced.
const ENOUGH: u32 = 5_000;
/// Servers kept warm in each region, of those there may be: the fleet refills while it is measured, as in production.
const REFILLED: (u32, u32) = (1_000, 10_000);
/// Tickets that enter at the same time.
const WRITERS: u64 = 128;
/// How often it is looked how many are matched.
const LOOK: Duration = Duration::from_millis(50);
/// How long it is measured, from the first matches on.
const MEASURED: Duration = Duration::from_secs(20);
/// How long the first matches may take: the first pass reads the pool.
const FIRST: Duration = Duration::from_secs(30);

pub(super) async fn run(stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let enough = play(stage, steps, "five-a-side", (ENOUGH, ENOUGH)).await?;
    let refilling = play(stage, steps, "five-a-side-refilled", REFILLED).await?;
    Ok(vec![
        Figure::alone("mm.entered_per_s", enough.entered_per_s, "1/s"),
        Figure::alone("mm.tickets_per_s", enough.tickets_per_s, "1/s"),
        Figure::alone("mm.waiting_for_server_pct", enough.unserved_pct, "%"),
        Figure::alone("mm.refilling_tickets_per_s", refilling.tickets_per_s, "1/s"),
        Figure::alone("mm.refilling_waiting_for_server_pct", refilling.unserved_pct, "%"),
    ])
}

/// A queue and its fleet of `name`, filled and measured.
async fn play(
    stage: &mut Stage,
    steps: &mut Steps,
    name: &'static str,
    (warm, max): (u32, u32),
) -> anyhow::Result<Measured> {
    let text = format!("{warm} servers to ready in each region, by stand-ins");
    steps.run("warm", &text, stage.warm(name, warm, max)).await?;
    stage.studio.apply_queue(&population::queue(name, name)).await?;
    stage.studio.pause_queue(name).await?;
    let feeder = Feeder { queue: name, db: stage.db().clone(), next: Arc::default(), until: Arc::default() };
    let text = format!("durable: {POOL} tickets enter");
    let entered_per_s = steps.run("enter", &text, feeder.fill()).await?;
    let text = format!("durable: matched while as many come, {max} servers at most in each region");
    let (tickets_per_s, unserved_pct) = steps.run("match", &text, measure(stage, &feeder)).await?;
    stage.studio.delete_queue(name).await?;
    Ok(Measured { entered_per_s, tickets_per_s, unserved_pct })
}

struct Measured {
    entered_per_s: f64,
    tickets_per_s: f64,
    /// Of the matched, those whose match waited for a server at the end.
    unserved_pct: f64,
}

/// Makes tickets, up to a number that may be raised.
#[derive(Clone)]
struct Feeder {
    queue: &'static str,
    db: Database,
    next: Arc<AtomicU64>,
    until: Arc<AtomicU64>,
}

impl Feeder {
    /// Fills the pool. Tickets per second.
    async fn fill(&self) -> anyhow::Result<f64> {
        self.until.store(POOL, Ordering::Relaxed);
        let began = Instant::now();
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let feeder = self.clone();
            writers.spawn(async move { feeder.write(number, false).await });
        }
        while let Some(writer) = writers.join_next().await {
            writer??;
        }
        Ok(POOL as f64 / began.elapsed().as_secs_f64())
    }

    /// Makes tickets until the number is reached; and waits for it to be raised, if it `goes_on`.
    async fn write(&self, seed: u64, goes_on: bool) -> anyhow::Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            while number >= self.until.load(Ordering::Relaxed) {
                if !goes_on {
                    return Ok(());
                }
                sleep(LOOK / 10).await;
            }
            let request = population::request(self.queue, number, &mut random);
            tickets::create(&self.db, NAMESPACE, &request, &Asker::default(), clock::now_ms()).await?;
        }
    }
}

async fn count(db: &Database, queue: &str, state: TicketState) -> anyhow::Result<u64> {
    let count =
        db.read("count", async |mut tx| state::tickets::count(&mut tx, NAMESPACE, queue, state).await);
    Ok(u64::from(count.await?))
}

/// Tickets matched in a second, and of all matched, how many in a hundred have a match that waits for a server.
async fn measure(stage: &Stage, feeder: &Feeder) -> anyhow::Result<(f64, f64)> {
    let mut writers = JoinSet::new();
    feeder.next.store(POOL, Ordering::Relaxed);
    for number in 0..WRITERS {
        let feeder = feeder.clone();
        writers.spawn(async move { feeder.write(WRITERS + number, true).await });
    }
    stage.studio.resume_queue(feeder.queue).await?;
    let asked = Instant::now();
    let mut first: Option<(Instant, u64)> = None;
    let (elapsed, matched, unserved) = loop {
        if let Some(writer) = writers.try_join_next() {
            writer??;
        }
        let unserved = count(stage.db(), feeder.queue, TicketState::Matched).await?;
        let matched = count(stage.db(), feeder.queue, TicketState::Assigned).await? + unserved;
        feeder.until.store(POOL + matched, Ordering::Relaxed);
        match first {
            None if matched > 0 => first = Some((Instant::now(), matched)),
            None => ensure!(asked.elapsed() < FIRST, "nobody was matched within {} s", FIRST.as_secs()),
            Some((at, before)) if at.elapsed() >= MEASURED => {
                break (at.elapsed().as_secs_f64(), matched - before, unserved);
            }
            Some(_) => {}
        }
        sleep(LOOK).await;
    };
    writers.abort_all();
    Ok((matched as f64 / elapsed, 100.0 * unserved as f64 / matched.max(1) as f64))
}
