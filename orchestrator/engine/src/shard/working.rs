//! A workflow as a transaction leaves it, until it is written back.

use std::time::Duration;

use bytes::Bytes;
use muster_store::Transaction;
use prost::Message;

use crate::address::Address;
use crate::context::{NUDGE, cancel_timer, clip, set_timer};
use crate::error::{Failure, Invalid};
use crate::keyspace;
use crate::limits::{HISTORY, MAX_STATE_BYTES};
use crate::records::{Envelope, EnvelopeKind, HistoryEntry, Status, WorkflowRecord};
use crate::registry::AnyState;
use crate::send;

/// The engine's own timer that tries a failed workflow again.
pub(crate) const RETRY: &str = "~retry";
/// The engine's own timer that goes on with what waits with a workflow.
pub(crate) const DRAIN: &str = "~drain";
/// The engine's own timer that removes a workflow that is over.
pub(crate) const REMOVE: &str = "~remove";
/// The engine's own timer that wakes a workflow of the steps style.
pub(crate) const WAKE: &str = "~wake";

/// A workflow in the hands of a transaction.
pub(crate) struct Working {
    pub(crate) record: WorkflowRecord,
    /// Of machines: the state, once something needed it. The record's bytes are older then.
    pub(crate) state: Option<Box<dyn AnyState>>,
    pub(crate) changed: bool,
    /// It is to go altogether.
    pub(crate) removed: bool,
}

impl Working {
    /// A workflow that is not there yet.
    pub(crate) fn absent(now_ms: u64) -> Self {
        let record = WorkflowRecord { created_ms: now_ms, ..WorkflowRecord::default() };
        Self { record, state: None, changed: false, removed: true }
    }

    /// A workflow as it is stored.
    pub(crate) fn stored(record: WorkflowRecord) -> Self {
        Self { record, state: None, changed: false, removed: false }
    }

    /// Whether it is there: begun, or failing to begin.
    pub(crate) fn is_there(&self) -> bool {
        !self.removed && !self.record.status().is_over()
    }

    /// Whether it can take what comes now.
    pub(crate) fn takes(&self) -> bool {
        self.removed || self.record.status() == Status::Running || self.record.status().is_over()
    }

    /// Notes a change at `now_ms`.
    pub(crate) fn touch(&mut self, now_ms: u64) {
        self.changed = true;
        self.removed = false;
        self.record.changed_ms = now_ms;
    }

    /// Notes a transition, and what came of it if it was not good.
    pub(crate) fn note(&mut self, now_ms: u64, event: String, outcome: &str) {
        self.touch(now_ms);
        let history = &mut self.record.history;
        if history.len() >= HISTORY {
            history.drain(..=history.len() - HISTORY);
        }
        history.push(HistoryEntry { at_ms: now_ms, event, outcome: clip(outcome) });
    }

    /// Changes where it stands, for `reason`.
    pub(crate) fn stand(&mut self, tx: &mut Transaction, address: &Address, status: Status, reason: &str) {
        let aside = |status| matches!(status, Status::Dead | Status::Blocked);
        let key = keyspace::aside(address);
        if aside(status) {
            tx.set(&key, &[status as u8]);
        } else if aside(self.record.status()) {
            tx.clear(&key);
        }
        self.record.set_status(status);
        self.record.reason = clip(reason);
    }

    /// Lets `envelope` wait with the workflow until it can take it.
    pub(crate) fn park(&mut self, tx: &mut Transaction, address: &Address, mut envelope: Envelope) {
        // The row's key says for whom.
        envelope.address = None;
        tx.set(&keyspace::parked_row(address, self.record.next_parked), &envelope.encode_to_vec());
        send::count_waiting(tx, address, 1);
        self.record.next_parked += 1;
        self.record.parked += 1;
    }

    /// Sets one of the engine's own timers; one of that name is moved.
    pub(crate) fn set_own_timer(&mut self, tx: &mut Transaction, address: &Address, name: &str, due_ms: u64) {
        cancel_timer(tx, address, &mut self.record, name);
        set_timer(tx, address, &mut self.record, name, due_ms);
    }

