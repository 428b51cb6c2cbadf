//! One turn of a shard: what came and what is due, taken, delivered and consumed in one transaction.
//!
//! The rows are read without conflicting: that nobody else consumes them is what the lease is for, and
//! senders must not be in the way. It runs again from the start if the transaction conflicts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use muster_store::{StoreError, Transaction};
use prost::Message;
use tokio::time::Instant;

use crate::address::Address;
use crate::context::NUDGE;
use crate::error::Failure;
use crate::held;
use crate::keyspace;
use crate::limits::{BATCH_TIME, PARKED_PER_TURN, ZONES_PER_TURN};
use crate::records::{Envelope, EnvelopeKind, Status, WorkflowRecord};
use crate::send;
use crate::shard::cache::Cache;
use crate::shard::working::{DRAIN, REMOVE, RETRY, WAKE, Working};
use crate::shard::{Lease, Shared, Unleased};

/// Why a turn did not happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnError {
    #[error(transparent)]
    Unleased(#[from] Unleased),
    #[error(transparent)]
    Failed(Box<Failed>),
}

/// A transition that failed, and with it the turn.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {failure}")]
pub(super) struct Failed {
    pub(super) address: Address,
    /// What it was, as history tells it.
    pub(super) event: String,
    pub(super) failure: Failure,
}

impl TurnError {
    /// `event` of the workflow at `address` failed.
    pub(super) fn failed(address: &Address, event: &str, failure: Failure) -> Self {
        Self::Failed(Box::new(Failed { address: address.clone(), event: event.to_owned(), failure }))
    }
}

impl From<StoreError> for TurnError {
    fn from(error: StoreError) -> Self {
        Self::Unleased(error.into())
    }
}

/// What a turn works from.
pub(super) struct Turn<'a> {
    pub(super) shared: &'a Shared,
    pub(super) lease: Lease,
    pub(super) cache: &'a Cache,
    /// Namespace behind which the zones begin.
    pub(super) after_zone: Option<&'a str>,
    /// Most signals and timers taken.
    pub(super) limit: usize,
    /// The workflow being worked on, for when the transaction fails as a whole.
    pub(super) at_work: &'a Mutex<Option<Address>>,
}

/// What a turn did, once it is committed.
#[derive(Default)]
pub(super) struct Done {
    pub(super) working: BTreeMap<Address, Working>,
    /// Signals and timers consumed.
    pub(super) taken: usize,
    /// Transitions by kind.
    pub(super) transitions: BTreeMap<String, u64>,
    /// Workflows of the steps style that are to be woken, or to look again.
    pub(super) wake: Vec<Address>,
    /// What was met for the first time that cannot be read, and was set aside.
    pub(super) unreadable: Vec<Unreadable>,
    /// Something is left that could be taken now.
    pub(super) more: bool,
    /// When the next timer is due.
    pub(super) next_due_ms: Option<u64>,
    /// Zones that had nothing.
    pub(super) empty_zones: Vec<String>,
    /// Zone after which the next turn goes on; `None` if it begins anew.
    pub(super) zone: Option<String>,
}

/// What cannot be read.
pub(super) struct Unreadable {
    /// The workflow; `None` if not even that can be read of a signal.
    pub(super) whose: Option<Address>,
    pub(super) reason: String,
}

/// A turn under way.
pub(super) struct Batch<'a> {
    pub(super) turn: Turn<'a>,
    pub(super) tx: Transaction,
    pub(super) now_ms: u64,
    pub(super) done: Done,
    began: Instant,
}

impl<'a> Batch<'a> {
    pub(super) fn new(turn: Turn<'a>, tx: Transaction) -> Self {
        let now_ms = turn.shared.clock.now_ms();
        Self { turn, tx, now_ms, done: Done::default(), began: Instant::now() }
    }

    /// Makes the turn, up to its commit.
    pub(super) async fn run(mut self) -> Result<Done, TurnError> {
        self.turn.shared.fence(&mut self.tx, self.turn.lease).await?;
        self.timers().await?;
        self.inboxes().await?;
        self.write()
    }

    /// Instead of a turn: lets those of `blocked` go on that there is code for.
    pub(super) async fn unblock_all(mut self, blocked: &[Address]) -> Result<Done, TurnError> {
        self.turn.shared.fence(&mut self.tx, self.turn.lease).await?;
        for address in blocked {
            let Some(mut working) = self.take(address).await? else { continue };
            self.unblock(address, &mut working);
            self.put(address.clone(), working);
        }
        self.write()
    }

