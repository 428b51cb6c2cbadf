//! The work of one shard: what comes for its workflows and what is due, a batch at a time.
//!
//! ```text
//! task        the loop: sleeps until there is something, makes turns, keeps steps awake
//! batch       one turn: takes what came and what is due, in one transaction
//!   deliver   one event to one workflow
//!   working   a workflow as the turn leaves it
//! unblock     who can go on now that this worker has the shard
//! penalty     what becomes of a workflow whose transition failed
//! cache       states of machines, kept while the shard is leased
//! ```
//!
//! Only the worker whose lease the store holds commits anything here: every transaction reads the lease.

mod batch;
mod cache;
mod deliver;
mod penalty;
mod task;
mod unblock;
mod working;

use std::sync::{Arc, Mutex, PoisonError};

use muster_store::{Database, StoreError, Transaction};
use prost::Message;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::address::ShardIndex;
use crate::clock::Clock;
use crate::keyspace;
use crate::members::WorkerId;
use crate::records::LeaseRecord;
use crate::registry::Registry;

pub(crate) use deliver::panic_text;
pub(crate) use task::run;
pub(crate) use working::{WAKE, Working};

/// What the work of all shards of a worker shares.
pub(crate) struct Shared {
    pub(crate) db: Database,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) worker: WorkerId,
    /// Spreads retries and polls; a seed makes a simulation repeat itself.
    pub(crate) random: Mutex<StdRng>,
    /// Whether commits read their lease. `false` only to show that tests find out.
    pub(crate) fenced: bool,
}

/// The right to do the work of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) shard: ShardIndex,
    pub(crate) generation: u64,
}

/// Why a transaction under a lease did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unleased {
    #[error("another worker has the lease")]
    Lost,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Shared {
    /// A random number from 0 to 1.
    pub(crate) fn fraction(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// Makes `tx` fail to commit unless this worker still has `lease` when it does.
    pub(crate) async fn fence(&self, tx: &mut Transaction, lease: Lease) -> Result<(), Unleased> {
        let key = keyspace::lease(lease.shard);
        let row = if self.fenced { tx.get(&key).await? } else { tx.snapshot_get(&key).await? };
        let held = row.and_then(|row| LeaseRecord::decode(row).ok()).is_some_and(|record| {
            record.owner == self.worker.as_bytes().as_slice() && record.generation == lease.generation
        });
        if held || !self.fenced { Ok(()) } else { Err(Unleased::Lost) }
    }
}
