//! Telling workflows things: a row in their inbox, written in the sender's own transaction.
//!
//! Senders never conflict with each other: each row has a key of its own, by the versionstamp of its
//! commit, and the shard's bell is added to without being read. So is the number of those who wait, which
//! is looked at without conflicting, and refuses who would make it too large. Whether the workflow takes
//! it is the worker's matter, later.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use muster_store::{StoreError, Transaction};
use prost::Message;

use crate::address::{Address, ShardIndex};
use crate::error::{Full, Invalid, SendError};
use crate::keyspace;
use crate::kind::Kind;
use crate::limits::{MAX_PAYLOAD_BYTES, MAX_WAITING};
use crate::metrics;
use crate::records::{Envelope, EnvelopeKind, WireAddress};

/// Orders the rows that one transaction writes, and tells them apart.
static ORDER: AtomicU64 = AtomicU64::new(0);

/// Has the machine at `address` look at its matters once this transaction has committed, with
/// [`Event::Nudged`](crate::Event::Nudged); it is started with an empty input if it is not there. Nudges that
/// come before it has looked are one. This is for machines whose truth lies in rows of their own: cheap
/// enough to be part of every change of such a row, and it never conflicts.
pub fn nudge(tx: &mut Transaction, address: &Address) {
    let (shard, namespace) = (address.shard(), address.namespace());
    tx.set(&keyspace::nudge(address), b"");
    tx.set(&keyspace::zone(shard, namespace), b"");
    tx.atomic_add(&keyspace::bell(shard), 1);
}

/// What an operator can do to a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Take nothing until resumed; what comes waits.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Try it again now, if it is failing or dead.
    Retry,
    /// Stop, and undo what was done.
    Cancel,
}

/// Starts the workflow at `address`, unless it is there already; a finished one begins anew.
///
/// # Errors
/// [`SendError`].
pub async fn start<K: Kind>(
    tx: &mut Transaction,
    address: &Address,
    input: &K::Input,
) -> Result<(), SendError> {
    try_send(tx, address, start_of(payload("input", input)?, None)).await
}

/// Tells the workflow at `address` something. If it is not there, nobody hears it.
///
/// # Errors
/// [`SendError`].
pub async fn signal<K: Kind>(
    tx: &mut Transaction,
    address: &Address,
    signal: &K::Signal,
) -> Result<(), SendError> {
    try_send(tx, address, signal_of(payload("signal", signal)?)).await
}

/// Tells the workflow at `address` something, and starts it with an empty input if it is not there.
///
/// # Errors
/// [`SendError`].
pub async fn signal_or_start<K: Kind>(
    tx: &mut Transaction,
    address: &Address,
    signal: &K::Signal,
) -> Result<(), SendError> {
    try_send(tx, address, Envelope { create: true, ..signal_of(payload("signal", signal)?) }).await
}

/// Does what an operator asks of the workflow at `address`.
pub fn control(tx: &mut Transaction, address: &Address, control: Control) {
    let kind = match control {
        Control::Pause => EnvelopeKind::Pause,
        Control::Resume => EnvelopeKind::Resume,
        Control::Retry => EnvelopeKind::Retry,
        Control::Cancel => EnvelopeKind::Cancel,
    };
    send(tx, address, Envelope { kind: kind.into(), ..Envelope::default() });
}

/// `message` as a payload.
pub(crate) fn payload<M: Message>(what: &'static str, message: &M) -> Result<Bytes, Invalid> {
    let length = message.encoded_len();
    if length > MAX_PAYLOAD_BYTES {
        return Err(Invalid::TooLarge { what, length, limit: MAX_PAYLOAD_BYTES });
    }
    Ok(message.encode_to_vec().into())
}

pub(crate) fn start_of(payload: Bytes, parent: Option<WireAddress>) -> Envelope {
    Envelope { kind: EnvelopeKind::Start.into(), payload, other: parent, ..Envelope::default() }
}

pub(crate) fn signal_of(payload: Bytes) -> Envelope {
    Envelope { kind: EnvelopeKind::Signal.into(), payload, ..Envelope::default() }
}

/// Puts `envelope` into the inbox of the workflow at `address`, if there is room.
pub(crate) async fn try_send(
    tx: &mut Transaction,
    address: &Address,
    envelope: Envelope,
) -> Result<(), SendError> {
    let waiting = waiting(tx, address).await?;
    if waiting >= MAX_WAITING && any_waits(tx, address).await? {
        metrics::full(address.kind());
        return Err(Full { address: address.clone(), waiting }.into());
    }
    send(tx, address, envelope);
    Ok(())
}

/// How many signals are counted as waiting where the workflow at `address` lives.
async fn waiting(tx: &mut Transaction, address: &Address) -> Result<u64, StoreError> {
    let row = tx.snapshot_get(&keyspace::waiting(address.shard(), address.namespace())).await?;
    let count = row.and_then(|row| Some(i64::from_le_bytes(row.as_ref().try_into().ok()?)));
    // Below 0 once an older release has sent what this one took.
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// Whether any signal waits there in truth: an older release may have taken what this one counted, and it must not be
/// that nobody can send any more.
async fn any_waits(tx: &mut Transaction, address: &Address) -> Result<bool, StoreError> {
    let (shard, namespace) = (address.shard(), address.namespace());
    let inbox = keyspace::inbox(shard, namespace);
    for range in [inbox, keyspace::parked_in(shard, namespace), keyspace::held_in(shard, namespace)] {
        if !tx.snapshot_get_range(&range.begin, &range.end, 1, false).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes that `change` more signals wait where the workflow at `address` lives, or fewer.
pub(crate) fn count_waiting(tx: &mut Transaction, address: &Address, change: i64) {
    tx.atomic_add(&keyspace::waiting(address.shard(), address.namespace()), change);
}

/// Puts a row that was taken out of an inbox back where it was. It has been counted all the while.
pub(crate) fn put_back(tx: &mut Transaction, (shard, namespace): (ShardIndex, &str), key: &[u8], row: &[u8]) {
    tx.set(key, row);
    tx.set(&keyspace::zone(shard, namespace), b"");
    tx.atomic_add(&keyspace::bell(shard), 1);
}

/// Puts `envelope` into the inbox of the workflow at `address`.
pub(crate) fn send(tx: &mut Transaction, address: &Address, mut envelope: Envelope) {
    envelope.address = Some(address.into());
    let (shard, namespace) = (address.shard(), address.namespace());
    let order = ORDER.fetch_add(1, Ordering::Relaxed);
    let (key, hole) = keyspace::inbox_row(shard, namespace, order);
    tx.set_versionstamped_key(&key, hole, &envelope.encode_to_vec());
    count_waiting(tx, address, 1);
    tx.set(&keyspace::zone(shard, namespace), b"");
    tx.atomic_add(&keyspace::bell(shard), 1);
}
