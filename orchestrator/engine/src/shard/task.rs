//! The loop of one shard: a turn while there is something to do, then sleep until the bell, the next
//! timer, or a slow poll.
//!
//! It ends when it is told to or when the lease is lost, whichever is first, and then commits nothing
//! any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_store::{StoreError, Transaction, Watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::error::Failure;
use crate::keyspace::{self, KeyRange};
use crate::limits::{BATCH, CACHE_BYTES_PER_SHARD, CLOCK_POLL, SLOW_POLL, STORE_PAUSE, ZONE_LINGER};
use crate::metrics;
use crate::shard::batch::{Batch, Done, Turn, TurnError, Unreadable};
use crate::shard::cache::Cache;
use crate::shard::penalty::note_failure;
use crate::shard::{Lease, Shared, Unleased};
use crate::steps::Awake;

/// Does the work of `lease`'s shard until `stop`, or until the lease is lost.
pub(crate) async fn run(shared: Arc<Shared>, lease: Lease, stop: CancellationToken) {
    let mut task = Task {
        awake: Awake::new(shared.clone(), lease),
        cache: Cache::new(CACHE_BYTES_PER_SHARD),
        zone: None,
        empty_since: BTreeMap::new(),
        next_due_ms: None,
        limit: BATCH,
        shared,
        lease,
    };
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        lost = task.work() => Some(lost),
    };
    task.awake.stop().await;
    if let Some(Unleased::Lost) = ended {
        metrics::lease_lost();
        tracing::warn!(shard = lease.shard, "another worker has taken the shard over");
    }
}

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) lease: Lease,
    pub(super) cache: Cache,
    awake: Awake,
    /// Zone after which the next turn goes on.
    zone: Option<String>,
    /// Since when zones had nothing.
    empty_since: BTreeMap<String, Instant>,
    next_due_ms: Option<u64>,
    /// Most signals and timers of the next turn.
    limit: usize,
}

