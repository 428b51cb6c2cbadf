//! The version transactions begin at, and the snapshots they read from.
//!
//! The commit thread publishes; everyone else only looks. A snapshot that has been superseded for
//! longer than a transaction may live is emptied, so that a forgotten transaction cannot keep old
//! pages from being reused.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use tokio::time::Instant;

use crate::error::StoreError;
use crate::limits::TRANSACTION_LIFETIME;
use crate::local::storage::Snapshot;

/// A snapshot that can be taken away.
pub(crate) struct SnapshotCell {
    version: u64,
    generation: u64,
    data: RwLock<Option<Arc<dyn Snapshot>>>,
}

impl SnapshotCell {
    /// Version this snapshot shows.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Generation of the driver's file handle it reads through.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The snapshot, unless it has been emptied.
    pub(crate) fn data(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.data.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::TransactionTooOld)
    }
}

#[derive(Clone)]
struct State {
    cell: Arc<SnapshotCell>,
    /// Why nothing can be read, after the file was lost.
    down: Option<StoreError>,
}

/// The latest state, shared by the commit thread and all transactions.
pub(crate) struct Published(RwLock<State>);

impl Published {
    pub(crate) fn new(version: u64, generation: u64, snapshot: Arc<dyn Snapshot>) -> Self {
        Self(RwLock::new(State { cell: cell(version, generation, snapshot), down: None }))
    }

    /// Snapshot a transaction that begins now reads from.
    pub(crate) fn begin(&self) -> Result<Arc<SnapshotCell>, StoreError> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &state.down {
            Some(reason) => Err(reason.clone()),
            None => Ok(state.cell.clone()),
        }
    }

    /// The latest snapshot, even if the file behind it was lost.
    pub(crate) fn latest(&self) -> Arc<SnapshotCell> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).cell.clone()
    }

    /// Lets no transaction begin until the next [`Publisher::publish`].
    pub(crate) fn set_down(&self, reason: StoreError) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).down = Some(reason);
    }
}

fn cell(version: u64, generation: u64, snapshot: Arc<dyn Snapshot>) -> Arc<SnapshotCell> {
    Arc::new(SnapshotCell { version, generation, data: RwLock::new(Some(snapshot)) })
}

/// The commit thread's end: publishes snapshots and empties old ones.
pub(crate) struct Publisher {
    published: Arc<Published>,
    /// When each snapshot still in use was superseded, oldest first. Bounded by the versions made
    /// in one transaction lifetime.
    superseded: VecDeque<(Instant, Weak<SnapshotCell>)>,
}

impl Publisher {
    pub(crate) fn new(published: Arc<Published>) -> Self {
        Self { published, superseded: VecDeque::new() }
    }

    /// Makes `snapshot` the one new transactions read from.
    pub(crate) fn publish(
        &mut self,
        now: Instant,
        version: u64,
        generation: u64,
        snapshot: Arc<dyn Snapshot>,
    ) {
        let next = State { cell: cell(version, generation, snapshot), down: None };
        let previous = {
            let mut state = self.published.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, next).cell
        };
        self.superseded.push_back((now, Arc::downgrade(&previous)));
        drop(previous);
        self.empty_old(now);
    }

    fn empty_old(&mut self, now: Instant) {
        while let Some((since, cell)) = self.superseded.front() {
            let live = cell.upgrade();
            if live.is_some() && now.saturating_duration_since(*since) <= TRANSACTION_LIFETIME {
                break;
            }
            if let Some(cell) = live {
                drop(cell.data.write().unwrap_or_else(PoisonError::into_inner).take());
            }
            self.superseded.pop_front();
        }
    }
}
