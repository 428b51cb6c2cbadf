//! Looking at workflows, one or a namespace's, and what each waits for, in words; and at the workers.
//!
//! Reads only, and needs no worker.

use std::collections::BTreeSet;

use bytes::Bytes;
use muster_store::{Database, StoreError, Transaction};
use prost::Message;

use crate::address::Address;
use crate::keyspace;
use crate::limits::{MAX_PAGE, MAX_WORKERS, SHARDS};
use crate::members::WorkerId;
use crate::records::{JournalRecord, Status, WorkflowRecord};

/// A workflow, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// Where it lives.
    pub address: Address,
    /// Its record.
    pub record: WorkflowRecord,
}

impl Workflow {
    /// The workflow at `address` as its record in `row` says. One that this release cannot read stands as blocked, with
    /// why: what comes for it is held until a release that can read it runs.
    fn of(address: Address, row: &Bytes) -> Self {
        let record = WorkflowRecord::read(row).unwrap_or_else(|reason| WorkflowRecord {
            status: Status::Blocked.into(),
            reason: format!("{reason}; nothing of it is lost, start a release that can read it"),
            ..WorkflowRecord::default()
        });
        Self { address, record }
    }

    /// What it waits for at `now_ms`, in words.
    pub fn waits_for(&self, now_ms: u64) -> String {
        let record = &self.record;
        let seconds = |due_ms: u64| due_ms.saturating_sub(now_ms).div_ceil(1_000);
        match record.status() {
            Status::Paused => "it is paused; muster workflow resume lets it go on".to_owned(),
            Status::Dead => format!("somebody to mend this and say muster workflow retry: {}", record.reason),
            Status::Blocked => format!("newer code: {}", record.reason),
            Status::Failing => {
                let retry = record.timers.iter().find(|timer| timer.name == "~retry");
                let when = retry.map_or(0, |timer| seconds(timer.due_ms));
                format!("attempt {} in {when} s, because: {}", record.attempts + 1, record.reason)
            }
            Status::Finished | Status::Cancelled => "nothing; it is over".to_owned(),
            Status::Failed => format!("nothing; it is over, because: {}", record.reason),
            Status::Running if !record.waiting_for.is_empty() => record.waiting_for.clone(),
            Status::Running if record.awake => "nothing; it is at work".to_owned(),
            Status::Running => match record.timers.iter().min_by_key(|timer| timer.due_ms) {
                Some(timer) => format!("timer {:?}, in {} s, or a signal", timer.name, seconds(timer.due_ms)),
                None => "a signal".to_owned(),
            },
        }
    }
}

/// The workers that are not known to be dead. One that dies is taken off by another once its heartbeat has
/// stood still for [`LEASE_TIMEOUT`](crate::limits::LEASE_TIMEOUT). Does not conflict.
///
/// # Errors
/// The store's.
pub async fn workers(tx: &mut Transaction) -> Result<BTreeSet<WorkerId>, StoreError> {
    let range = keyspace::workers();
    let rows = tx.snapshot_get_range(&range.begin, &range.end, MAX_WORKERS, false).await?;
    Ok(rows.iter().filter_map(|(key, _)| keyspace::worker_id(key).map(WorkerId::from_bytes)).collect())
}

/// The workflow at `address`, if there is one.
///
/// # Errors
/// The store's.
pub async fn show(tx: &mut Transaction, address: &Address) -> Result<Option<Workflow>, StoreError> {
    let row = tx.get(&keyspace::state(address)).await?;
    Ok(row.map(|row| Workflow::of(address.clone(), &row)))
}

