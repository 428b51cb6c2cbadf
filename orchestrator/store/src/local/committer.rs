//! The commit thread: takes all waiting transactions, resolves them, and makes the winners durable
//! together.
//!
//! One thread owns the driver and the resolver, so neither needs a lock. An answer leaves only
//! after the batch is durable and its snapshot is published: whoever was told of a commit sees it
//! in the next transaction. It calls nobody: it receives messages and sends answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::StoreError;
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_TRANSACTIONS};
use crate::local::buffer::WriteBuffer;
use crate::local::conflicts::ConflictRanges;
use crate::local::published::{Published, Publisher};
use crate::local::resolver::{Resolver, Verdict};
use crate::local::storage::{Applied, Snapshot, Storage, StorageFailure};
use crate::local::watches::{Ticket, WatchRegistry, value_through};
use crate::metrics;
use crate::versionstamp::Versionstamp;

/// The value a watch made in a transaction starts from.
#[derive(Debug)]
pub(crate) enum WatchBase {
    /// What the transaction could read.
    Seen(Option<Bytes>),
    /// What the transaction itself leaves there.
    Own,
}

/// A transaction that wants to be made durable.
#[derive(Debug)]
pub(crate) struct CommitRequest {
    pub(crate) read_version: u64,
    pub(crate) reads: ConflictRanges,
    /// Write conflicts beyond what `buffer` writes.
    pub(crate) extra_writes: ConflictRanges,
    pub(crate) buffer: WriteBuffer,
    pub(crate) watches: Vec<(Ticket, WatchBase)>,
    pub(crate) bytes: usize,
    pub(crate) reply: Reply,
}

/// Where a commit's answer goes: its versionstamp, or why there is none.
pub(crate) type Reply = oneshot::Sender<Result<Versionstamp, StoreError>>;

/// What the commit thread can be asked.
#[derive(Debug)]
pub(crate) enum Message {
    /// Commit this.
    Commit(Box<CommitRequest>),
    /// A read through this generation of the file failed: open it again unless that has been done.
    Recover(u64),
    /// Finish what is queued, close the file, answer.
    Shutdown(oneshot::Sender<()>),
}

/// Messages taken from the queue together.
#[derive(Default)]
struct Gathered {
    commits: Vec<CommitRequest>,
    recover: Option<u64>,
    stop: Option<oneshot::Sender<()>>,
}

/// A batch on its way to the disk.
#[derive(Default)]
struct Batch {
    buffer: WriteBuffer,
    /// In the order of the versionstamps.
    replies: Vec<Reply>,
    watches: Vec<(Ticket, Option<Bytes>)>,
}

/// State of the commit thread.
pub(crate) struct Committer {
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) resolver: Resolver,
    pub(crate) published: Arc<Published>,
    pub(crate) publisher: Publisher,
    pub(crate) watches: Arc<WatchRegistry>,
    pub(crate) version: u64,
    /// What the store calls itself in errors and logs.
    pub(crate) place: Arc<str>,
}

