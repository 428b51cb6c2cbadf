//! The whole of matchmaking below HTTP: tickets enter durably by the call that the API makes, 100,000 wait, and matches
//! are committed with their seats and servers; as many tickets come as are matched, so that the pool stays as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
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
/// Warm servers in each region.
const WARM: u32 = 2_500;
/// Tickets that enter at the same time.
const WRITERS: u64 = 128;
/// How often it is looked how many are matched.
const LOOK: Duration = Duration::from_millis(50);
/// Measured until so many of the warm servers are taken, in percent: with the last, matches wait for a near region.
const TAKEN_PERCENT: u64 = 80;
/// And at most for so long.
const MEASURED: Duration = Duration::from_mins(1);
/// Name of queue and fleet.
const NAME: &str = "five-a-side";

pub(super) async fn run(stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let text = format!("{WARM} servers to ready in each region, by stand-ins");
    steps.run("warm", &text, stage.warm(NAME, WARM)).await?;
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
        Figure::alone("mm.matches_per_s", measured.matches_per_s, "1/s"),
        Figure::alone("mm.measured_s", measured.seconds, "s"),
    ])
}

struct Measured {
    tickets_per_s: f64,
    matches_per_s: f64,
    seconds: f64,
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
            tickets::create(&self.db, NAMESPACE, &request, b"", clock::now_ms()).await?;
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
    let servers = u64::from(WARM) * population::REGIONS.len() as u64;
    stage.studio.resume_queue(NAME).await?;
    let (mut began, mut before) = (None, 0);
    let (elapsed, matched, taken) = loop {
        if let Some(writer) = writers.try_join_next() {
            writer??;
        }
        let matched =
            count(stage.db(), TicketState::Assigned).await? + count(stage.db(), TicketState::Matched).await?;
        feeder.until.store(POOL + matched, Ordering::Relaxed);
        // The first pass reads the pool; measured is from its first matches on.
        let (at, first) = *began.get_or_insert((Instant::now(), matched));
        if first == 0 && matched > 0 {
            began = Some((Instant::now(), matched));
            continue;
        }
        let ready: u32 = stage.studio.fleet(NAME).await?.regions.values().map(|region| region.ready).sum();
        let taken = servers - u64::from(ready);
        if taken * 100 >= servers * TAKEN_PERCENT || at.elapsed() >= MEASURED {
            break (at.elapsed().as_secs_f64(), matched - first, taken);
        }
        before = before.max(matched);
        sleep(LOOK).await;
    };
    writers.abort_all();
    ensure!(matched > 0, "nobody was matched within {} s", MEASURED.as_secs());
    let share = taken as f64 / before.max(1) as f64;
    Ok(Measured {
        tickets_per_s: matched as f64 / elapsed,
        matches_per_s: matched as f64 * share / elapsed,
        seconds: elapsed,
    })
}
