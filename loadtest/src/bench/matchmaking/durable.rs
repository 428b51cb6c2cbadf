//! The whole of matchmaking below HTTP: tickets enter durably by the call that the API makes, 100,000 wait, and matches
//! are committed with their seats and servers; as many tickets come as are matched, so that the pool stays as it is.

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
/// Servers kept warm in each region, of those there may be: the fleet refills while it is measured, as in production.
const SERVERS: (u32, u32) = (1_000, 10_000);
/// Tickets that enter at the same time.
const WRITERS: u64 = 128;
/// How often it is looked how many are matched.
const LOOK: Duration = Duration::from_millis(50);
/// How long it is measured, from the first matches on.
const MEASURED: Duration = Duration::from_secs(20);
/// How long the first matches may take: the first pass reads the pool.
const FIRST: Duration = Duration::from_secs(30);
/// Name of queue and fleet.
const NAME: &str = "five-a-side";

pub(super) async fn run(stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let (warm, max) = SERVERS;
    let text = format!("{warm} servers to ready in each region, by stand-ins");
    steps.run("warm", &text, stage.warm(NAME, warm, max)).await?;
    stage.studio.apply_queue(&population::queue(NAME, NAME)).await?;
    stage.studio.pause_queue(NAME).await?;
    let feeder = Feeder { db: stage.db().clone(), next: Arc::new(AtomicU64::new(0)), until: Arc::default() };
    let text = format!("durable: {POOL} tickets enter");
    let entered_per_s = steps.run("enter", &text, feeder.fill()).await?;
    let measured = steps.run("match", "durable: matched while as many come", measure(stage, &feeder)).await?;
    stage.studio.delete_queue(NAME).await?;
    Ok(vec![
        Figure::alone("mm.entered_per_s", entered_per_s, "1/s"),
        Figure::alone("mm.tickets_per_s", measured.tickets_per_s, "1/s"),
        Figure::alone("mm.waiting_for_server_pct", measured.unserved_pct, "%"),
    ])
}

struct Measured {
    tickets_per_s: f64,
    /// Of the matched, those whose match waited for a server at the end.
    unserved_pct: f64,
}

/// Makes tickets, up to a number that may be raised.
#[derive(Clone)]
struct Feeder {
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
            let request = population::request(NAME, number, &mut random);
            tickets::create(&self.db, NAMESPACE, &request, &Asker::default(), clock::now_ms()).await?;
        }
    }
}

async fn count(db: &Database, state: TicketState) -> anyhow::Result<u64> {
    let count = db.read("count", async |mut tx| state::tickets::count(&mut tx, NAMESPACE, NAME, state).await);
    Ok(u64::from(count.await?))
}

async fn measure(stage: &Stage, feeder: &Feeder) -> anyhow::Result<Measured> {
    let mut writers = JoinSet::new();
    feeder.next.store(POOL, Ordering::Relaxed);
    for number in 0..WRITERS {
        let feeder = feeder.clone();
        writers.spawn(async move { feeder.write(WRITERS + number, true).await });
    }
    stage.studio.resume_queue(NAME).await?;
    let asked = Instant::now();
    let mut first: Option<(Instant, u64)> = None;
    let (elapsed, matched, unserved) = loop {
        if let Some(writer) = writers.try_join_next() {
            writer??;
        }
        let unserved = count(stage.db(), TicketState::Matched).await?;
        let matched = count(stage.db(), TicketState::Assigned).await? + unserved;
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
    Ok(Measured {
        tickets_per_s: matched as f64 / elapsed,
        unserved_pct: 100.0 * unserved as f64 / matched.max(1) as f64,
    })
}
