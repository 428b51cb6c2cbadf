//! Which of a shard's steps workflows are awake, each with a task of its own, at most so many at once.
//!
//! The truth is the store's index of those that are awake; here is only which of them run in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};

use crate::address::Address;
use crate::keyspace;
use crate::limits::MAX_AWAKE_PER_SHARD;
use crate::metrics;
use crate::shard::{Lease, Shared, Unleased};
use crate::steps::run::run;

/// The steps workflows of one shard that run here.
pub(crate) struct Awake {
    shared: Arc<Shared>,
    lease: Lease,
    running: BTreeMap<Address, AbortHandle>,
    tasks: JoinSet<Address>,
    /// Woken while they ran: they may have looked before.
    again: BTreeSet<Address>,
    /// The index may hold some that are not running.
    rescan: bool,
}

impl Awake {
    pub(crate) fn new(shared: Arc<Shared>, lease: Lease) -> Self {
        let (running, again) = (BTreeMap::new(), BTreeSet::new());
        Self { shared, lease, running, tasks: JoinSet::new(), again, rescan: false }
    }

    /// Looks into the index at the next opportunity.
    pub(crate) fn rescan(&mut self) {
        self.rescan = true;
    }

    /// Runs these, which were woken; those there is no room for are found in the index later.
    pub(crate) fn wake(&mut self, woken: Vec<Address>) {
        for address in woken {
            if self.running.contains_key(&address) {
                self.again.insert(address);
            } else if self.running.len() < MAX_AWAKE_PER_SHARD {
                self.spawn(address);
            } else {
                self.rescan = true;
            }
        }
    }

    /// Takes note of those that have stopped running, and runs others in their place.
    pub(crate) async fn fill(&mut self) -> Result<(), Unleased> {
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended(ended);
        }
        if !self.rescan || self.running.len() >= MAX_AWAKE_PER_SHARD {
            return Ok(());
        }
        let range = keyspace::awakes(self.lease.shard);
        let rows = self
            .shared
            .db
            .read("engine_awake", async |mut tx| {
                tx.snapshot_get_range(&range.begin, &range.end, 2 * MAX_AWAKE_PER_SHARD, false).await
            })
            .await?;
        self.rescan = rows.len() == 2 * MAX_AWAKE_PER_SHARD;
        for address in rows.iter().filter_map(|(key, _)| keyspace::split_address(key)) {
            if self.running.len() >= MAX_AWAKE_PER_SHARD {
                self.rescan = true;
                break;
            }
            if !self.running.contains_key(&address) {
                self.spawn(address);
            }
        }
        Ok(())
    }

    /// Resolves when one has stopped running: it may have set a timer, and there is room for another.
    pub(crate) async fn changed(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self, ended: Result<Address, tokio::task::JoinError>) {
        metrics::awake(-1.0);
        match ended {
            Ok(address) => {
                self.running.remove(&address);
                if self.again.remove(&address) {
                    self.spawn(address);
                }
            }
            // It cannot be told which; the index knows what is awake.
            Err(error) => {
                tracing::error!(%error, "a workflow's task ended badly; it is run again");
                self.running.retain(|_, task| !task.is_finished());
                self.rescan = true;
            }
        }
    }

    fn spawn(&mut self, address: Address) {
        metrics::awake(1.0);
        let (shared, lease, name) = (self.shared.clone(), self.lease, address.clone());
        let task = self.tasks.spawn(async move {
            run(shared, lease, name.clone()).await;
            name
        });
        self.running.insert(address, task);
    }

    /// Stops all; each goes on where the journal says, wherever the shard is next.
    pub(crate) async fn stop(&mut self) {
        metrics::awake(-(self.tasks.len() as f64));
        self.tasks.shutdown().await;
        self.running.clear();
    }
}
