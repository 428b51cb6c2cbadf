//! The database: opening it, running transactions in it, watching it, shutting it down.
//!
//! Holds the retry loop. What a transaction may do is in `transaction`, who wins in `resolver`,
//! what reaches the disk in `committer`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::backoff::Backoff;
use crate::committer::{CommitRequest, Committer, Message, WatchBase};
use crate::error::{OpenError, StoreError};
use crate::limits::COMMIT_QUEUE;
use crate::metrics;
use crate::published::{Published, Publisher};
use crate::redb_storage::{RedbOptions, RedbStorage};
use crate::resolver::Resolver;
use crate::storage::Storage;
use crate::transaction::Transaction;
use crate::watch::{Watch, WatchRegistry};
use crate::work::Work;

/// How to open an embedded store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Memory for cached pages, in bytes. Default 128 MiB.
    pub cache_bytes: usize,
    /// Compare every checksum of the file before using it, about 1 s per GB. Default `true`; what
    /// `false` leaves unseen shows as wrong values or a stopped store later.
    pub verify: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { cache_bytes: 128 * 1024 * 1024, verify: true }
    }
}

/// A store. Clones share it; when the last is dropped, what is queued is committed and the file
/// closed.
#[derive(Clone)]
pub struct Database(Arc<Shared>);

