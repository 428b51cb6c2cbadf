//! One event to one workflow: whether it can be taken now, and what it does.
//!
//! A handler that fails ends the whole turn: its writes cannot be told from those of others. The task then
//! notes the failure in a transaction of its own, and the next turn goes round that workflow.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::address::Address;
use crate::context::{Context, answer_with, refusal};
use crate::error::Failure;
use crate::held;
use crate::keyspace;
use crate::kind::ReplyTo;
use crate::limits::{HANDLER_TIMEOUT, NUDGE_GATHER};
use crate::metrics;
use crate::records::{Envelope, EnvelopeKind, Status};
use crate::registry::{AnyMachine, Code, RawEvent, Registered};
use crate::send::{self, Control};
use crate::shard::batch::{Batch, TurnError};
use crate::shard::working::{DRAIN, Working};

impl Batch<'_> {
    fn code(&self, address: &Address) -> Option<&Registered> {
        self.turn.shared.registry.get(address.kind())
    }

    /// Whether what waits with the workflow is delivered to it. A job reads that itself while it is under way.
    pub(super) fn drains(&self, address: &Address, working: &Working) -> bool {
        let is_under_way = working.is_there() && working.record.started;
        working.takes() && (self.is_machine(address) || !is_under_way)
    }

    pub(super) fn is_machine(&self, address: &Address) -> bool {
        self.code(address).is_some_and(|registered| matches!(registered.code, Code::Machine(_)))
    }

    /// Takes what came for a workflow.
    pub(super) async fn receive(
        &mut self,
        address: &Address,
        working: &mut Working,
        envelope: Envelope,
    ) -> Result<(), TurnError> {
        match EnvelopeKind::try_from(envelope.kind) {
            Ok(EnvelopeKind::Pause) => self.pause(address, working),
            Ok(EnvelopeKind::Resume) => self.resume(address, working, &[Status::Paused]),
            Ok(EnvelopeKind::Retry) => {
                self.give_back(address, working).await?;
                self.resume(address, working, &[Status::Failing, Status::Dead, Status::Blocked]);
            }
            Ok(EnvelopeKind::Cancel) if self.is_stuck_job(address, working) => {
                working.record.cancelling = true;
                self.resume(address, working, &[Status::Paused, Status::Dead, Status::Blocked]);
            }
            _ => self.deliver_or_park(address, working, envelope).await?,
        }
        Ok(())
    }

    /// Whether a workflow of the steps style stands still: it cannot take a cancel as it comes, and is to undo what it
    /// did all the same.
    fn is_stuck_job(&self, address: &Address, working: &Working) -> bool {
        let is_job = self.code(address).is_some_and(|code| matches!(code.code, Code::Steps(_)));
        is_job && working.is_there() && working.record.started && !working.takes()
    }

    fn pause(&mut self, address: &Address, working: &mut Working) {
        if working.is_there() {
            working.stand(&mut self.tx, address, Status::Paused, "");
            working.note(self.now_ms, "paused".to_owned(), "");
            self.done.wake.push(address.clone());
        }
    }

    /// Lets a workflow that stands as one of `from` go on.
    fn resume(&mut self, address: &Address, working: &mut Working, from: &[Status]) {
        if !working.is_there() || !from.contains(&working.record.status()) {
            return;
        }
        working.stand(&mut self.tx, address, Status::Running, "");
        working.record.attempts = 0;
        working.note(self.now_ms, "resumed".to_owned(), "");
        if self.drains(address, working) {
            working.set_own_timer(&mut self.tx, address, DRAIN, self.now_ms);
            self.done.more = true;
        } else {
            self.wake(address, working);
        }
    }

    /// Lets a workflow whose record can be read again have what was held from it.
    async fn give_back(&mut self, address: &Address, working: &mut Working) -> Result<(), TurnError> {
        if working.removed {
            return Ok(());
        }
        if held::give_back(&mut self.tx, address, &working.record).await? {
            send::control(&mut self.tx, address, Control::Retry);
        } else if working.record.awake {
            self.wake(address, working);
        }
        Ok(())
    }

    /// Delivers `envelope`, or lets it wait behind what waits already.
    pub(super) async fn deliver_or_park(
        &mut self,
        address: &Address,
        working: &mut Working,
        envelope: Envelope,
    ) -> Result<(), TurnError> {
        if let Some(lacking) = self.lacking(address, working, &envelope) {
            if !matches!(working.record.status(), Status::Paused | Status::Dead) {
                working.stand(&mut self.tx, address, Status::Blocked, &lacking);
            }
            working.park(&mut self.tx, address, envelope);
            working.touch(self.now_ms);
            return Ok(());
        }
        if working.takes() && (working.record.parked == 0 || !self.is_machine(address)) {
            return self.deliver(address, working, envelope).await;
        }
        working.park(&mut self.tx, address, envelope);
        working.touch(self.now_ms);
        Ok(())
    }

    /// Notes a nudge, and begins the machine if it is not there.
    pub(super) async fn nudge(&mut self, address: &Address, working: &mut Working) -> Result<(), TurnError> {
        let start = send::start_of(Bytes::new(), None);
        let begun = working.is_there() && working.record.started;
        let lacking = self.lacking(address, working, &start);
        // One that cannot begin waits with one start, however often it is nudged.
        if !begun && (lacking.is_none() || working.record.parked == 0) {
            self.deliver_or_park(address, working, start).await?;
        } else if let Some(lacking) = lacking
            && !matches!(working.record.status(), Status::Paused | Status::Dead)
        {
            working.stand(&mut self.tx, address, Status::Blocked, &lacking);
            working.touch(self.now_ms);
        }
        working.nudge(&mut self.tx, address, self.now_ms + NUDGE_GATHER.as_millis() as u64);
        Ok(())
    }

    /// Has a machine look, if it can; if not, it does when it can again.
    pub(super) async fn nudged(&mut self, address: &Address, working: &mut Working) -> Result<(), TurnError> {
        let registered = self.turn.shared.registry.get(address.kind());
        let Some(Registered { code: Code::Machine(machine), .. }) = registered else { return Ok(()) };
        let ready =
            working.is_there() && working.takes() && working.record.started && working.record.parked == 0;
        if let Some(registered) = registered.filter(|_| ready) {
            working.record.nudged = false;
            self.transition(address, working, registered, &**machine, RawEvent::Nudged).await?;
        }
        Ok(())
    }

    /// What code is missing for `envelope`, if any is.
    fn lacking(&self, address: &Address, working: &Working, envelope: &Envelope) -> Option<String> {
        let kind = address.kind();
        let Some(registered) = self.code(address) else {
            return Some(format!(
                "no orchestrator has code for kind {kind:?}; start one of a release that has"
            ));
        };
        let needs = working.record.version;
        if !working.removed && needs > registered.version {
            let has = registered.version;
            return Some(format!(
                "its state is of version {needs} of {kind:?}, and this orchestrator knows {has}; start a newer one"
            ));
        }
        EnvelopeKind::try_from(envelope.kind)
            .is_err()
            .then(|| format!("it was sent what only a newer release of {kind:?} can read; start a newer one"))
    }

    /// Delivers `envelope` to a workflow that can take it.
    pub(super) async fn deliver(
        &mut self,
        address: &Address,
        working: &mut Working,
        envelope: Envelope,
    ) -> Result<(), TurnError> {
        let shared = self.turn.shared;
        let Some(registered) = shared.registry.get(address.kind()) else { return Ok(()) };
        let kind = EnvelopeKind::try_from(envelope.kind).unwrap_or(EnvelopeKind::Start);
        if kind == EnvelopeKind::Start && working.is_there() && working.record.started {
            return Ok(());
        }
        let begins = kind == EnvelopeKind::Start || (kind == EnvelopeKind::Signal && envelope.create);
        let is_there = working.is_there() && working.record.started;
        if !is_there && !begins {
            self.refuse(address, kind, &envelope);
            return Ok(());
        }
        match &registered.code {
            Code::Machine(machine) => {
                if !(working.is_there() && working.record.started) {
                    working.begin(registered.version, envelope.other.clone(), self.now_ms);
                    let input =
                        if kind == EnvelopeKind::Start { envelope.payload.clone() } else { Bytes::new() };
                    self.transition(address, working, registered, &**machine, RawEvent::Started(input))
                        .await?;
                }
                if let Some(event) = event_of(kind, envelope).filter(|_| working.is_there()) {
                    self.transition(address, working, registered, &**machine, event).await?;
                }
            }
            Code::Steps(_) => self.deliver_to_steps(address, working, registered, kind, envelope),
        }
        Ok(())
    }

    fn refuse(&mut self, address: &Address, kind: EnvelopeKind, envelope: &Envelope) {
        metrics::refused(address.kind());
        tracing::debug!(%address, ?kind, "nobody is there");
        if !envelope.reply_key.is_empty() {
            answer_with(&mut self.tx, &envelope.reply_key, &refusal("there is no such workflow"));
        }
    }

    /// Lets `event` happen to a machine.
    async fn transition(
        &mut self,
        address: &Address,
        working: &mut Working,
        registered: &Registered,
        machine: &dyn AnyMachine,
        event: RawEvent,
    ) -> Result<(), TurnError> {
        let word = event.word();
        let cancels = matches!(event, RawEvent::Cancel);
        let failed = |failure| TurnError::failed(address, &word, failure);
        let mut state = match working.state.take() {
            Some(state) => state,
            None if working.record.state.is_empty() && working.record.version == registered.version => {
                machine.fresh()
            }
            None => machine
                .decode(working.record.version, &working.record.state)
                .map_err(|reason| failed(Failure::Final(reason)))?,
        };
        let mut cx = Context {
            tx: &mut self.tx,
            address,
            record: &mut working.record,
            now_ms: self.now_ms,
            finished: None,
        };
        let handling = AssertUnwindSafe(machine.on(&mut cx, &mut *state, event)).catch_unwind();
        let ended = match tokio::time::timeout(HANDLER_TIMEOUT, handling).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(panic)) => Err(Failure::Because(panic_text(&*panic))),
            Err(_) => Err(Failure::Because(format!("it took longer than {HANDLER_TIMEOUT:?}"))),
        };
        let finished = cx.finished.take();
        match ended {
            Ok(()) => {}
            Err(Failure::Store(error)) => return Err(error.into()),
            Err(failure) => return Err(failed(failure)),
        }
        working.state = Some(state);
        working.record.version = registered.version;
        working.record.revision += 1;
        working.record.attempts = 0;
        working.record.reason.clear();
        working.record.cancelling |= cancels;
        working.note(self.now_ms, word, "");
        if let Some(output) = finished {
            let status = if working.record.cancelling { Status::Cancelled } else { Status::Finished };
            working.end(&mut self.tx, address, status, Ok(output), registered.retention, self.now_ms);
        }
        *self.done.transitions.entry(address.kind().to_owned()).or_default() += 1;
        Ok(())
    }

    /// Lets a workflow of the steps style know: it reads what waits with it when it gets there.
    fn deliver_to_steps(
        &mut self,
        address: &Address,
        working: &mut Working,
        registered: &Registered,
        kind: EnvelopeKind,
        envelope: Envelope,
    ) {
        if !(working.is_there() && working.record.started) {
            let journal = keyspace::journal(address);
            self.tx.clear_range(&journal.begin, &journal.end);
            working.begin(registered.version, envelope.other.clone(), self.now_ms);
            if kind == EnvelopeKind::Start {
                working.record.state = envelope.payload.clone();
            }
            working.note(self.now_ms, "started".to_owned(), "");
            self.wake(address, working);
        }
        match kind {
            EnvelopeKind::Signal | EnvelopeKind::ChildEnded => {
                working.park(&mut self.tx, address, envelope);
                working.touch(self.now_ms);
                if working.record.receiving {
                    self.wake(address, working);
                }
            }
            EnvelopeKind::Cancel if working.is_there() => {
                working.record.cancelling = true;
                working.note(self.now_ms, "cancel".to_owned(), "");
                self.wake(address, working);
            }
            _ => {}
        }
    }

    /// Lets workflows that were blocked go on, now that this worker has the shard: it may have the code.
    pub(super) fn unblock(&mut self, address: &Address, working: &mut Working) {
        let known = self.code(address).is_some_and(|registered| registered.version >= working.record.version);
        if known && working.record.status() == Status::Blocked {
            self.resume(address, working, &[Status::Blocked]);
        }
    }
}

/// The event that an envelope of `kind` is to a machine; a start is none by itself.
fn event_of(kind: EnvelopeKind, envelope: Envelope) -> Option<RawEvent> {
    match kind {
        EnvelopeKind::Signal => {
            let reply = Some(envelope.reply_key).filter(|key| !key.is_empty()).map(ReplyTo);
            Some(RawEvent::Signal(envelope.payload, reply))
        }
        EnvelopeKind::Timer => Some(RawEvent::Timer(envelope.text)),
        EnvelopeKind::ChildEnded => {
            let child = Address::try_from(envelope.other?).ok()?;
            let outcome = if envelope.text.is_empty() { Ok(envelope.payload) } else { Err(envelope.text) };
            Some(RawEvent::ChildEnded(child, outcome))
        }
        EnvelopeKind::Cancel => Some(RawEvent::Cancel),
        _ => None,
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned());
    format!("its code panicked: {text}")
}
