//! Telling workflows things: a row in their inbox, written in the sender's own transaction.
//!
//! Senders never conflict with each other: each row has a key of its own, by the versionstamp of its
//! commit, and the shard's bell is added to without being read. Whether the workflow takes it is the
//! worker's matter, later.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use muster_store::Transaction;
use prost::Message;

use crate::address::Address;
use crate::error::Invalid;
use crate::keyspace;
use crate::kind::Kind;
use crate::limits::MAX_PAYLOAD_BYTES;
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
/// [`Invalid::TooLarge`].
pub fn start<K: Kind>(tx: &mut Transaction, address: &Address, input: &K::Input) -> Result<(), Invalid> {
    send(tx, address, start_of(payload("input", input)?, None));
    Ok(())
}

/// Tells the workflow at `address` something. If it is not there, nobody hears it.
///
/// # Errors
/// [`Invalid::TooLarge`].
pub fn signal<K: Kind>(tx: &mut Transaction, address: &Address, signal: &K::Signal) -> Result<(), Invalid> {
    send(tx, address, signal_of(payload("signal", signal)?));
    Ok(())
}

/// Tells the workflow at `address` something, and starts it with an empty input if it is not there.
///
/// # Errors
/// [`Invalid::TooLarge`].
pub fn signal_or_start<K: Kind>(
    tx: &mut Transaction,
    address: &Address,
    signal: &K::Signal,
) -> Result<(), Invalid> {
    send(tx, address, Envelope { create: true, ..signal_of(payload("signal", signal)?) });
    Ok(())
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

/// Puts `envelope` into the inbox of the workflow at `address`.
pub(crate) fn send(tx: &mut Transaction, address: &Address, mut envelope: Envelope) {
    envelope.address = Some(address.into());
    let (shard, namespace) = (address.shard(), address.namespace());
    let order = ORDER.fetch_add(1, Ordering::Relaxed);
    let (key, hole) = keyspace::inbox_row(shard, namespace, order);
    tx.set_versionstamped_key(&key, hole, &envelope.encode_to_vec());
    tx.set(&keyspace::zone(shard, namespace), b"");
    tx.atomic_add(&keyspace::bell(shard), 1);
}
