//! The loop of a worker: heartbeat, look, plan, act.
//!
//! It starts and stops the tasks of shards; what they do is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_store::{StoreError, Transaction, Watch};
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::address::ShardIndex;
use crate::keyspace;
use crate::limits::{HEARTBEAT, MAX_WORKERS, REPLY_KEPT, SHARDS};
use crate::members::WorkerId;
use crate::members::plan::{Step, owner_of, plan};
use crate::members::view::{Live, View};
use crate::metrics;
use crate::records::{LeaseRecord, WorkerRecord};
use crate::shard::{self, Lease, Shared};

/// Which shards a worker holds, for whoever asks.
type Held = watch::Sender<BTreeSet<ShardIndex>>;

/// It is planned anew after so many heartbeats even if nothing was seen to change.
const HEARTBEATS_PER_PLAN: u64 = 4;
/// Pause after a look that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Is a worker named `name` until `stop`. If `alone`, the store admits no other: whoever held a lease is
/// dead, without waiting to see.
pub(crate) async fn run(shared: Arc<Shared>, name: String, alone: bool, held: Held, stop: CancellationToken) {
    let mut members = Members {
        shared,
        name,
        alone,
        held,
        heartbeat: 0,
        view: View::default(),
        planned: Planned::default(),
        shards: BTreeMap::new(),
        replies_cleared: 0,
    };
    let mut watch: Option<Watch> = None;
    while !stop.is_cancelled() {
        let pause = match members.turn(&mut watch).await {
            Ok(()) => HEARTBEAT,
            Err(StoreError::Closed) => break,
            Err(error) => {
                tracing::warn!(%error, "a worker cannot look at the others");
                // What was told has not been acted upon.
                watch = None;
                AFTER_FAILURE
            }
        };
        let news = async {
            let told = match &mut watch {
                Some(watch) => watch.changed().await.is_ok(),
                None => false,
            };
            // A watch that failed tells nothing; the heartbeat is what is left.
            if !told {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = news => watch = None,
            () = tokio::time::sleep(pause) => {}
        }
    }
    members.leave().await;
}

struct Members {
    shared: Arc<Shared>,
    name: String,
    alone: bool,
    held: Held,
    heartbeat: u64,
    view: View,
    planned: Planned,
    shards: BTreeMap<ShardIndex, Running>,
    /// Bucket of replies before which all are cleared.
    replies_cleared: u64,
}

struct Running {
    lease: Lease,
    stop: CancellationToken,
    /// Ends with this worker, however that ends.
    task: AbortOnDropHandle<()>,
}

/// When and for whom it was last planned.
#[derive(Default)]
struct Planned {
    /// Who lived then.
    live: Vec<Live>,
    /// The heartbeat it was at.
    heartbeat: u64,
}

/// The workers that the store knows, dead ones among them.
type Workers = Vec<(WorkerId, WorkerRecord)>;

impl Members {
    fn me(&self) -> WorkerId {
        self.shared.worker
    }

    async fn turn(&mut self, watch: &mut Option<Watch>) -> Result<(), StoreError> {
        let is_news = watch.is_none();
        if is_news {
            *watch = Some(self.shared.db.watch(&keyspace::members()).await?);
        }
        self.heartbeat += 1;
        let workers = self.beat(false).await?;
        let now = Instant::now();
        self.view.look(&workers, now);
        let mut live = self.view.live(now);
        live.retain(|worker| !self.alone || worker.id == self.me());
        let held = self.shards.len();
        self.shards.retain(|_, running| !running.task.is_finished());
        // Leases change hands because somebody comes, goes, dies or says so; whatever else may happen is found by
        // looking from time to time.
        let is_due = self.heartbeat >= self.planned.heartbeat + HEARTBEATS_PER_PLAN;
        if is_news || is_due || held != self.shards.len() || live != self.planned.live {
            let leases = self.leases().await?;
            let held =
                self.shards.iter().map(|(shard, running)| (*shard, running.lease.generation)).collect();
            self.act(plan(self.me(), &live, &leases, &held)).await?;
            self.bury(&workers, &leases, now).await?;
            self.planned = Planned { live, heartbeat: self.heartbeat };
        }
        self.clear_replies().await?;
        self.tell_held();
        Ok(())
    }

    /// Says which shards are held, if that has changed.
    fn tell_held(&self) {
        let now: BTreeSet<ShardIndex> = self.shards.keys().copied().collect();
        metrics::shards_held(now.len());
        self.held.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }

    /// Shows that this worker lives, and reads what the others do.
    async fn beat(&self, leaving: bool) -> Result<Workers, StoreError> {
        let (name, release) = (self.name.clone(), self.shared.registry.release());
        let own = WorkerRecord { heartbeat: self.heartbeat, release, name, leaving };
        let key = keyspace::worker(self.me().as_bytes());
        self.shared
            .db
            .run("engine_heartbeat", async |mut tx| {
                let before = tx.snapshot_get(&key).await?.and_then(|row| WorkerRecord::decode(row).ok());
                if before.is_none_or(|before| before.leaving != leaving) {
                    tx.atomic_add(&keyspace::members(), 1);
                }
                tx.set(&key, &own.encode_to_vec());
                let workers = keyspace::workers();
                let workers = tx.snapshot_get_range(&workers.begin, &workers.end, MAX_WORKERS, false).await?;
                let found = workers.into_iter().filter_map(|(key, row)| {
                    let id = WorkerId::from_bytes(keyspace::worker_id(&key)?);
                    Some((id, WorkerRecord::decode(row).ok()?))
                });
                Ok::<_, StoreError>(found.collect())
            })
            .await
    }

    /// Who has which shard.
    async fn leases(&self) -> Result<BTreeMap<ShardIndex, LeaseRecord>, StoreError> {
        let leases = keyspace::leases();
        let rows = self.shared.db.read("engine_leases", async |mut tx| {
            tx.snapshot_get_range(&leases.begin, &leases.end, usize::from(SHARDS), false).await
        });
        let found = rows
            .await?
            .into_iter()
            .filter_map(|(key, row)| Some((keyspace::lease_shard(&key)?, LeaseRecord::decode(row).ok()?)));
        Ok(found.collect())
    }

    async fn act(&mut self, steps: Vec<Step>) -> Result<(), StoreError> {
        let mut take = Vec::new();
        let mut give = Vec::new();
        for step in steps {
            match step {
                Step::Take { shard, seen } => take.push((shard, seen)),
                Step::Adopt { shard, generation } => {
                    metrics::leases_taken("given", 1);
                    self.start(Lease { shard, generation });
                }
                Step::Give { shard, to } => give.push((shard, Some(to))),
                Step::Drop { shard } => {
                    if let Some(running) = self.shards.remove(&shard) {
                        running.end().await;
                    }
                }
            }
        }
        if !take.is_empty() {
            let taken = self.take(&take).await?;
            metrics::leases_taken("free", taken.len());
            for lease in taken {
                self.start(lease);
            }
        }
        self.give(give).await
    }

    fn start(&mut self, lease: Lease) {
        let stop = CancellationToken::new();
        let task = tokio::spawn(shard::run(self.shared.clone(), lease, stop.clone()));
        let task = AbortOnDropHandle::new(task);
        self.shards.insert(lease.shard, Running { lease, stop, task });
    }

    /// Takes leases that are still of the generation seen.
    async fn take(&self, wanted: &[(ShardIndex, u64)]) -> Result<Vec<Lease>, StoreError> {
        let owner = self.me().as_bytes().to_vec();
        self.shared
            .db
            .run("engine_take_leases", async |mut tx| {
                let mut taken = Vec::new();
                for (shard, seen) in wanted {
                    let key = keyspace::lease(*shard);
                    let row = tx.get(&key).await?.and_then(|row| LeaseRecord::decode(row).ok());
                    if row.map_or(0, |record| record.generation) == *seen {
                        let generation = seen + 1;
                        let record = LeaseRecord { owner: owner.clone().into(), generation };
                        tx.set(&key, &record.encode_to_vec());
                        taken.push(Lease { shard: *shard, generation });
                    }
                }
                Ok::<_, StoreError>(taken)
            })
            .await
    }

    /// Stops with shards and gives their leases away.
    async fn give(&mut self, given: Vec<(ShardIndex, Option<WorkerId>)>) -> Result<(), StoreError> {
        let mut handed = Vec::new();
        for (shard, to) in given {
            if let Some(running) = self.shards.remove(&shard) {
                handed.push((running.lease, to));
                running.end().await;
            }
        }
        if handed.is_empty() {
            return Ok(());
        }
        let me = self.me();
        self.shared
            .db
            .run("engine_give_leases", async |mut tx: Transaction| {
                for (lease, to) in &handed {
                    let key = keyspace::lease(lease.shard);
                    let row = tx.get(&key).await?.and_then(|row| LeaseRecord::decode(row).ok());
                    let mine = row.is_some_and(|record| {
                        record.owner == me.as_bytes().as_slice() && record.generation == lease.generation
                    });
                    if mine {
                        let owner = to.map(|to| to.as_bytes().to_vec()).unwrap_or_default().into();
                        let record = LeaseRecord { owner, generation: lease.generation + 1 };
                        tx.set(&key, &record.encode_to_vec());
                    }
                }
                tx.atomic_add(&keyspace::members(), 1);
                Ok::<_, StoreError>(())
            })
            .await
    }

    /// Removes the rows of the dead, once they have no leases.
    async fn bury(
        &self,
        workers: &Workers,
        leases: &BTreeMap<ShardIndex, LeaseRecord>,
        now: Instant,
    ) -> Result<(), StoreError> {
        let dead = if self.alone {
            workers.iter().map(|(id, _)| *id).filter(|id| *id != self.me()).collect()
        } else {
            self.view.dead(now)
        };
        for id in dead {
            let owns = leases.values().any(|lease| lease.owner == id.as_bytes().as_slice());
            let Some((_, seen)) = workers.iter().find(|(there, _)| *there == id).filter(|_| !owns) else {
                continue;
            };
            let key = keyspace::worker(id.as_bytes());
            self.shared
                .db
                .run("engine_bury", async |mut tx| {
                    // One that was only slow has beaten since.
                    if tx.get(&key).await?.is_some_and(|row| row.as_ref() == seen.encode_to_vec().as_slice())
                    {
                        tx.clear(&key);
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        Ok(())
    }

    /// Clears answers that nobody fetched, once a bucket. All workers do; it is one blind write.
    async fn clear_replies(&mut self) -> Result<(), StoreError> {
        let bucket = reply_bucket(self.shared.clock.now_ms()).saturating_sub(1);
        if bucket > self.replies_cleared {
            let range = keyspace::replies_before(bucket);
            self.shared
                .db
                .run("engine_clear_replies", async |mut tx| {
                    tx.clear_range(&range.begin, &range.end);
                    Ok::<_, StoreError>(())
                })
                .await?;
            self.replies_cleared = bucket;
        }
        Ok(())
    }

    /// Gives everything away and is no worker any more. What cannot be given is taken from the dead.
    async fn leave(&mut self) {
        self.heartbeat += 1;
        let found = self.beat(true).await;
        let live = self.view.live(Instant::now());
        let others: Vec<Live> =
            live.into_iter().filter(|worker| worker.id != self.me() && !self.alone).collect();
        let given = self.shards.keys().map(|shard| (*shard, owner_of(*shard, &others))).collect();
        let gave = self.give(given).await;
        let key = keyspace::worker(self.me().as_bytes());
        let gone = self
            .shared
            .db
            .run("engine_leave", async |mut tx| {
                tx.clear(&key);
                tx.atomic_add(&keyspace::members(), 1);
                Ok::<_, StoreError>(())
            })
            .await;
        if let Err(error) = found.map(drop).and(gave).and(gone) {
            tracing::warn!(%error, "a worker left without saying so; others take over after the lease timeout");
        }
        self.shards.clear();
        self.tell_held();
    }
}

impl Running {
    /// Stops and waits until nothing of it runs.
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, shard = self.lease.shard, "the task of a shard ended badly");
        }
    }
}

/// The bucket that answers given at `now_ms` belong to.
pub(crate) fn reply_bucket(now_ms: u64) -> u64 {
    now_ms / (REPLY_KEPT.as_millis() as u64)
}