    /// Notes that it was nudged, to look at `at_ms`. That is in a later transaction: what it then reads holds whatever came
    /// with a nudge that this transaction has consumed without having seen it.
    pub(crate) fn nudge(&mut self, tx: &mut Transaction, address: &Address, at_ms: u64) {
        self.record.nudged = true;
        if self.record.timers.iter().all(|timer| timer.name != NUDGE) {
            set_timer(tx, address, &mut self.record, NUDGE, at_ms);
        }
        self.changed = true;
    }

    /// Takes a timer that is due off the record. Returns whether it was set for then: one that was moved
    /// or cancelled is not.
    pub(crate) fn take_timer(&mut self, name: &str, due_ms: u64) -> bool {
        let timers = &mut self.record.timers;
        let found = timers.iter().position(|timer| timer.name == name && timer.due_ms == due_ms);
        found.map(|at| timers.swap_remove(at)).is_some()
    }

    /// Begins, or begins anew.
    pub(crate) fn begin(&mut self, version: u32, parent: Option<crate::records::WireAddress>, now_ms: u64) {
        let kept = std::mem::take(&mut self.record);
        self.record = WorkflowRecord {
            version,
            revision: kept.revision,
            parked: kept.parked,
            next_parked: kept.next_parked,
            history: kept.history,
            timers: kept.timers.into_iter().filter(|timer| timer.name == DRAIN).collect(),
            created_ms: now_ms,
            runs: kept.runs + 1,
            nudged: kept.nudged,
            parent,
            started: true,
            ..WorkflowRecord::default()
        };
        self.state = None;
        self.touch(now_ms);
    }

    /// Ends it as `status` with `outcome`: its timers go, its parent is told, and it is removed once
    /// `retention` has passed.
    pub(crate) fn end(
        &mut self,
        tx: &mut Transaction,
        address: &Address,
        status: Status,
        outcome: Result<Bytes, String>,
        retention: Duration,
        now_ms: u64,
    ) {
        for timer in std::mem::take(&mut self.record.timers) {
            tx.clear(&keyspace::timer(address, timer.due_ms, &timer.name));
        }
        if self.record.awake {
            self.record.awake = false;
            tx.clear(&keyspace::awake(address));
        }
        let (output, reason) = match outcome {
            Ok(output) => (output, String::new()),
            Err(reason) => (Bytes::new(), reason),
        };
        if let Some(parent) = self.record.parent.take().and_then(|parent| Address::try_from(parent).ok()) {
            let told = Envelope {
                kind: EnvelopeKind::ChildEnded.into(),
                payload: output.clone(),
                other: Some(address.into()),
                text: reason.clone(),
                ..Envelope::default()
            };
            send::send(tx, &parent, told);
        }
        self.stand(tx, address, status, &reason);
        self.record.output = output;
        self.record.waiting_for.clear();
        let due_ms = now_ms.saturating_add(retention.as_millis() as u64);
        self.set_own_timer(tx, address, REMOVE, due_ms);
        if self.record.parked > 0 {
            self.set_own_timer(tx, address, DRAIN, now_ms);
        }
    }

    /// Removes it with all its rows.
    pub(crate) fn remove(&mut self, tx: &mut Transaction, address: &Address) {
        let journal = keyspace::journal(address);
        tx.clear_range(&journal.begin, &journal.end);
        let parked = keyspace::parked(address);
        tx.clear_range(&parked.begin, &parked.end);
        self.changed = true;
        self.removed = true;
    }

    /// Writes it back, if anything changed.
    pub(crate) fn write(&mut self, tx: &mut Transaction, address: &Address) -> Result<(), Failure> {
        if !self.changed {
            return Ok(());
        }
        if self.removed {
            tx.clear(&keyspace::state(address));
            return Ok(());
        }
        if let Some(state) = &self.state {
            self.record.state = state.encode().into();
        }
        let length = self.record.state.len();
        if length > MAX_STATE_BYTES {
            return Err(Invalid::TooLarge { what: "state", length, limit: MAX_STATE_BYTES }.into());
        }
        tx.set(&keyspace::state(address), &self.record.encode_to_vec());
        self.changed = false;
        Ok(())
    }
}