    fn write(mut self) -> Result<Done, TurnError> {
        let (tx, lowest) = (&mut self.tx, &mut self.done.next_due_ms);
        for (address, working) in &mut self.done.working {
            // A timer that a transition set may be due before all that were read.
            let timers = if working.removed { &[] } else { working.record.timers.as_slice() };
            let due = timers.iter().map(|timer| timer.due_ms).min();
            *lowest = lowest.iter().copied().chain(due).min();
            working.write(tx, address).map_err(|failure| TurnError::failed(address, "write", failure))?;
        }
        Ok(self.done)
    }

    fn is_full(&self) -> bool {
        self.done.taken >= self.turn.limit || self.began.elapsed() >= BATCH_TIME
    }

    /// Takes what is due.
    async fn timers(&mut self) -> Result<(), TurnError> {
        let range = keyspace::timers(self.turn.lease.shard);
        // Half of the turn at most, so that signals are not starved; one more tells what is due next.
        let most = self.turn.limit.div_ceil(2);
        let rows = self.tx.snapshot_get_range(&range.begin, &range.end, most + 1, false).await?;
        for (at, (key, _)) in rows.iter().enumerate() {
            let Some((due_ms, address, name)) = keyspace::split_timer(key) else {
                tracing::warn!(?key, "a timer that is none is dropped");
                self.tx.clear(key);
                continue;
            };
            if due_ms > self.now_ms {
                self.done.next_due_ms = Some(due_ms);
                break;
            }
            if at == most || self.is_full() {
                self.done.more = true;
                break;
            }
            self.tx.clear(key);
            self.done.taken += 1;
            self.timer(address, &name, due_ms).await?;
        }
        Ok(())
    }

    async fn timer(&mut self, address: Address, name: &str, due_ms: u64) -> Result<(), TurnError> {
        // It is set anew, as the record says, once that can be read.
        let Some(mut working) = self.take(&address).await? else { return Ok(()) };
        // One that was moved or cancelled while this transaction did not see it is none.
        if working.take_timer(name, due_ms) {
            working.touch(self.now_ms);
            match name {
                RETRY if working.record.status() == Status::Failing => {
                    working.record.set_status(Status::Running);
                    self.drain(&address, &mut working).await?;
                }
                DRAIN => self.drain(&address, &mut working).await?,
                REMOVE if working.record.status().is_over() => {
                    if working.record.parked == 0 {
                        working.remove(&mut self.tx, &address);
                    } else {
                        working.set_own_timer(&mut self.tx, &address, REMOVE, self.now_ms + 1_000);
                    }
                }
                WAKE => self.wake(&address, &mut working),
                NUDGE => self.nudged(&address, &mut working).await?,
                name if name.starts_with('~') => {}
                name => {
                    let envelope = Envelope {
                        kind: EnvelopeKind::Timer.into(),
                        text: name.to_owned(),
                        ..Envelope::default()
                    };
                    self.deliver_or_park(&address, &mut working, envelope).await?;
                }
            }
        }
        self.put(address, working);
        Ok(())
    }

    /// Takes what came, from zone to zone, each its share.
    async fn inboxes(&mut self) -> Result<(), TurnError> {
        let shard = self.turn.lease.shard;
        let mut range = keyspace::zones(shard);
        if let Some(after) = self.turn.after_zone {
            range = range.after(&keyspace::zone(shard, after));
        }
        let zones = self.tx.snapshot_get_range(&range.begin, &range.end, ZONES_PER_TURN, false).await?;
        let all = zones.len() < ZONES_PER_TURN;
        let left = self.turn.limit.saturating_sub(self.done.taken).max(1);
        let share = left.div_ceil(zones.len().max(1));
        let mut last = None;
        for (key, _) in &zones {
            if self.is_full() {
                self.done.more = true;
                break;
            }
            let Some(namespace) = keyspace::zone_namespace(key) else { continue };
            self.zone(&namespace, share).await?;
            last = Some(namespace);
        }
        // What lies before the zones of this turn, or behind them, is looked at by the next.
        self.done.more |= !all || self.turn.after_zone.is_some();
        self.done.zone = if all { None } else { last };
        Ok(())
    }

