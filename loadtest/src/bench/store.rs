//! The embedded store, beside bare redb with the same group commit.
//!
//! A transaction reads one key and a run of eight, and writes four, as allocations and tickets do; what
//! the store adds over redb (serializability, watches, versionstamps, limits) is the difference. Both
//! write to the same disk, in turn, and answer after an fsync. Then a queue: what reading its head
//! costs after very many rows have come and gone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use muster_store::{Database, OpenOptions, StoreError, Transaction, prefix_end};
use rand::RngExt;
use tokio::task::JoinSet;

use super::BenchOptions;
use super::bare_redb::BareRedb;
use super::figures::{Figure, Figures};
use crate::harness::steps::Steps;
use crate::latency::{Latencies, median};

/// Transactions under way at a time.
const CLIENTS: u32 = 64;
/// How long one round runs.
const ROUND: Duration = Duration::from_secs(4);
/// Rounds of each, in turn.
const ROUNDS: u32 = 3;
/// Rows there before.
pub(super) const ROWS: u32 = 100_000;
/// Bytes of a value.
pub(super) const VALUE_BYTES: usize = 256;
/// Rows a transaction reads in a run.
pub(super) const RUN: u32 = 8;
/// Rows a transaction writes.
pub(super) const PUTS: usize = 4;
/// Rows that go through the queue.
const QUEUED: u32 = 300_000;
/// Rows pushed or popped at a time.
const QUEUE_BATCH: usize = 1_000;
/// Rows read at the queue's head.
const HEAD: usize = 25;
/// Times the head is read.
const HEAD_READS: u32 = 5_000;

/// What one transaction does.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) get: u32,
    pub(super) run: u32,
    pub(super) puts: [u32; PUTS],
}

impl Plan {
    fn random() -> Self {
        let mut random = rand::rng();
        let mut row = || random.random_range(0..ROWS);
        Self { get: row(), run: row(), puts: [row(), row(), row(), row()] }
    }
}

/// Key of a row.
pub(super) fn key(row: u32) -> [u8; 8] {
    let mut key = *b"row/\0\0\0\0";
    key[4..].copy_from_slice(&row.to_be_bytes());
    key
}

/// Runs the benchmark.
pub async fn run(options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Figures> {
    let dir = options.out.join("run-store");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let store = Database::open(&dir.join("store.redb"), OpenOptions::default())?;
    let bare = Arc::new(BareRedb::open(&dir.join("bare.redb"))?);
    steps.run("fill", &format!("{ROWS} rows into each"), fill(&store, &bare)).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let text = format!("round {round} of {ROUNDS} on the store");
        ours.push(steps.run(&format!("store_{round}"), &text, on_store(&store)).await?);
        let text = format!("round {round} of {ROUNDS} on bare redb");
        theirs.push(steps.run(&format!("redb_{round}"), &text, on_bare(&bare)).await?);
    }
    let text = format!("{QUEUED} rows through a queue");
    let head = steps.run("queue", &text, queue_head(&store)).await?;
    store.shutdown().await;
    let median = |rates: &[f64]| median(rates).context("there was no round");
    let ms = |us: u64| us as f64 / 1_000.0;
    Ok(Figures::new(vec![
        Figure::alone("store.tx_per_s", median(&ours)?, "1/s")
            .against("redb, same group commit", median(&theirs)?),
        Figure::alone("store.queue_head_p50_ms", ms(head.percentile(50.0)), "ms"),
        Figure::alone("store.queue_head_p99_ms", ms(head.percentile(99.0)), "ms"),
    ]))
}

async fn fill(store: &Database, bare: &BareRedb) -> anyhow::Result<()> {
    let rows: Vec<u32> = (0..ROWS).collect();
    for batch in rows.chunks(QUEUE_BATCH) {
        store
            .run("fill", async |mut tx: Transaction| {
                for row in batch {
                    tx.set(&key(*row), &[7; VALUE_BYTES]);
                }
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    bare.fill()
}

/// Transactions per second of `CLIENTS` that each run `transact` over and over.
async fn rate<F, Fut>(transact: F) -> anyhow::Result<f64>
where
    F: Fn(Plan) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let transact = transact.clone();
        clients.spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < ROUND {
                transact(Plan::random()).await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(client) = clients.join_next().await {
        done += client??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

async fn on_store(store: &Database) -> anyhow::Result<f64> {
    let store = store.clone();
    rate(move |plan| {
        let store = store.clone();
        async move {
            store
                .run("bench", async |mut tx: Transaction| {
                    tx.get(&key(plan.get)).await?;
                    tx.get_range(&key(plan.run), &prefix_end(b"row/"), RUN as usize, false).await?;
                    for row in plan.puts {
                        tx.set(&key(row), &[8; VALUE_BYTES]);
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
            Ok(())
        }
    })
    .await
}

async fn on_bare(bare: &Arc<BareRedb>) -> anyhow::Result<f64> {
    let bare = bare.clone();
    rate(move |plan| {
        let bare = bare.clone();
        async move { bare.transact(plan).await }
    })
    .await
}

/// Pushes and pops `QUEUED` rows, then reads the head of what is left.
async fn queue_head(store: &Database) -> anyhow::Result<Latencies> {
    let (begin, end) = (b"queue/".as_slice(), prefix_end(b"queue/"));
    let mut pushed = 0_u32;
    while pushed < QUEUED {
        store
            .run("push", async |mut tx: Transaction| {
                for row in pushed..pushed + QUEUE_BATCH as u32 {
                    tx.set(&[begin, &row.to_be_bytes()].concat(), &[1; 32]);
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        pushed += QUEUE_BATCH as u32;
        // A few stay, so that there is a head to read.
        store
            .run("pop", async |mut tx: Transaction| {
                let rows = tx.get_range(begin, &end, QUEUE_BATCH - 1, false).await?;
                for (key, _) in rows {
                    tx.clear(&key);
                }
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    let mut latencies = Latencies::default();
    for _ in 0..HEAD_READS {
        let began = Instant::now();
        let head =
            store.read("head", async |mut tx: Transaction| tx.get_range(begin, &end, HEAD, false).await);
        let head: Vec<_> = head.await.map_err(|error: StoreError| error)?;
        latencies.record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        anyhow::ensure!(head.len() == HEAD, "the queue has {} rows left", head.len());
    }
    Ok(latencies)
}

/// A directory's file, for the baseline.
pub(super) fn file_in(path: &Path) -> anyhow::Result<redb::Database> {
    redb::Database::create(path).with_context(|| format!("cannot make {}", path.display()))
}
