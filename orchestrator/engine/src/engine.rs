//! The engine of one process: a worker that takes its part of the shards until it is stopped.
//!
//! Telling workflows things needs no engine, only a transaction: see [`crate::signal`] and its neighbours.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use muster_store::Database;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::address::ShardIndex;
use crate::clock::{Clock, SystemClock};
use crate::members::{self, WorkerId};
use crate::metrics;
use crate::registry::Registry;
use crate::shard::Shared;

/// How a worker goes about its work.
pub struct Options {
    /// What it calls itself, for people: the process's address, say.
    pub name: String,
    /// The store admits one process, so whoever held a lease before is dead: it is taken at once.
    pub alone: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which worker it is; random, but in a simulation.
    pub worker: WorkerId,
    /// Decides how retries and polls are spread; random, but in a simulation.
    pub seed: u64,
    /// Whether commits read their lease, as they must. `false` is for tests that show why.
    pub fenced: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("alone", &self.alone)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: String::new(),
            alone: false,
            clock: Arc::new(SystemClock),
            worker: WorkerId::random(),
            seed: rand::random(),
            fenced: true,
        }
    }
}

/// A worker. Dropping it ends it where it is, as a crash would: others wait for its leases to end.
#[derive(Debug)]
pub struct Engine {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    held: watch::Receiver<BTreeSet<ShardIndex>>,
}

impl Engine {
    /// Starts a worker over `db` that has code for what is in `registry`, in this runtime.
    pub fn start(db: Database, registry: Registry, options: Options) -> Self {
        metrics::describe();
        let Options { name, alone, clock, worker, seed, fenced } = options;
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        let shared = Arc::new(Shared { db, registry, clock, worker, random, fenced });
        let (stop, (told, held)) = (CancellationToken::new(), watch::channel(BTreeSet::new()));
        let task = tokio::spawn(members::run(shared, name, alone, told, stop.clone()));
        Self { stop, task: Some(task), held }
    }

    /// Shards whose work this worker does.
    pub fn shards_held(&self) -> usize {
        self.held.borrow().len()
    }

    /// The shards whose work this worker does, as that changes: for work that goes where a workflow is, and does
    /// no harm if two do it for a moment.
    pub fn shards(&self) -> watch::Receiver<BTreeSet<ShardIndex>> {
        self.held.clone()
    }

    /// Finishes what is being committed, hands all shards to others and ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the engine ended badly");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