impl Task {
    /// Works until the lease is lost.
    async fn work(&mut self) -> Unleased {
        loop {
            let Err(error) = self.work_until_failure().await;
            match error {
                Unleased::Lost => return error,
                Unleased::Store(StoreError::Closed) => {
                    // The store closes only when the process ends; whoever closes it stops this too.
                    return std::future::pending().await;
                }
                Unleased::Store(error) => {
                    tracing::warn!(shard = self.lease.shard, %error, "shard cannot work");
                    // What was committed without an answer is not in memory.
                    self.cache.clear();
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    async fn work_until_failure(&mut self) -> Result<std::convert::Infallible, Unleased> {
        let shared = self.shared.clone();
        self.unblock().await?;
        self.awake.rescan();
        let bell = keyspace::bell(self.lease.shard);
        let mut watch: Option<Watch> = None;
        loop {
            // Armed before the turn looks, so that what comes while it looks is not missed.
            let mut armed = match watch.take() {
                Some(watch) => watch,
                None => shared.db.watch(&bell).await?,
            };
            self.awake.fill().await?;
            let idle = self.turn().await?;
            if !idle {
                // One that has fired must be made anew; one that has not still says all there is to say.
                if futures_util::FutureExt::now_or_never(armed.changed()).is_none() {
                    watch = Some(armed);
                }
                continue;
            }
            self.clear_empty_zones().await?;
            if self.sleep(&mut armed).await {
                watch = Some(armed);
            }
        }
    }

    /// Makes one turn. Returns whether nothing is left to do.
    async fn turn(&mut self) -> Result<bool, Unleased> {
        let began = Instant::now();
        let attempts = AtomicU32::new(0);
        let at_work = Mutex::new(None);
        let (shared, lease, cache, limit) = (&*self.shared, self.lease, &self.cache, self.limit);
        let after_zone = self.zone.as_deref();
        let done = shared
            .db
            .run("engine_turn", async |tx: Transaction| {
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                // What conflicts is got out of the way by being done in smaller parts.
                let limit = (limit >> attempt.min(16)).max(1);
                Batch::new(Turn { shared, lease, cache, after_zone, limit, at_work: &at_work }, tx)
                    .run()
                    .await
            })
            .await;
        match done {
            Ok(done) => Ok(self.take_over(done, began)),
            Err(TurnError::Failed(failed)) => {
                self.blame(&failed.address, &failed.event, &failed.failure).await?;
                Ok(false)
            }
            Err(TurnError::Unleased(Unleased::Store(error))) if is_callers_fault(&error) => {
                let culprit = at_work.into_inner().unwrap_or_else(PoisonError::into_inner);
                if let Some(address) = culprit.filter(|_| self.limit == 1) {
                    let failure = Failure::Because(format!("its transaction cannot commit: {error}"));
                    self.blame(&address, "commit", &failure).await?;
                    self.limit = BATCH;
                } else {
                    // One at a time, to find out whose it is.
                    self.limit = 1;
                }
                Ok(false)
            }
            Err(TurnError::Unleased(error)) => Err(error),
        }
    }

    pub(super) async fn blame(
        &mut self,
        address: &Address,
        event: &str,
        failure: &Failure,
    ) -> Result<(), Unleased> {
        // The failure is noted in the store alone: what is in memory knows nothing of it.
        self.cache.forget(address);
        note_failure(&self.shared, self.lease, address, event, failure).await
    }

    /// Takes over what was committed. Returns whether nothing is left to do: what the turn itself sent rings the bell.
    fn take_over(&mut self, done: Done, began: Instant) -> bool {
        for (address, working) in done.working {
            if working.state.is_some() || working.removed {
                self.cache.put(address, working);
            }
        }
        for (kind, count) in &done.transitions {
            metrics::transitions(kind, *count);
        }
        for Unreadable { whose, reason } in &done.unreadable {
            metrics::unreadable(whose.as_ref().map_or("", Address::kind));
            let whose = whose.as_ref().map(ToString::to_string);
            tracing::error!(
                workflow = whose,
                reason,
                "set aside with all that comes for it; start a release that can read it"
            );
        }
        if done.taken > 0 {
            metrics::turn(done.taken, began.elapsed());
        }
        let now = Instant::now();
        self.empty_since.retain(|zone, _| done.empty_zones.contains(zone) || done.zone.is_some());
        for zone in done.empty_zones {
            self.empty_since.entry(zone).or_insert(now);
        }
        self.zone = done.zone;
        self.next_due_ms = done.next_due_ms;
        self.limit = (self.limit * 2).min(BATCH);
        self.awake.wake(done.wake);
        !done.more
    }

    /// Sleeps until there may be something to do. Returns whether the watch is still good.
    async fn sleep(&mut self, watch: &mut Watch) -> bool {
        let poll = Instant::now() + SLOW_POLL.mul_f64(0.5 + self.shared.fraction() / 2.0);
        loop {
            let now = Instant::now();
            let mut pause = poll.saturating_duration_since(now);
            if let Some(due_ms) = self.next_due_ms {
                let until_due = Duration::from_millis(due_ms.saturating_sub(self.shared.clock.now_ms()));
                if until_due.is_zero() {
                    return true;
                }
                // In short naps, in case the clock is set.
                pause = pause.min(until_due).min(CLOCK_POLL);
            }
            if pause.is_zero() {
                return true;
            }
            tokio::select! {
                biased;
                _ = watch.changed() => return false,
                () = self.awake.changed() => return true,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Removes the pointers to zones that have had nothing for a while, and the number of those who wait there, if nobody
    /// does. Whoever sends meanwhile either makes this conflict or sets both again.
    async fn clear_empty_zones(&mut self) -> Result<(), Unleased> {
        let now = Instant::now();
        let old: Vec<String> = self
            .empty_since
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= ZONE_LINGER)
            .map(|(zone, _)| zone.clone())
            .collect();
        let (shared, lease) = (&*self.shared, self.lease);
        for zone in old {
            shared
                .db
                .run("engine_clear_zone", async |mut tx| {
                    shared.fence(&mut tx, lease).await?;
                    let mut empty = async |range: KeyRange| {
                        let rows = tx.get_range(&range.begin, &range.end, 1, false).await?;
                        Ok::<_, Unleased>(rows.is_empty())
                    };
                    if empty(keyspace::inbox(lease.shard, &zone)).await?
                        && empty(keyspace::nudges(lease.shard, &zone)).await?
                    {
                        let nothing_waits = empty(keyspace::parked_in(lease.shard, &zone)).await?
                            && empty(keyspace::held_in(lease.shard, &zone)).await?;
                        tx.clear(&keyspace::zone(lease.shard, &zone));
                        if nothing_waits {
                            tx.clear(&keyspace::waiting(lease.shard, &zone));
                        }
                    }
                    Ok::<_, Unleased>(())
                })
                .await?;
            self.empty_since.remove(&zone);
        }
        Ok(())
    }
}

/// Whether what a transaction did, and not the store, is why it cannot commit.
fn is_callers_fault(error: &StoreError) -> bool {
    !matches!(
        error,
        StoreError::DiskFull { .. }
            | StoreError::Io { .. }
            | StoreError::CommitUnknown { .. }
            | StoreError::Unavailable { .. }
            | StoreError::Closed
    )
}