    async fn zone(&mut self, namespace: &str, share: usize) -> Result<(), TurnError> {
        let nudges = keyspace::nudges(self.turn.lease.shard, namespace);
        let nudges = self.tx.snapshot_get_range(&nudges.begin, &nudges.end, share, false).await?;
        self.done.more |= nudges.len() == share;
        for (key, _) in &nudges {
            self.tx.clear(key);
            self.done.taken += 1;
            let Some(address) = keyspace::split_address(key) else { continue };
            let Some(mut working) = self.take(&address).await? else {
                held::hold_nudge(&mut self.tx, &address);
                continue;
            };
            self.nudge(&address, &mut working).await?;
            self.put(address, working);
        }
        let range = keyspace::inbox(self.turn.lease.shard, namespace);
        let rows = self.tx.snapshot_get_range(&range.begin, &range.end, share, false).await?;
        if rows.is_empty() && nudges.is_empty() {
            self.done.empty_zones.push(namespace.to_owned());
        }
        self.done.more |= rows.len() == share;
        let mut taken = 0;
        for (key, row) in rows {
            if self.is_full() {
                self.done.more = true;
                break;
            }
            self.tx.clear(&key);
            self.done.taken += 1;
            let Some((envelope, address)) = Envelope::whose(&row) else {
                self.hold_for_nobody(namespace, &key, &row).await?;
                continue;
            };
            let Some(mut working) = self.take(&address).await? else {
                // A retry has been tried with this.
                if envelope.kind == EnvelopeKind::Retry as i32 {
                    taken += 1;
                } else {
                    held::hold(&mut self.tx, &address, &key, &row);
                }
                continue;
            };
            taken += 1;
            self.receive(&address, &mut working, envelope).await?;
            self.put(address, working);
        }
        if taken > 0 {
            self.tx.atomic_add(&keyspace::waiting(self.turn.lease.shard, namespace), -taken);
        }
        Ok(())
    }

    async fn hold_for_nobody(&mut self, namespace: &str, key: &[u8], row: &[u8]) -> Result<(), TurnError> {
        let zone = (self.turn.lease.shard, namespace);
        if held::hold_for_nobody(&mut self.tx, zone, key, row).await? {
            let reason = format!("a signal to a workflow of {namespace} cannot be read");
            self.done.unreadable.push(Unreadable { whose: None, reason });
        }
        Ok(())
    }

    /// Delivers what waits with a workflow, as far as it can take it.
    pub(super) async fn drain(&mut self, address: &Address, working: &mut Working) -> Result<(), TurnError> {
        let range = keyspace::parked(address);
        let rows = self.tx.get_range(&range.begin, &range.end, PARKED_PER_TURN, false).await?;
        for (key, row) in rows {
            if !self.drains(address, working) {
                return Ok(());
            }
            let envelope = match Envelope::decode(row) {
                Ok(envelope) => envelope,
                Err(error) => {
                    let reason =
                        format!("what waits with it cannot be read ({error}); start a newer release");
                    working.stand(&mut self.tx, address, Status::Blocked, &reason);
                    working.touch(self.now_ms);
                    return Ok(());
                }
            };
            self.tx.clear(&key);
            send::count_waiting(&mut self.tx, address, -1);
            working.record.parked = working.record.parked.saturating_sub(1);
            self.done.taken += 1;
            self.deliver(address, working, envelope).await?;
        }
        if working.record.parked > 0 && self.drains(address, working) {
            working.set_own_timer(&mut self.tx, address, DRAIN, self.now_ms);
            self.done.more = true;
        } else if working.record.nudged {
            working.nudge(&mut self.tx, address, self.now_ms);
        }
        Ok(())
    }

    /// The workflow at `address`, as this turn has left it so far; `None` if its record cannot be read, with which it is
    /// set aside.
    async fn take(&mut self, address: &Address) -> Result<Option<Working>, TurnError> {
        *self.turn.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.clone());
        if let Some(working) = self.done.working.remove(address) {
            return Ok(Some(working));
        }
        if let Some(working) = self.turn.cache.get(address) {
            return Ok(Some(working));
        }
        let key = keyspace::state(address);
        // Machines are changed by turns alone; steps commit beside them.
        let row: Option<Bytes> = if self.is_machine(address) {
            self.tx.snapshot_get(&key).await?
        } else {
            self.tx.get(&key).await?
        };
        let Some(row) = row else { return Ok(Some(Working::absent(self.now_ms))) };
        match WorkflowRecord::read(&row) {
            Ok(record) => Ok(Some(Working::stored(record))),
            Err(reason) => {
                if held::set_aside(&mut self.tx, address).await? {
                    self.done.unreadable.push(Unreadable { whose: Some(address.clone()), reason });
                }
                Ok(None)
            }
        }
    }

    fn put(&mut self, address: Address, working: Working) {
        self.done.working.insert(address, working);
    }

    /// Wakes a workflow of the steps style.
    pub(super) fn wake(&mut self, address: &Address, working: &mut Working) {
        if !working.record.awake {
            working.record.awake = true;
            self.tx.set(&keyspace::awake(address), b"");
        }
        working.touch(self.now_ms);
        self.done.wake.push(address.clone());
    }
}