impl Committer {
    /// Serves `queue` until told to stop or nobody is left to ask.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut stop = None;
        while let Some(first) = queue.blocking_recv() {
            let gathered = gather(first, &mut queue);
            if let Some(reply) = gathered.stop {
                // What is queued already is still served; nothing more gets in.
                queue.close();
                stop = Some(reply);
            }
            if gathered.recover.is_some_and(|generation| generation == self.storage.generation()) {
                self.recover(Instant::now());
            }
            if !gathered.commits.is_empty() {
                self.commit(Instant::now(), gathered.commits);
            }
        }
        self.close();
        if let Some(reply) = stop {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(());
        }
    }

    /// Closes the driver; nothing reads or writes from now on.
    pub(crate) fn close(self) {
        self.published.set_down(StoreError::Closed);
        self.watches.cancel_all();
    }

    /// Resolves `requests` and makes the winners durable together; answers each.
    pub(crate) fn commit(&mut self, now: Instant, requests: Vec<CommitRequest>) {
        if self.published.begin().is_err() {
            self.recover(now);
        }
        let snapshot = match self.published.begin().and_then(|cell| cell.data()) {
            Ok(snapshot) => snapshot,
            Err(error) => return refuse_all(requests.into_iter().map(|request| request.reply), &error),
        };
        self.resolver.advance(now);
        let version = self.version + 1;
        let mut batch = Batch::default();
        let mut prepared = Ok(());
        for mut request in requests {
            match self.resolver.check(request.read_version, &request.reads) {
                Verdict::Commit => {}
                Verdict::Conflict => {
                    metrics::conflict();
                    let _ = request.reply.send(Err(StoreError::Conflict));
                    continue;
                }
                Verdict::TooOld => {
                    metrics::too_old();
                    let _ = request.reply.send(Err(StoreError::TransactionTooOld));
                    continue;
                }
            }
            request.buffer.stamp(stamp(version, batch.replies.len()));
            self.record(now, version, &request);
            prepared = prepared.and(batch.absorb(request, snapshot.as_ref()));
        }
        if batch.replies.is_empty() {
            return;
        }
        let settled = prepared.and_then(|()| batch.buffer.settle(|key| snapshot.get(key)));
        drop(snapshot);
        match settled {
            Ok(()) => self.apply(now, version, batch),
            Err(failure) => {
                self.recover(now);
                self.fail(batch, failure);
            }
        }
    }

    fn record(&mut self, now: Instant, version: u64, request: &CommitRequest) {
        let keys = request.buffer.mutations().map(|(key, _)| key).chain(&request.extra_writes.keys);
        let extra = request.extra_writes.ranges.iter().map(|(begin, end)| (begin, end));
        self.resolver.record(now, version, keys, request.buffer.cleared().chain(extra));
    }

    fn apply(&mut self, now: Instant, version: u64, batch: Batch) {
        match self.storage.apply(version, &batch.buffer) {
            Applied::Durable => {
                metrics::batch_committed(batch.replies.len(), now.elapsed());
                self.finish(version, batch, None);
            }
            Applied::Unproven(failure) => {
                metrics::batch_failed();
                let unknown = self.unknown(failure);
                self.finish(version, batch, Some(&unknown));
            }
            Applied::Not(failure) => {
                self.publish();
                self.fail(batch, failure);
            }
            Applied::Unknown(failure) => {
                metrics::batch_failed();
                self.published.set_down(self.error_of(&failure));
                refuse_all(batch.replies.into_iter(), &self.unknown(failure));
            }
        }
    }

    /// The batch is in the database: shows it, fires watches, then answers.
    fn finish(&mut self, version: u64, batch: Batch, unproven: Option<&StoreError>) {
        self.version = version;
        self.publish();
        for (ticket, base) in batch.watches {
            // A ticket dropped here cancels its watch, which is all that is left to tell it.
            let _ = self.watches.arm(ticket, base, &self.published);
        }
        self.watches.fire(&batch.buffer);
        for (order, reply) in batch.replies.into_iter().enumerate() {
            // A caller that stopped waiting is not told; its transaction stands all the same.
            let _ =
                reply.send(unproven.map_or_else(|| Ok(stamp(version, order)), |error| Err(error.clone())));
        }
    }

    /// The batch is not in the database and never will be.
    fn fail(&mut self, batch: Batch, failure: StorageFailure) {
        metrics::batch_failed();
        self.resolver.reset(self.version);
        let error = self.error_of(&failure);
        tracing::error!(transactions = batch.replies.len(), %error, "batch not committed");
        refuse_all(batch.replies.into_iter(), &error);
    }

    /// Shows what the driver holds now; opens the file again if it cannot say.
    fn publish(&mut self) {
        match self.storage.snapshot() {
            Ok((version, snapshot)) => {
                self.publisher.publish(Instant::now(), version, self.storage.generation(), snapshot);
            }
            Err(_) => self.recover(Instant::now()),
        }
    }

    /// Opens the file again and takes up from what is in it.
    fn recover(&mut self, now: Instant) {
        let found = self.storage.recover().and_then(|()| self.storage.snapshot());
        match found {
            Ok((version, snapshot)) => {
                tracing::warn!(place = %self.place, version, "store reopened after a failure");
                self.version = version;
                self.resolver.reset(version);
                self.publisher.publish(now, version, self.storage.generation(), snapshot);
                self.watches.recheck(&self.published);
            }
            Err(failure) => {
                let error = self.error_of(&failure);
                tracing::error!(%error, "store is down");
                self.published.set_down(error);
            }
        }
    }

    fn error_of(&self, failure: &StorageFailure) -> StoreError {
        failure.clone().into_error(&self.place)
    }

    fn unknown(&self, failure: StorageFailure) -> StoreError {
        StoreError::CommitUnknown { place: self.place.to_string(), reason: failure.reason() }
    }
}

impl Batch {
    /// Adds a winner.
    fn absorb(&mut self, request: CommitRequest, snapshot: &dyn Snapshot) -> Result<(), StorageFailure> {
        self.replies.push(request.reply);
        self.buffer.absorb(request.buffer);
        for (ticket, base) in request.watches {
            let base = match base {
                WatchBase::Seen(value) => value,
                // Looked up before a later transaction of the batch changes it again.
                WatchBase::Own => value_through(&self.buffer, snapshot, &ticket.key)?,
            };
            self.watches.push((ticket, base));
        }
        Ok(())
    }
}

/// Takes what waits, up to the bounds of a batch.
fn gather(first: Message, queue: &mut mpsc::Receiver<Message>) -> Gathered {
    let mut gathered = Gathered::default();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Commit(request) => {
                bytes += request.bytes;
                gathered.commits.push(*request);
            }
            Message::Recover(generation) => gathered.recover = Some(generation),
            Message::Shutdown(reply) => gathered.stop = Some(reply),
        }
        let full = gathered.commits.len() >= MAX_BATCH_TRANSACTIONS || bytes >= MAX_BATCH_BYTES;
        next = if full || gathered.stop.is_some() { None } else { queue.try_recv().ok() };
    }
    gathered
}

/// The versionstamp of the `order`th winner of a batch.
fn stamp(version: u64, order: usize) -> Versionstamp {
    const { assert!(MAX_BATCH_TRANSACTIONS <= u16::MAX as usize) };
    Versionstamp::new(version, order as u16)
}

fn refuse_all(replies: impl Iterator<Item = Reply>, error: &StoreError) {
    for reply in replies {
        // A caller that stopped waiting is not told.
        let _ = reply.send(Err(error.clone()));
    }
}