/// The steps of the workflow at `address` so far, if it is of the steps style: number and record.
///
/// # Errors
/// The store's.
pub async fn journal(db: &Database, address: &Address) -> Result<Vec<(u32, JournalRecord)>, StoreError> {
    let range = keyspace::journal(address);
    let rows = db
        .read("engine_journal", async |mut tx| {
            tx.snapshot_get_range(&range.begin, &range.end, crate::limits::MAX_STEPS as usize, false).await
        })
        .await?;
    let step = |(key, row): (Bytes, Bytes)| {
        let number = key.get(key.len().checked_sub(4)?..)?.try_into().ok()?;
        let entry = JournalRecord::decode(row).unwrap_or_else(|error| JournalRecord {
            what: "unreadable".to_owned(),
            failed: Some(format!("what became of it cannot be read: {error}")),
            ..JournalRecord::default()
        });
        Some((u32::from_be_bytes(number), entry))
    };
    Ok(rows.into_iter().filter_map(step).collect())
}

/// Which workflows of a namespace are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this kind.
    pub kind: Option<String>,
    /// Only those that stand so.
    pub status: Option<Status>,
}

/// A page of the workflows of `namespace` that `filter` wants, at most `limit` (at most [`MAX_PAGE`]), those
/// behind `after`, in the order of their shards; and where the next page begins, if there is one.
///
/// # Errors
/// The store's.
pub async fn list(
    db: &Database,
    namespace: &str,
    filter: &Filter,
    after: Option<&Address>,
    limit: usize,
) -> Result<(Vec<Workflow>, Option<Address>), StoreError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let mut found = Vec::new();
    for shard in after.map_or(0, Address::shard)..SHARDS {
        let mut range = keyspace::states_of(shard, namespace, filter.kind.as_deref());
        if let Some(after) = after.filter(|after| after.shard() == shard) {
            range = range.after(&keyspace::state(after));
        }
        loop {
            let rows = db
                .read("engine_list", async |mut tx| {
                    tx.snapshot_get_range(&range.begin, &range.end, MAX_PAGE, false).await
                })
                .await?;
            for (key, row) in &rows {
                let Some(address) = keyspace::split_address(key) else { continue };
                let workflow = Workflow::of(address, row);
                if filter.status.is_none_or(|status| status == workflow.record.status()) {
                    found.push(workflow);
                }
                if found.len() > limit {
                    found.truncate(limit);
                    let next = found.last().map(|workflow| workflow.address.clone());
                    return Ok((found, next));
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == MAX_PAGE => range = range.after(key),
                _ => break,
            }
        }
    }
    Ok((found, None))
}

/// Workflows that cannot go on by themselves, at most `limit`, with how they stand. Does not conflict.
///
/// # Errors
/// The store's.
pub async fn set_aside(tx: &mut Transaction, limit: usize) -> Result<Vec<Workflow>, StoreError> {
    let mut found = Vec::new();
    for shard in 0..SHARDS {
        let range = keyspace::asides(shard);
        let rows = tx.snapshot_get_range(&range.begin, &range.end, limit - found.len(), false).await?;
        for address in rows.iter().filter_map(|(key, _)| keyspace::split_address(key)) {
            let row = tx.snapshot_get(&keyspace::state(&address)).await?;
            found.extend(row.map(|row| Workflow::of(address, &row)));
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// How many workflows of all namespaces stand how, by reading them all.
///
/// # Errors
/// The store's.
pub async fn count(db: &Database) -> Result<std::collections::BTreeMap<Status, u64>, StoreError> {
    let mut counts = std::collections::BTreeMap::new();
    for shard in 0..SHARDS {
        let mut range = keyspace::states(shard);
        loop {
            let rows = db
                .read("engine_count", async |mut tx| {
                    tx.snapshot_get_range(&range.begin, &range.end, MAX_PAGE, false).await
                })
                .await?;
            for (_, row) in &rows {
                let status = WorkflowRecord::read(row).map_or(Status::Blocked, |record| record.status());
                *counts.entry(status).or_default() += 1;
            }
            match rows.last() {
                Some((key, _)) if rows.len() == MAX_PAGE => range = range.after(key),
                _ => break,
            }
        }
    }
    Ok(counts)
}