struct Shared {
    path: Arc<Path>,
    published: Arc<Published>,
    watches: Arc<WatchRegistry>,
    /// `None` only while it is being dropped.
    queue: Option<mpsc::Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.queue.take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Waits for at most the commits that are queued. A panic has been reported by then.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// How one attempt of a transaction ended, other than well.
enum Ended<E> {
    /// With an error for the caller.
    Failed(E),
    /// With one that another attempt may not meet.
    Retry(StoreError),
}

impl Database {
    /// Opens the embedded store in the file at `path`, or makes one where there is none. Blocks
    /// while the file is verified; its directory must exist.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process has it open, [`OpenError::Damaged`],
    /// [`OpenError::NewerFormat`] or [`OpenError::Io`]. An existing file is left as it was.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let storage = RedbStorage::open(
            path,
            RedbOptions {
                cache_bytes: options.cache_bytes,
                verify: options.verify,
                #[cfg(test)]
                faults: Arc::default(),
            },
        )?;
        Self::start(path, Box::new(storage))
    }

    pub(crate) fn start(path: &Path, storage: Box<dyn Storage>) -> Result<Self, OpenError> {
        metrics::describe();
        let io = |reason| OpenError::Io { path: path.to_owned(), reason };
        let (version, snapshot) =
            storage.snapshot().map_err(|failure| io(std::io::Error::other(failure.reason())))?;
        let published = Arc::new(Published::new(version, storage.generation(), snapshot));
        let watches = Arc::new(WatchRegistry::default());
        let committer = Committer {
            storage,
            resolver: Resolver::new(version),
            published: published.clone(),
            publisher: Publisher::new(published.clone()),
            watches: watches.clone(),
            version,
            path: path.to_owned(),
        };
        let (queue, messages) = mpsc::channel(COMMIT_QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn(move || committer.run(messages))
            .map_err(io)?;
        Ok(Self(Arc::new(Shared {
            path: path.into(),
            published,
            watches,
            queue: Some(queue),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Runs `body` in a transaction and commits it, again if it conflicted, until it is durable.
    ///
    /// `body` may run several times, so it must have no effect but through its transaction. If it
    /// returns `Err`, nothing is written. Dropping the future before it resolves leaves open
    /// whether the transaction commits. `name` is for logs and metrics.
    ///
    /// # Errors
    /// What `body` returns, or a [`StoreError`]: [`StoreError::RetriesExhausted`], a limit,
    /// [`StoreError::DiskFull`], [`StoreError::Io`], [`StoreError::CommitUnknown`] or
    /// [`StoreError::Closed`].
    pub async fn run<T, E, F, Fut>(&self, name: &'static str, body: F) -> Result<T, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        self.retry(name, body, false).await
    }

    /// Runs `body` over one unchanging version of the database. Nothing conflicts and nothing is
    /// committed; it runs again only if it outlived its snapshot.
    ///
    /// # Errors
    /// As [`Self::run`], and [`StoreError::WriteInReadOnly`] if `body` writes.
    pub async fn read<T, E, F, Fut>(&self, name: &'static str, body: F) -> Result<T, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        self.retry(name, body, true).await
    }

    /// A watch on `key`, armed with the value it has now.
    ///
    /// # Errors
    /// [`StoreError::TooManyWatches`], a key limit, or what a read can answer.
    pub async fn watch(&self, key: &[u8]) -> Result<Watch, StoreError> {
        self.read("watch", async |mut tx: Transaction| Ok(tx.watch(key))).await
    }

    /// Commits what is queued, closes the file and releases its lock. Clones of this database
    /// answer [`StoreError::Closed`] from now on, and its watches are cancelled.
    pub async fn shutdown(self) {
        let (reply, done) = oneshot::channel();
        if self.queue().send(Message::Shutdown(reply)).await.is_ok() {
            // An error means that the thread is gone, which is what was asked for.
            let _ = done.await;
        }
    }

    async fn retry<T, E, F, Fut>(&self, name: &'static str, mut body: F, read_only: bool) -> Result<T, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let mut backoff = Backoff::new(Instant::now());
        loop {
            let last = match self.attempt(&mut body, read_only).await {
                Ok(value) => return Ok(value),
                Err(Ended::Failed(error)) => return Err(error),
                Err(Ended::Retry(error)) => error,
            };
            let Some(pause) = backoff.after_failure(Instant::now()) else {
                metrics::retries_exhausted(name);
                let attempts = backoff.attempts();
                return Err(StoreError::RetriesExhausted { name, attempts, last: Box::new(last) }.into());
            };
            tracing::debug!(name, attempts = backoff.attempts(), error = %last, "retrying transaction");
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt<T, E, F, Fut>(&self, body: &mut F, read_only: bool) -> Result<T, Ended<E>>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let shared = &self.0;
        let snapshot = shared.published.begin().map_err(|error| {
            self.ask_to_recover(shared.published.latest().generation());
            Ended::Failed(error.into())
        })?;
        let generation = snapshot.generation();
        let (transaction, home) =
            Transaction::begin(snapshot, shared.watches.clone(), shared.path.clone(), read_only);
        let result = body(transaction).await;
        let work = home.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(work) = work else { return Err(Ended::Failed(StoreError::TransactionEscaped.into())) };
        if work.file_failed {
            self.ask_to_recover(generation);
        }
        match (result, &work.retry) {
            (_, Some(error)) => Err(Ended::Retry(error.clone())),
            (Err(error), None) => Err(Ended::Failed(error)),
            (Ok(value), None) => match self.commit(work).await {
                Ok(()) => Ok(value),
                Err(error) if error.is_retryable() => Err(Ended::Retry(error)),
                Err(error) => Err(Ended::Failed(error.into())),
            },
        }
    }

    async fn commit(&self, mut work: Box<Work>) -> Result<(), StoreError> {
        work.check_alive()?;
        let watches = work.take_watches()?;
        if work.buffer.is_empty() && work.extra_writes.is_empty() {
            // Serializable as it is, at its read version.
            for (ticket, base) in watches {
                let WatchBase::Seen(value) = base else { unreachable!("nothing was written") };
                self.0
                    .watches
                    .arm(ticket, value, &self.0.published)
                    .map_err(|failure| failure.into_error(&self.0.path))?;
            }
            return Ok(());
        }
        let asked = Instant::now();
        let (reply, answer) = oneshot::channel();
        let request = CommitRequest {
            read_version: work.snapshot.version(),
            reads: work.reads,
            extra_writes: work.extra_writes,
            buffer: work.buffer,
            watches,
            bytes: work.bytes,
            reply,
        };
        // The snapshot is let go while waiting, so that its pages can be reused.
        drop(work.snapshot);
        self.queue().send(Message::Commit(Box::new(request))).await.map_err(|_| StoreError::Closed)?;
        let answer = answer.await.unwrap_or_else(|_| {
            Err(StoreError::CommitUnknown {
                path: self.0.path.to_path_buf(),
                reason: "the commit thread stopped".to_owned(),
            })
        });
        metrics::commit_answered(asked.elapsed());
        answer
    }

    /// Has the commit thread open the file again, unless it is asked already or too busy.
    fn ask_to_recover(&self, generation: u64) {
        let _ = self.queue().try_send(Message::Recover(generation));
    }

    fn queue(&self) -> &mpsc::Sender<Message> {
        self.0.queue.as_ref().expect("the queue leaves a database only in its drop")
    }
}
