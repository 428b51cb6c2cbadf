//! Workflows whose record this release cannot read: damaged, or of a newer release in a way that its version does not
//! tell.
//!
//! Such a workflow is set aside by a row beside its record, which is left as it is. What comes for it is taken out of
//! everybody's way into rows of its own, where it keeps its order, and goes back into the inbox once the record can be
//! read: when a worker that can takes over the shard, or when an operator says retry. Its timers and whether it is awake
//! follow from the record, and so need no keeping. Signals of which not even their workflow can be read are held the
//! same way, for nobody.
//!
//! Nothing here decides that a record cannot be read, or does anything with one that can.

use bytes::Bytes;
use muster_store::{StoreError, Transaction};

use crate::address::{Address, ShardIndex};
use crate::keyspace::{self, KeyRange, UNREADABLE};
use crate::limits::HELD_PER_TURN;
use crate::records::{Envelope, Status, WorkflowRecord};
use crate::send;

/// Sets the workflow at `address` aside. Returns whether it was not before.
pub(crate) async fn set_aside(tx: &mut Transaction, address: &Address) -> Result<bool, StoreError> {
    let is_new = mark(tx, &keyspace::aside(address)).await?;
    if is_new {
        tx.clear(&keyspace::awake(address));
    }
    Ok(is_new)
}

async fn mark(tx: &mut Transaction, aside: &[u8]) -> Result<bool, StoreError> {
    let is_new = tx.get(aside).await?.is_none_or(|value| value != UNREADABLE);
    if is_new {
        tx.set(aside, UNREADABLE);
    }
    Ok(is_new)
}

/// Holds the row of an inbox at `key` for the workflow at `address`, which is set aside.
pub(crate) fn hold(tx: &mut Transaction, address: &Address, key: &[u8], row: &[u8]) {
    let held =
        keyspace::held_row(Some(address), key).expect("the range of an inbox has rows of inboxes alone");
    tx.set(&held, row);
}

/// Holds a nudge for the workflow at `address`, which is set aside.
pub(crate) fn hold_nudge(tx: &mut Transaction, address: &Address) {
    tx.set(&keyspace::held_nudge(address), b"");
}

/// Holds the row of an inbox at `key` for nobody: whose it is cannot be read. Returns whether it is the first there.
pub(crate) async fn hold_for_nobody(
    tx: &mut Transaction,
    (shard, namespace): (ShardIndex, &str),
    key: &[u8],
    row: &[u8],
) -> Result<bool, StoreError> {
    let held = keyspace::held_row(None, key).expect("the range of an inbox has rows of inboxes alone");
    tx.set(&held, row);
    mark(tx, &keyspace::aside_of_nobody(shard, namespace)).await
}

/// Lets the workflow at `address`, whose record can be read, have what was held from it, a part at a time. Returns
/// whether there is more; nothing happens to one that was not set aside.
pub(crate) async fn give_back(
    tx: &mut Transaction,
    address: &Address,
    record: &WorkflowRecord,
) -> Result<bool, StoreError> {
    let aside = keyspace::aside(address);
    if tx.get(&aside).await?.is_none_or(|value| value != UNREADABLE) {
        return Ok(false);
    }
    let held = rows(tx, keyspace::held(address), None).await?;
    for (key, row) in &held {
        tx.clear(key);
        match keyspace::inbox_of_held(key) {
            Some(inbox) => send::put_back(tx, (address.shard(), address.namespace()), &inbox, row),
            None => send::nudge(tx, address),
        }
    }
    if held.len() == HELD_PER_TURN {
        return Ok(true);
    }
    for timer in &record.timers {
        tx.set(&keyspace::timer(address, timer.due_ms, &timer.name), b"");
    }
    if record.awake {
        tx.set(&keyspace::awake(address), b"");
    }
    match record.status() {
        status @ (Status::Dead | Status::Blocked) => tx.set(&aside, &[status as u8]),
        _ => tx.clear(&aside),
    }
    Ok(false)
}

/// Puts back those signals of a namespace, held for nobody, that can be read, looking at a part of them behind `after`.
/// Returns where the next part begins, if there is one.
pub(crate) async fn give_back_of_nobody(
    tx: &mut Transaction,
    (shard, namespace): (ShardIndex, &str),
    after: Option<&[u8]>,
) -> Result<Option<Bytes>, StoreError> {
    let held = rows(tx, keyspace::held_for_nobody(shard, namespace), after).await?;
    for (key, row) in &held {
        let inbox = keyspace::inbox_of_held(key);
        if let Some(inbox) = inbox.filter(|_| Envelope::whose(row).is_some()) {
            tx.clear(key);
            send::put_back(tx, (shard, namespace), &inbox, row);
        }
    }
    if held.len() == HELD_PER_TURN {
        return Ok(held.last().map(|(key, _)| key.clone()));
    }
    if rows(tx, keyspace::held_for_nobody(shard, namespace), None).await?.is_empty() {
        tx.clear(&keyspace::aside_of_nobody(shard, namespace));
    }
    Ok(None)
}

async fn rows(
    tx: &mut Transaction,
    range: KeyRange,
    after: Option<&[u8]>,
) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let range = match after {
        Some(after) => range.after(after),
        None => range,
    };
    tx.get_range(&range.begin, &range.end, HELD_PER_TURN, false).await
}
