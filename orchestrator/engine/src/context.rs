//! What a transition can do besides changing its state: use the transaction, tell others, set timers,
//! answer, end.
//!
//! All of it is part of the one transaction that also consumes the event. It decides nothing by itself.

use bytes::Bytes;
use muster_store::Transaction;
use prost::Message;

use crate::address::Address;
use crate::error::{Invalid, SendError};
use crate::keyspace;
use crate::kind::{Kind, ReplyTo};
use crate::limits::{MAX_NAME_BYTES, MAX_TEXT_BYTES, MAX_TIMERS};
use crate::records::{ReplyRecord, TimerEntry, WorkflowRecord};
use crate::send;

/// The engine's own timer that delivers a nudge.
pub(crate) const NUDGE: &str = "~nudge";

/// The transition that is being made.
pub struct Context<'a> {
    pub(crate) tx: &'a mut Transaction,
    pub(crate) address: &'a Address,
    pub(crate) record: &'a mut WorkflowRecord,
    pub(crate) now_ms: u64,
    pub(crate) finished: Option<Bytes>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("address", self.address).finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The transaction this transition is part of. A conflict makes the transition happen again.
    pub fn tx(&mut self) -> &mut Transaction {
        self.tx
    }

    /// Where this workflow lives.
    pub fn address(&self) -> &Address {
        self.address
    }

    /// The time, Unix time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Number of this transition among those of this workflow. It only grows, whoever makes them, so
    /// whoever is sent it can refuse what an earlier transition said.
    pub fn revision(&self) -> u64 {
        self.record.revision + 1
    }

    /// Starts the workflow at `address`, unless it is there.
    ///
    /// # Errors
    /// [`SendError`]; with [`SendError::Full`] this transition is tried again later.
    pub async fn start<K: Kind>(&mut self, address: &Address, input: &K::Input) -> Result<(), SendError> {
        send::start::<K>(self.tx, address, input).await
    }

    /// As [`Self::start`]; this workflow is told when that one is over.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_child<K: Kind>(
        &mut self,
        address: &Address,
        input: &K::Input,
    ) -> Result<(), SendError> {
        let payload = send::payload("input", input)?;
        send::try_send(self.tx, address, send::start_of(payload, Some(self.address.into()))).await
    }

    /// Tells another workflow something.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn signal<K: Kind>(&mut self, address: &Address, signal: &K::Signal) -> Result<(), SendError> {
        send::signal::<K>(self.tx, address, signal).await
    }

    /// Answers a question, once; a second answer replaces the first if nobody has fetched it.
    ///
    /// # Errors
    /// [`Invalid::TooLarge`].
    pub fn reply<M: Message>(&mut self, to: &ReplyTo, answer: &M) -> Result<(), Invalid> {
        let payload = send::payload("reply", answer)?;
        answer_with(self.tx, &to.0, &ReplyRecord { payload, refused: String::new() });
        Ok(())
    }

    /// Refuses a question, with why.
    pub fn refuse(&mut self, to: &ReplyTo, reason: &str) {
        answer_with(self.tx, &to.0, &refusal(reason));
    }

    /// Sets timer `name` for `due_ms`, Unix time in milliseconds; one of that name that is set is moved.
    ///
    /// # Errors
    /// [`Invalid::Name`] for a name that is empty, too long or begins with `~`, or
    /// [`Invalid::TooManyTimers`].
    pub fn set_timer(&mut self, name: &str, due_ms: u64) -> Result<(), Invalid> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('~') {
            return Err(Invalid::Name { what: "timer", length: name.len(), limit: MAX_NAME_BYTES });
        }
        self.cancel_timer(name);
        if self.record.timers.len() >= MAX_TIMERS {
            return Err(Invalid::TooManyTimers);
        }
        set_timer(self.tx, self.address, self.record, name, due_ms);
        Ok(())
    }

    /// Cancels timer `name`, if it is set.
    pub fn cancel_timer(&mut self, name: &str) {
        cancel_timer(self.tx, self.address, self.record, name);
    }

    /// Has this machine look again, right after this transition: with [`crate::Event::Nudged`].
    pub fn again(&mut self) {
        self.record.nudged = true;
        if self.record.timers.iter().all(|timer| timer.name != NUDGE) {
            set_timer(self.tx, self.address, self.record, NUDGE, self.now_ms);
        }
    }

    /// Says what this workflow waits for, to people. It stays until said otherwise.
    pub fn waiting_for(&mut self, what: &str) {
        self.record.waiting_for = clip(what);
    }

    /// Ends this workflow with `output`, for its parent and for who looks.
    ///
    /// # Errors
    /// [`Invalid::TooLarge`].
    pub fn finish<M: Message>(&mut self, output: &M) -> Result<(), Invalid> {
        self.finished = Some(send::payload("output", output)?);
        Ok(())
    }
}

/// Sets a timer; there is none of that name.
pub(crate) fn set_timer(
    tx: &mut Transaction,
    address: &Address,
    record: &mut WorkflowRecord,
    name: &str,
    due_ms: u64,
) {
    tx.set(&keyspace::timer(address, due_ms, name), b"");
    record.timers.push(TimerEntry { name: name.to_owned(), due_ms });
}

/// Cancels timer `name`, if it is set.
pub(crate) fn cancel_timer(tx: &mut Transaction, address: &Address, record: &mut WorkflowRecord, name: &str) {
    if let Some(at) = record.timers.iter().position(|timer| timer.name == name) {
        let timer = record.timers.swap_remove(at);
        tx.clear(&keyspace::timer(address, timer.due_ms, name));
    }
}

/// Writes an answer where its question said.
pub(crate) fn answer_with(tx: &mut Transaction, reply_key: &[u8], reply: &ReplyRecord) {
    tx.set(reply_key, &reply.encode_to_vec());
}

/// The answer that there is none.
pub(crate) fn refusal(reason: &str) -> ReplyRecord {
    ReplyRecord { payload: Bytes::new(), refused: clip(reason) }
}

/// As much of `text` as a record keeps.
pub(crate) fn clip(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}
