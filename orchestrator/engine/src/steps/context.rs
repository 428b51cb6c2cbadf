//! What the code of a steps workflow can do. Each call is one step: the first time it happens, after that
//! its result is read from the journal.
//!
//! A call that puts the workflow to sleep, or that finds the lease lost, never returns: whoever runs the
//! code is told, and drops it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use tokio::sync::mpsc;

use crate::address::Address;
use crate::context::Context;
use crate::error::Failure;
use crate::keyspace;
use crate::kind::ReplyTo;
use crate::limits::MAX_STEPS;
use crate::records::{Envelope, EnvelopeKind, JournalRecord};
use crate::send::count_waiting;
use crate::shard::panic_text;
use crate::steps::journal::{Change, Exit, Journal};
use crate::steps::{IdempotencyKey, StepError, StepPolicy};

/// Longest pause between attempts that is waited for in memory; longer ones are slept.
const SHORT_PAUSE_MS: u64 = 5_000;

/// What a workflow received.
#[derive(Debug, Clone, PartialEq)]
pub enum Received<S> {
    /// A signal, and where an answer goes if one is wanted.
    Signal(S, Option<ReplyTo>),
    /// A child is over, with its output, or why there is none.
    ChildEnded(Address, Result<Bytes, String>),
}

/// What undoes a step; it is given the step's result, or nothing if that is not known.
type Undo = Box<dyn Fn(Option<Bytes>) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A step that can be undone.
pub(crate) struct Undoable {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) policy: StepPolicy,
    pub(crate) result: Option<Bytes>,
    pub(crate) undo: Undo,
}

/// What one run shares with its code.
pub(crate) struct Inner {
    /// Version of the code the workflow began under.
    pub(crate) version: u32,
    pub(crate) journal: Journal,
    /// Tells whoever runs the code that it is to be dropped.
    pub(crate) exit: mpsc::UnboundedSender<Exit>,
    pub(crate) progress: Mutex<Progress>,
}

#[derive(Default)]
pub(crate) struct Progress {
    next: u32,
    pub(crate) undo: Vec<Undoable>,
}

/// A workflow's hands. Clones are the same.
#[derive(Clone)]
pub struct StepContext(pub(crate) Arc<Inner>);

impl std::fmt::Debug for StepContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepContext").field("address", &self.0.journal.address).finish_non_exhaustive()
    }
}

/// What the journal says of a step that begins.
enum Begun {
    Done(JournalRecord),
    Open(JournalRecord),
}

impl StepContext {
    /// Where this workflow lives.
    pub fn address(&self) -> &Address {
        &self.0.journal.address
    }

    /// The version of the code it began under.
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// Does `action`, which may act on the outside: at least once, and tried again as `policy` says.
    ///
    /// # Errors
    /// [`StepError::Failed`] after its last attempt, or [`StepError::Cancelled`].
    pub async fn step<T, F, Fut>(&self, name: &str, policy: StepPolicy, action: F) -> Result<T, StepError>
    where
        T: Message + Default,
        F: Fn(IdempotencyKey) -> Fut,
        Fut: Future<Output = Result<T, String>>,
    {
        let number = self.number().await;
        self.act(number, name, policy, action).await
    }

