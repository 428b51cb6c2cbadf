//! What became of each step, in the store: read as the function runs again, written as it goes on.
//!
//! Every write reads the shard's lease and the workflow's record, so that only the lease's holder writes,
//! and only while the workflow runs. It runs no code of the workflow but what is to be part of a commit.

use muster_store::{StoreError, Transaction};
use prost::Message;

use crate::address::Address;
use crate::context::cancel_timer;
use crate::keyspace;
use crate::records::{JournalRecord, Status, WorkflowRecord};
use crate::shard::{Lease, Shared, Unleased, WAKE, Working};

/// Why a run stops where it is, without an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exit {
    /// It sleeps; what wakes it is in the store.
    #[error("asleep")]
    Asleep,
    /// Somebody paused it, or it is over.
    #[error("stopped")]
    Stopped,
    /// It cannot go on until somebody looks at it.
    #[error("{0}")]
    Dead(String),
    /// Its record cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The lease is lost.
    #[error("another worker has the lease")]
    Unleased,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Unleased> for Exit {
    fn from(error: Unleased) -> Self {
        match error {
            Unleased::Lost => Self::Unleased,
            Unleased::Store(error) => Self::Store(error),
        }
    }
}

/// A workflow's record and journal, under a lease.
#[derive(Clone)]
pub(crate) struct Journal {
    pub(crate) shared: std::sync::Arc<Shared>,
    pub(crate) lease: Lease,
    pub(crate) address: Address,
    /// How often the workflow has begun.
    pub(crate) run: u32,
}

/// A change of a workflow's record that is being made. Whoever makes it gives it back.
pub(crate) struct Change {
    pub(crate) tx: Transaction,
    pub(crate) working: Working,
    pub(crate) now_ms: u64,
}

impl Journal {
    /// What is known of step `number`, and whether the workflow is to be cancelled.
    pub(crate) async fn read(&self, number: u32) -> Result<(Option<JournalRecord>, bool), Exit> {
        let (step, record) = (keyspace::step(&self.address, number), keyspace::state(&self.address));
        self.shared
            .db
            .read("engine_step_read", async |mut tx| {
                let entry = tx.get(&step).await?.map(JournalRecord::decode).transpose();
                // It may have been done: to do it again would be worse than to wait.
                let entry = entry.map_err(|error| {
                    Exit::Dead(format!(
                        "what became of step {number} cannot be read ({error}); run a release that can, then muster workflow retry"
                    ))
                })?;
                let record = tx.get(&record).await?.as_ref().map(WorkflowRecord::read).transpose();
                let record = record.map_err(Exit::Unreadable)?;
                Ok::<_, Exit>((entry, record.is_some_and(|record| record.cancelling)))
            })
            .await
    }

    /// Notes what became of step `number`.
    pub(crate) async fn note(&self, number: u32, entry: &JournalRecord) -> Result<(), Exit> {
        self.change("engine_step", async |mut change: Change| {
            change.note(&self.address, number, entry);
            Ok((change, ()))
        })
        .await
    }

    /// Changes the workflow's record, while it runs and the lease is held.
    pub(crate) async fn change<T, F, Fut>(&self, name: &'static str, make: F) -> Result<T, Exit>
    where
        F: Fn(Change) -> Fut,
        Fut: Future<Output = Result<(Change, T), Exit>>,
    {
        let key = keyspace::state(&self.address);
        self.shared
            .db
            .run(name, async |mut tx| {
                self.shared.fence(&mut tx, self.lease).await?;
                let now_ms = self.shared.clock.now_ms();
                let row = tx.get(&key).await?;
                let record = row.as_ref().map(WorkflowRecord::read).transpose().map_err(Exit::Unreadable)?;
                let Some(record) = record else { return Err(Exit::Stopped) };
                if record.status() != Status::Running {
                    return Err(Exit::Stopped);
                }
                let working = Working::stored(record);
                let (mut change, value) = make(Change { tx, working, now_ms }).await?;
                change.working.record.revision += 1;
                change.working.touch(now_ms);
                let written = change.working.write(&mut change.tx, &self.address);
                written.map_err(|failure| Exit::Dead(failure.to_string()))?;
                Ok(value)
            })
            .await
    }
}

impl Change {
    /// Notes what became of step `number`.
    pub(crate) fn note(&mut self, address: &Address, number: u32, entry: &JournalRecord) {
        let entry = JournalRecord { at_ms: self.now_ms, ..entry.clone() };
        self.tx.set(&keyspace::step(address, number), &entry.encode_to_vec());
        self.working.record.waiting_for = describe(number, &entry);
    }

    /// Puts the workflow to sleep, until `until_ms` if that is not 0.
    pub(crate) fn fall_asleep(&mut self, address: &Address, until_ms: u64) {
        let (tx, working) = (&mut self.tx, &mut self.working);
        if until_ms > 0 {
            working.set_own_timer(tx, address, WAKE, until_ms);
        } else {
            cancel_timer(tx, address, &mut working.record, WAKE);
        }
        working.record.awake = false;
        tx.clear(&keyspace::awake(address));
    }
}

/// In words, what a workflow whose last note is `entry` waits for.
fn describe(number: u32, entry: &JournalRecord) -> String {
    let JournalRecord { what, name, done, attempts, .. } = entry;
    match what.as_str() {
        _ if *done => format!("what follows step {number} ({name})"),
        "sleep" => format!("the time to go on after {name:?}"),
        "receive" => format!("a signal ({name})"),
        _ => format!("step {number} ({name}), which failed {attempts} times"),
    }
}
