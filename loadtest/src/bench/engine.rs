//! The durable engine on the embedded store: transitions per second, how long a signal takes beside a bare
//! commit, and what a million sleeping workflows cost.
//!
//! What sleeps is measured in processes of their own, one over the million and one over an empty store, so
//! that memory and processor time are what a process needs that does nothing else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use muster_engine::{Engine, Options, Registry, SendError, inspect, signal_or_start};
use muster_store::{Database, OpenOptions, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::relay::{Baton, NAMESPACE, PROBED, Relay, relay};
use super::{BenchOptions, usage};
use crate::bench::figures::{Figure, Figures};
use crate::harness::steps::Steps;
use crate::latency::{Latencies, median};

/// Workflows that hand batons on.
const RELAYS: u64 = 5_000;
/// Batons under way.
const BATONS: u64 = 8_192;
/// How long one round runs.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds.
const ROUNDS: u32 = 3;
/// Signals sent one by one to an idle system.
const PROBES: u64 = 1_000;
/// Workflows put to sleep.
const SLEEPERS: u64 = 1_000_000;
/// Sleepers started in one transaction.
const SLEEPERS_PER_TRANSACTION: u64 = 500;
/// Sleepers' signals sent but not handled yet, at most.
const BACKLOG: u64 = 50_000;
/// How long the sleepers sleep: longer than anybody looks.
const SLEEP: Duration = Duration::from_hours(720);
/// How long a process at rest is watched.
const REST: Duration = Duration::from_secs(20);
/// Memory for the store's cache of the processes at rest: the cache's size is set, not grown by workflows.
const REST_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_mins(10);

/// What a process found that did nothing but hold sleepers.
#[derive(Debug, Serialize, Deserialize)]
pub struct AtRest {
    /// Resident memory, bytes.
    memory_bytes: u64,
    /// Share of one core, percent.
    cpu_percent: f64,
    /// From the start of the engine to the first transition, seconds.
    first_transition_s: f64,
    /// Opening the store, checks of the whole file included, seconds.
    open_s: f64,
}

/// Runs the benchmark.
pub async fn run(options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Figures> {
    let dir = options.out.join("run-engine");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let (hot, empty, full) = (dir.join("hot.redb"), dir.join("empty.redb"), dir.join("full.redb"));

    let db = Database::open(&hot, OpenOptions::default())?;
    let engine = engine(&db);
    let commit = steps.run("commit", "one write at a time, without the engine", commits(&db)).await?;
    let signal = steps.run("signal", "one signal at a time", signals(&db)).await?;
    steps.run("batons", &format!("{BATONS} batons for {RELAYS} relays"), hand_out(&db)).await?;
    let mut rates = Vec::new();
    for round in 1..=ROUNDS {
        let text = format!("round {round} of {ROUNDS}");
        rates.push(steps.run(&format!("transitions_{round}"), &text, rate(&db)).await?);
    }
    engine.stop().await;
    db.shutdown().await;

    let text = format!("{SLEEPERS} workflows fall asleep");
    let asleep = steps.run("asleep", &text, put_to_sleep(&full)).await?;
    Database::open(&empty, OpenOptions::default())?.shutdown().await;
    let base = steps.run("rest_empty", "a process over an empty store", at_rest(&empty)).await?;
    let rest = steps.run("rest_full", "a process over the sleepers", at_rest(&full)).await?;

    let ms = |us: u64| us as f64 / 1_000.0;
    let over = |percent: f64| (ms(signal.percentile(percent)) - ms(commit.percentile(50.0))).max(0.0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Figures::new(vec![
        Figure::alone("engine.transitions_per_s", median(&rates).context("there was no round")?, "1/s"),
        Figure::alone("engine.commit_p50_ms", ms(commit.percentile(50.0)), "ms"),
        Figure::alone("engine.signal_p50_ms", over(50.0), "ms over one commit"),
        Figure::alone("engine.signal_p99_ms", over(99.0), "ms over one commit"),
        Figure::alone("engine.starts_per_s", SLEEPERS as f64 / asleep.as_secs_f64(), "1/s"),
        Figure::alone(
            "engine.sleeping_million_mb",
            mib(rest.memory_bytes) - mib(base.memory_bytes),
            "MiB over empty",
        ),
        Figure::alone("engine.empty_mb", mib(base.memory_bytes), "MiB"),
        Figure::alone("engine.sleeping_million_cpu_pct", rest.cpu_percent, "% of a core")
            .against("empty store", base.cpu_percent),
        Figure::alone("engine.open_s", rest.open_s, "s").against("empty store", base.open_s),
        Figure::alone("engine.cold_start_s", rest.first_transition_s, "s")
            .against("empty store", base.first_transition_s),
    ]))
}

fn engine(db: &Database) -> Engine {
    let options = Options { name: "bench".to_owned(), alone: true, ..Options::default() };
    Engine::start(db.clone(), Registry::new().with_machine(Relay), options)
}

/// How long one bare write takes.
async fn commits(db: &Database) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    for number in 0..PROBES {
        let began = Instant::now();
        db.run("bare", async |mut tx: Transaction| {
            tx.set(b"\x01bare", &number.to_le_bytes());
            Ok::<_, StoreError>(())
        })
        .await?;
        record(&mut latencies, began);
    }
    Ok(latencies)
}

/// How long after a signal is acknowledged its transition can be read.
async fn signals(db: &Database) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    for probe in 1..=PROBES {
        let address = relay(probe % RELAYS)?;
        let baton = Baton { probe, ..Baton::default() };
        let mut watch = db
            .run("probe", async |mut tx: Transaction| {
                signal_or_start::<Relay>(&mut tx, &address, &baton).await?;
                Ok::<_, SendError>(tx.watch(PROBED))
            })
            .await?;
        let began = Instant::now();
        tokio::time::timeout(DEADLINE, watch.changed()).await.context("a probe was never handled")??;
        record(&mut latencies, began);
    }
    Ok(latencies)
}