    /// As [`Self::step`]. If the workflow fails or is cancelled later, or this step fails, `undo` is done,
    /// those of later steps first; it is given what the step came to, or nothing if that is not known.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn step_with_undo<T, F, Fut, U, UndoFut>(
        &self,
        name: &str,
        policy: StepPolicy,
        action: F,
        undo: U,
    ) -> Result<T, StepError>
    where
        T: Message + Default,
        F: Fn(IdempotencyKey) -> Fut,
        Fut: Future<Output = Result<T, String>>,
        U: Fn(Option<T>) -> UndoFut + Send + Sync + 'static,
        UndoFut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let number = self.number().await;
        let undo: Undo = Box::new(move |result: Option<Bytes>| {
            let result = result.and_then(|result| T::decode(result).ok());
            undo(result).boxed()
        });
        // Before it begins: an attempt whose answer is lost may have done something.
        let undoable = Undoable { number, name: name.to_owned(), policy, result: None, undo };
        match self.begin(number, "step", name).await {
            Err(cancelled) => return Err(cancelled),
            Ok(_) => self.progress(|progress| progress.undo.push(undoable)),
        }
        let result: T = self.act(number, name, policy, action).await?;
        let bytes: Bytes = result.encode_to_vec().into();
        self.progress(|progress| {
            if let Some(undoable) = progress.undo.last_mut().filter(|undoable| undoable.number == number) {
                undoable.result = Some(bytes);
            }
        });
        Ok(result)
    }

    /// Does `action` in one transaction with the note that it is done: exactly once.
    ///
    /// # Errors
    /// [`StepError::Failed`] if `action` fails, [`StepError::Cancelled`].
    pub async fn transact<T, F>(&self, name: &str, action: F) -> Result<T, StepError>
    where
        T: Message + Default,
        F: for<'a> Fn(&'a mut Context<'_>) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync,
    {
        let number = self.number().await;
        let entry = match self.begin(number, "transact", name).await? {
            Begun::Done(entry) => return finished(name, entry),
            Begun::Open(entry) => entry,
        };
        let journal = &self.0.journal;
        let committed = journal
            .change("engine_transact", async |mut change: Change| {
                let (record, now_ms) = (&mut change.working.record, change.now_ms);
                let tx = &mut change.tx;
                let mut cx = Context { tx, address: &journal.address, record, now_ms, finished: None };
                let result = match action(&mut cx).await {
                    Ok(result) => result,
                    Err(Failure::Store(error)) => return Err(Exit::Store(error)),
                    // Nothing of it may be committed, so that it failed is noted by itself.
                    Err(failure) => return Err(Exit::Dead(failure.to_string())),
                };
                let done =
                    JournalRecord { done: true, result: result.encode_to_vec().into(), ..entry.clone() };
                change.note(&journal.address, number, &done);
                Ok((change, done))
            })
            .await;
        match committed {
            Ok(entry) => finished(name, entry),
            Err(Exit::Dead(reason)) => self.fail(number, entry, reason).await,
            Err(exit) => self.exit(exit).await,
        }
    }

    /// Sleeps for `duration`, from when it first gets here. Survives everything, costs nothing.
    ///
    /// # Errors
    /// [`StepError::Cancelled`].
    pub async fn sleep(&self, name: &str, duration: Duration) -> Result<(), StepError> {
        let number = self.number().await;
        let mut entry = match self.begin(number, "sleep", name).await? {
            Begun::Done(_) => return Ok(()),
            Begun::Open(entry) => entry,
        };
        let now_ms = self.0.journal.shared.clock.now_ms();
        if entry.until_ms == 0 {
            entry.until_ms = now_ms.saturating_add(duration.as_millis() as u64).max(1);
        }
        if entry.until_ms <= now_ms {
            entry.done = true;
            return self.note(number, &entry).await;
        }
        self.fall_asleep(number, &entry).await
    }

    /// The next signal, or the next end of a child; waits for it, for as long as it takes.
    ///
    /// # Errors
    /// [`StepError::Cancelled`], or [`StepError::Failed`] for one that is not of this type.
    pub async fn receive<S: Message + Default>(&self, name: &str) -> Result<Received<S>, StepError> {
        let received = self.receive_until(name, None).await?;
        Ok(received.expect("without an end to the wait there is always something"))
    }

    /// As [`Self::receive`]; `None` if nothing came within `duration` of when it first gets here.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn receive_within<S: Message + Default>(
        &self,
        name: &str,
        duration: Duration,
    ) -> Result<Option<Received<S>>, StepError> {
        self.receive_until(name, Some(duration)).await
    }

    async fn receive_until<S: Message + Default>(
        &self,
        name: &str,
        duration: Option<Duration>,
    ) -> Result<Option<Received<S>>, StepError> {
        let number = self.number().await;
        let entry = match self.begin(number, "receive", name).await? {
            Begun::Done(entry) => entry,
            Begun::Open(entry) => self.take_parked(number, entry, duration).await,
        };
        if entry.result.is_empty() {
            return Ok(None);
        }
        let foreign = |reason: String| StepError::Failed { name: name.to_owned(), reason };
        let envelope = Envelope::decode(entry.result).map_err(|error| foreign(error.to_string()))?;
        if envelope.kind == EnvelopeKind::ChildEnded as i32 {
            let child = envelope.other.and_then(|child| Address::try_from(child).ok());
            let child = child.ok_or_else(|| foreign("a child without an address".to_owned()))?;
            let outcome = if envelope.text.is_empty() { Ok(envelope.payload) } else { Err(envelope.text) };
            return Ok(Some(Received::ChildEnded(child, outcome)));
        }
        let signal = S::decode(envelope.payload).map_err(|error| foreign(error.to_string()))?;
        let reply = Some(envelope.reply_key).filter(|key| !key.is_empty()).map(ReplyTo);
        Ok(Some(Received::Signal(signal, reply)))
    }

    /// Takes what waits with the workflow, or falls asleep until something does.
    async fn take_parked(
        &self,
        number: u32,
        entry: JournalRecord,
        duration: Option<Duration>,
    ) -> JournalRecord {
        let journal = &self.0.journal;
        let taken = journal
            .change("engine_receive", async |mut change: Change| {
                let (address, mut entry) = (&journal.address, entry.clone());
                let now_ms = change.now_ms;
                let range = keyspace::parked(address);
                let rows = change.tx.get_range(&range.begin, &range.end, 1, false).await?;
                if entry.until_ms == 0
                    && let Some(duration) = duration
                {
                    entry.until_ms = now_ms.saturating_add(duration.as_millis() as u64).max(1);
                }
                change.working.record.receiving = false;
                if let Some((key, row)) = rows.into_iter().next() {
                    Envelope::decode(row.clone()).map_err(|error| {
                        Exit::Dead(format!(
                            "a signal that waits with it cannot be read ({error}); run a release that can, then muster \
                             workflow retry"
                        ))
                    })?;
                    change.tx.clear(&key);
                    count_waiting(&mut change.tx, address, -1);
                    change.working.record.parked = change.working.record.parked.saturating_sub(1);
                    entry.result = row;
                    entry.done = true;
                } else if entry.until_ms > 0 && entry.until_ms <= now_ms {
                    entry.done = true;
                } else {
                    change.working.record.receiving = true;
                    change.fall_asleep(address, entry.until_ms);
                }
                change.note(address, number, &entry);
                Ok((change, entry))
            })
            .await;
        match taken {
            Ok(entry) if entry.done => entry,
            Ok(_) => self.exit(Exit::Asleep).await,
            Err(exit) => self.exit(exit).await,
        }
    }

    /// Attempts `action` until it succeeds or its policy ends.
    async fn act<T, F, Fut>(
        &self,
        number: u32,
        name: &str,
        policy: StepPolicy,
        action: F,
    ) -> Result<T, StepError>
    where
        T: Message + Default,
        F: Fn(IdempotencyKey) -> Fut,
        Fut: Future<Output = Result<T, String>>,
    {
        let mut entry = match self.begin(number, "step", name).await? {
            Begun::Done(entry) => return finished(name, entry),
            Begun::Open(entry) => entry,
        };
        let key = IdempotencyKey(format!("{}#{}.{number}", self.0.journal.address, self.0.journal.run));
        loop {
            self.pause(number, &entry).await;
            let attempt = AssertUnwindSafe(action(key.clone())).catch_unwind();
            let reason = match tokio::time::timeout(policy.timeout, attempt).await {
                Ok(Ok(Ok(result))) => {
                    entry.result = result.encode_to_vec().into();
                    entry.done = true;
                    self.note(number, &entry).await?;
                    return Ok(result);
                }
                Ok(Ok(Err(reason))) => reason,
                Ok(Err(panic)) => panic_text(&*panic),
                Err(_) => format!("it took longer than {:?}", policy.timeout),
            };
            entry.attempts += 1;
            let Some(pause_ms) = policy.retry.pause_ms(entry.attempts, self.0.journal.shared.fraction())
            else {
                return self.fail(number, entry, reason).await;
            };
            tracing::warn!(workflow = %self.address(), step = name, reason, "step failed; it is tried again");
            entry.until_ms = self.0.journal.shared.clock.now_ms() + pause_ms;
            self.note(number, &entry).await?;
            if self.is_cancelled(number).await {
                return Err(StepError::Cancelled);
            }
        }
    }

    /// Waits until the next attempt is due.
    async fn pause(&self, number: u32, entry: &JournalRecord) {
        let pause_ms = entry.until_ms.saturating_sub(self.0.journal.shared.clock.now_ms());
        if pause_ms > SHORT_PAUSE_MS {
            self.fall_asleep::<()>(number, entry).await.unwrap_or(());
        }
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }

    /// Sleeps, as rows in the store, until `entry` says or a cancellation comes. Never returns.
    async fn fall_asleep<T>(&self, number: u32, entry: &JournalRecord) -> Result<T, StepError> {
        let journal = &self.0.journal;
        let slept = journal
            .change("engine_sleep", async |mut change: Change| {
                change.note(&journal.address, number, entry);
                // A cancellation that came in between would otherwise be slept through.
                let cancelling = change.working.record.cancelling;
                if !cancelling {
                    change.fall_asleep(&journal.address, entry.until_ms);
                }
                Ok((change, cancelling))
            })
            .await;
        match slept {
            Ok(true) => Err(StepError::Cancelled),
            Ok(false) => self.exit(Exit::Asleep).await,
            Err(exit) => self.exit(exit).await,
        }
    }

    async fn fail<T>(&self, number: u32, mut entry: JournalRecord, reason: String) -> Result<T, StepError> {
        entry.done = true;
        entry.failed = Some(crate::context::clip(&reason));
        self.note(number, &entry).await?;
        Err(StepError::Failed { name: entry.name, reason })
    }

    /// Notes what became of step `number`.
    async fn note(&self, number: u32, entry: &JournalRecord) -> Result<(), StepError> {
        match self.0.journal.note(number, entry).await {
            Ok(()) => Ok(()),
            Err(exit) => self.exit(exit).await,
        }
    }

    /// What the journal says of the step that begins, which must be the one it was.
    async fn begin(&self, number: u32, what: &str, name: &str) -> Result<Begun, StepError> {
        let (entry, cancelling) = match self.0.journal.read(number).await {
            Ok(read) => read,
            Err(exit) => self.exit(exit).await,
        };
        match entry {
            Some(entry) if entry.what != what || entry.name != name => {
                let kind = self.address().kind();
                self.exit(Exit::Dead(format!(
                    "the code of {kind:?} has changed: step {number} was {} {:?} and is now {what} {name:?}; run \
                     the release it began under, or cancel it",
                    entry.what, entry.name
                )))
                .await
            }
            Some(entry) if entry.done => Ok(Begun::Done(entry)),
            _ if cancelling => Err(StepError::Cancelled),
            Some(entry) => Ok(Begun::Open(entry)),
            None => {
                let (what, name) = (what.to_owned(), name.to_owned());
                Ok(Begun::Open(JournalRecord { what, name, ..JournalRecord::default() }))
            }
        }
    }

    async fn is_cancelled(&self, number: u32) -> bool {
        match self.0.journal.read(number).await {
            Ok((_, cancelling)) => cancelling,
            Err(exit) => self.exit(exit).await,
        }
    }

    /// The next step's number.
    async fn number(&self) -> u32 {
        let number = self.progress(|progress| {
            progress.next += 1;
            progress.next
        });
        if number > MAX_STEPS {
            let reason = format!("it has more than {MAX_STEPS} steps; start children, or begin anew");
            return self.exit(Exit::Dead(reason)).await;
        }
        number
    }

    fn progress<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        look(&mut self.0.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells whoever runs this to drop it, and never returns.
    async fn exit<T>(&self, exit: Exit) -> T {
        // The other end goes only when this future does.
        let _ = self.0.exit.send(exit);
        std::future::pending().await
    }
}

fn finished<T: Message + Default>(name: &str, entry: JournalRecord) -> Result<T, StepError> {
    let failed = |reason| StepError::Failed { name: name.to_owned(), reason };
    match entry.failed {
        Some(reason) => Err(failed(reason)),
        None => {
            T::decode(entry.result).map_err(|error| failed(format!("its result cannot be read: {error}")))
        }
    }
}