fn record(latencies: &mut Latencies, began: Instant) {
    latencies.record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
}

async fn hand_out(db: &Database) -> anyhow::Result<()> {
    for first in (0..BATONS).step_by(256) {
        db.run("hand_out", async |mut tx: Transaction| {
            for number in first..first + 256 {
                let baton = Baton { hops: u64::MAX, relays: RELAYS, ..Baton::default() };
                let address = relay(number % RELAYS).expect("a number is a good key");
                signal_or_start::<Relay>(&mut tx, &address, &baton).await?;
            }
            Ok::<_, SendError>(())
        })
        .await?;
    }
    Ok(())
}

/// Durable transitions per second over one round, by what the workflows' records say before and after.
async fn rate(db: &Database) -> anyhow::Result<f64> {
    let (before, began) = (revisions(db).await?, Instant::now());
    tokio::time::sleep(ROUND).await;
    let (after, elapsed) = (revisions(db).await?, began.elapsed());
    Ok((after - before) as f64 / elapsed.as_secs_f64())
}

async fn revisions(db: &Database) -> anyhow::Result<u64> {
    let (mut sum, mut after) = (0, None);
    loop {
        let (page, next) =
            inspect::list(db, NAMESPACE, &inspect::Filter::default(), after.as_ref(), 1_000).await?;
        sum += page.iter().map(|workflow| workflow.record.revision).sum::<u64>();
        after = next;
        if after.is_none() {
            return Ok(sum);
        }
    }
}

/// Starts the sleepers in a new store at `path`. Returns how long that took.
async fn put_to_sleep(path: &Path) -> anyhow::Result<Duration> {
    let db = Database::open(path, OpenOptions::default())?;
    let engine = engine(&db);
    let began = Instant::now();
    let baton = Baton { sleep_ms: SLEEP.as_millis() as u64, ..Baton::default() };
    for first in (0..SLEEPERS).step_by(SLEEPERS_PER_TRANSACTION as usize) {
        db.run("put_to_sleep", async |mut tx: Transaction| {
            for number in first..first + SLEEPERS_PER_TRANSACTION {
                let address = relay(number).expect("a number is a good key");
                signal_or_start::<Relay>(&mut tx, &address, &baton).await?;
            }
            Ok::<_, SendError>(())
        })
        .await?;
        if first % BACKLOG == 0 {
            until_asleep(&db, first).await?;
        }
    }
    until_asleep(&db, SLEEPERS - 1).await?;
    let counts = inspect::count(&db).await?;
    ensure!(counts.values().sum::<u64>() == SLEEPERS, "not all fell asleep: {counts:?}");
    let elapsed = began.elapsed();
    engine.stop().await;
    db.shutdown().await;
    Ok(elapsed)
}

/// Waits until sleeper `number` is there, and with it, nearly, all before it.
async fn until_asleep(db: &Database, number: u64) -> anyhow::Result<()> {
    let address = relay(number)?;
    let waiting = async {
        loop {
            let found = db.read("look", async |mut tx| inspect::show(&mut tx, &address).await).await?;
            if found.is_some_and(|workflow| !workflow.record.timers.is_empty()) {
                return Ok::<_, StoreError>(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    Ok(tokio::time::timeout(DEADLINE, waiting).await.context("the sleepers never fell asleep")??)
}

/// Has a process of its own hold the store at `path`, and say what that takes.
async fn at_rest(path: &Path) -> anyhow::Result<AtRest> {
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .arg("engine-at-rest")
        .arg(path)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "the process at rest failed: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Holds the store at `path` and does nothing: the process that [`run`] starts.
pub async fn rest(path: PathBuf) -> anyhow::Result<()> {
    let began = Instant::now();
    let options = OpenOptions { cache_bytes: REST_CACHE_BYTES, ..OpenOptions::default() };
    let db = Database::open(&path, options)?;
    let open_s = began.elapsed().as_secs_f64();
    let started = Instant::now();
    let baton = Baton { probe: rand::random::<u64>() | 1, ..Baton::default() };
    let address = relay(0)?;
    let mut watch = db
        .run("first", async |mut tx: Transaction| {
            signal_or_start::<Relay>(&mut tx, &address, &baton).await?;
            Ok::<_, SendError>(tx.watch(PROBED))
        })
        .await?;
    let engine = engine(&db);
    tokio::time::timeout(DEADLINE, watch.changed()).await.context("there was no first transition")??;
    let first_transition_s = started.elapsed().as_secs_f64();
    // What the start itself took is not rest.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let me = std::process::id();
    let (before, began) = (usage::cpu(me)?, Instant::now());
    tokio::time::sleep(REST).await;
    let cpu_percent =
        100.0 * usage::cpu(me)?.saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    let found = AtRest { memory_bytes: usage::resident_bytes(me)?, cpu_percent, first_transition_s, open_s };
    println!("{}", serde_json::to_string(&found)?);
    engine.stop().await;
    db.shutdown().await;
    Ok(())
}
