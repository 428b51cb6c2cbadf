//! The database: opening it, running transactions in it, watching it, shutting it down.
//!
//! Holds the retry loop and what makes a run happen once though an answer was lost. Who wins and what
//! reaches the disk is the driver's.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::driver::{Driver, DriverVersion, Work};
use crate::embedded::redb_storage::{RedbOptions, RedbStorage};
use crate::error::{OpenError, StoreError};
use crate::faults::{CommitFaults, FaultDice};
use crate::frozen::Frozen;
use crate::local::Local;
use crate::marker::{Marker, outdated};
use crate::memory::MemoryStorage;
use crate::metrics;
use crate::transaction::{Gathered, ReadVersion, Transaction};
use crate::versionstamp::Versionstamp;
use crate::watch::Watch;

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
    /// Shared with commits that come late on purpose.
    driver: Arc<Driver>,
    /// What decides over faults and pauses, where that is not left to chance.
    dice: OnceLock<FaultDice>,
    /// Newest bucket of markers whose predecessors were cleared.
    markers_cleared: AtomicU64,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("place", &self.0.driver.place()).finish_non_exhaustive()
    }
}

/// How one attempt of a transaction ended.
enum Ended<T, E> {
    /// Well.
    Done(T),
    /// An earlier attempt has committed; this is what its claim says.
    Found(Bytes),
    /// With an error for the caller.
    Failed(E),
    /// With one that another attempt may not meet.
    Retry(StoreError),
    /// Whether an earlier attempt has committed can be found out no more.
    Unsettled(StoreError),
}

/// What a run is allowed to do, and where it begins.
struct Mode {
    read_only: bool,
    /// Version of the first attempt; further ones take the latest.
    at: Option<DriverVersion>,
}

impl Database {
    /// Opens the embedded store in the file at `path`, or makes one where there is none. Blocks
    /// while the file is verified; its directory must exist.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process has it open, [`OpenError::Damaged`],
    /// [`OpenError::NewerFormat`] or [`OpenError::Io`]. An existing file is left as it was.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let options = RedbOptions {
            cache_bytes: options.cache_bytes,
            verify: options.verify,
            #[cfg(test)]
            faults: Arc::default(),
        };
        Self::embedded(path, RedbStorage::open(path, options)?)
    }

    pub(crate) fn embedded(path: &Path, storage: RedbStorage) -> Result<Self, OpenError> {
        let io = |reason| OpenError::Io { path: path.to_owned(), reason };
        let local = Local::with_thread(&path.display().to_string(), Box::new(storage)).map_err(io)?;
        Ok(Self::over(Driver::Embedded(local)))
    }

    /// An empty store in memory, for tests and simulation. `seed` decides its faults, of which there
    /// are none until [`Self::set_commit_faults`], and the pauses of its retries.
    pub fn memory(seed: u64) -> Self {
        let local = Local::inline("memory", Box::new(MemoryStorage::default()));
        let store = Self::over(Driver::Memory(local.expect("a new map has a snapshot")));
        store.0.dice.get_or_init(|| FaultDice::new(seed));
        store
    }

    /// Makes commits go wrong from now on, for tests. Where answers cannot be lost, as with a file,
    /// nothing is done and `false` returned.
    pub fn set_commit_faults(&self, faults: CommitFaults) -> bool {
        if self.0.driver.loses_answers() {
            self.0.dice.get_or_init(|| FaultDice::new(rand::random())).set(faults);
        }
        self.0.driver.loses_answers()
    }

    /// The store under `prefix` in the FoundationDB cluster of `cluster_file`.
    ///
    /// # Errors
    /// [`OpenError::Cluster`] if the file is none or its cluster does not answer within 5 s.
    #[cfg(feature = "foundationdb")]
    pub async fn open_cluster(cluster_file: &Path, prefix: &[u8]) -> Result<Self, OpenError> {
        let cluster = crate::fdb::Cluster::open(cluster_file, prefix).await?;
        Ok(Self::over(Driver::Fdb(cluster)))
    }

    fn over(driver: Driver) -> Self {
        metrics::describe();
        Self(Arc::new(Shared {
            driver: Arc::new(driver),
            dice: OnceLock::new(),
            markers_cleared: AtomicU64::new(0),
        }))
    }

    /// Runs `body` in a transaction and commits it, again if it conflicted or its answer was lost,
    /// until it is durable. It takes effect once, however often it runs.
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
        self.retry(name, body, Mode { read_only: false, at: None }).await
    }

    /// As [`Self::run`], with a first attempt that reads at `version`, which another transaction of
    /// this store read at: on a cluster this saves asking for one. It conflicts with what was written
    /// since, and then reads at the latest.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_at<T, E, F, Fut>(
        &self,
        name: &'static str,
        version: &ReadVersion,
        body: F,
    ) -> Result<T, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        self.retry(name, body, Mode { read_only: false, at: Some(version.0.clone()) }).await
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
        self.retry(name, body, Mode { read_only: true, at: None }).await
    }

    /// The whole database as it is now, unchanging, for as long as it is held.
    ///
    /// # Errors
    /// What a read can answer.
    pub async fn freeze(&self) -> Result<Frozen, StoreError> {
        Frozen::of(&self.0.driver).await
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
        self.0.driver.shutdown().await;
    }

    async fn retry<T, E, F, Fut>(&self, name: &'static str, mut body: F, mut mode: Mode) -> Result<T, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let mut backoff = Backoff::new(Instant::now());
        let mut marker = Marker::new();
        // The error of an attempt that failed while an earlier one was in doubt: its last word once
        // the earlier ones are known never to have committed.
        let mut verdict: Option<E> = None;
        loop {
            let ended = if verdict.is_some() {
                self.keep_out(&mut marker).await
            } else {
                self.attempt(&mut body, &mut mode, &mut marker).await
            };
            let error = match ended {
                Ended::Done(Some(value)) => return Ok(value),
                Ended::Found(claim) => return marker.settle(&claim).map_or_else(|| last_word(verdict), Ok),
                Ended::Done(None) => return last_word(verdict),
                Ended::Failed(error) if marker.is_in_doubt() => {
                    verdict = Some(error);
                    continue;
                }
                Ended::Failed(error) => return Err(error),
                Ended::Retry(error) => error,
                Ended::Unsettled(error) => return Err(error.into()),
            };
            self.pause(name, &mut backoff, &marker, error).await?;
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn pause<T>(
        &self,
        name: &'static str,
        backoff: &mut Backoff,
        marker: &Marker<T>,
        last: StoreError,
    ) -> Result<(), StoreError> {
        let Some(pause) = backoff.after_failure(Instant::now(), self.fraction()) else {
            metrics::retries_exhausted(name);
            if marker.is_in_doubt() {
                return Err(StoreError::CommitUnknown {
                    place: self.0.driver.place().to_owned(),
                    reason: format!("{name:?} was tried for 20 s; last: {last}"),
                });
            }
            // No contention: whoever asks learns that the cluster is away, and whom to ask about it.
            if matches!(last, StoreError::Unavailable { .. }) {
                return Err(last);
            }
            let attempts = backoff.attempts();
            return Err(StoreError::RetriesExhausted { name, attempts, last: Box::new(last) });
        };
        tracing::debug!(name, attempts = backoff.attempts(), error = %last, "retrying transaction");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// One attempt. [`Ended::Done`] holds the value, for the type's sake in an option.
    async fn attempt<T, E, F, Fut>(
        &self,
        body: &mut F,
        mode: &mut Mode,
        marker: &mut Marker<T>,
    ) -> Ended<Option<T>, E>
    where
        F: FnMut(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<StoreError>,
    {
        let work = match self.begin(mode, marker).await {
            Ok(work) => work,
            Err(ended) => return ended,
        };
        let (transaction, home) = Transaction::new(work);
        let result = body(transaction).await;
        let gathered = home.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut gathered) = gathered else { return failed(StoreError::TransactionEscaped) };
        self.0.driver.note_failed_reads(&gathered.work);
        match (result, gathered.work.admission().retry()) {
            (_, Some(error)) => Ended::Retry(error.clone()),
            (Err(error), None) => Ended::Failed(error),
            (Ok(value), None) => self.commit(gathered, Some(value), marker).await,
        }
    }

    /// Begins an attempt. Whether an earlier one has committed is read in the attempt's own transaction: an
    /// earlier one that commits after that look is then written over what this one has read, and one of
    /// the two loses.
    async fn begin<T, E: From<StoreError>>(
        &self,
        mode: &mut Mode,
        marker: &Marker<T>,
    ) -> Result<Work, Ended<Option<T>, E>> {
        let mut work = self.0.driver.begin(mode.read_only, mode.at.take()).await.map_err(failed)?;
        if marker.is_in_doubt() {
            let key = marker.key().expect("an attempt in doubt has claimed it");
            if let Some(claim) = work.get(key, true).await.map_err(failed)? {
                return Err(Ended::Found(claim));
            }
            let version = work.read_version().await.map_err(failed)?;
            if marker.may_be_cleared(version.marker_bucket()) {
                return Err(Ended::Unsettled(StoreError::CommitUnknown {
                    place: self.0.driver.place().to_owned(),
                    reason: "this process stood still until its idempotency marker was cleared".to_owned(),
                }));
            }
        }
        Ok(work)
    }

    /// Commits what was `gathered`, whose closure returned `value`.
    async fn commit<T, E: From<StoreError>>(
        &self,
        mut gathered: Gathered,
        value: Option<T>,
        marker: &mut Marker<T>,
    ) -> Ended<Option<T>, E> {
        let driver = &self.0.driver;
        let claims = driver.loses_answers() && (marker.is_in_doubt() || !gathered.work.writes_nothing());
        let mut bucket = None;
        if claims {
            if let Err(error) = gathered.work.admission().check_alive() {
                return failed(error);
            }
            let version = match gathered.work.read_version().await {
                Ok(version) => version,
                Err(error) => return failed(error),
            };
            let newest = version.marker_bucket();
            bucket = Some(newest);
            let (key, claim) = marker.claim(newest, self.name());
            gathered.work.add_read_conflict(key, &crate::range::successor(key));
            gathered.work.set_stamped_value(key, claim);
        }
        match self.commit_work(gathered.work).await {
            Ok(stamp) => {
                tell(stamp, gathered.stamps);
                if let Some(bucket) = bucket {
                    self.clear_old_markers(bucket).await;
                }
                Ended::Done(value)
            }
            Err(error @ StoreError::CommitUnknown { .. }) if claims => {
                marker.doubt(value, gathered.stamps);
                Ended::Retry(error)
            }
            Err(error) => failed(error),
        }
    }

    async fn commit_work(&self, work: Work) -> Result<Option<Versionstamp>, StoreError> {
        match self.0.dice.get() {
            Some(dice) if !work.writes_nothing() => dice.roll().commit(&self.0.driver, work).await,
            _ => self.0.driver.commit(work).await,
        }
    }

    /// Random bytes that no other run has.
    fn name(&self) -> [u8; 16] {
        self.0.dice.get().map_or_else(rand::random, FaultDice::name)
    }

    /// A random number from 0 to 1, for the pauses between attempts.
    fn fraction(&self) -> f64 {
        self.0.dice.get().map_or_else(rand::random, FaultDice::fraction)
    }

    /// Claims the marker and nothing else, so that no attempt in doubt can commit any more.
    async fn keep_out<T, E: From<StoreError>>(&self, marker: &mut Marker<T>) -> Ended<Option<T>, E> {
        match self.begin(&mut Mode { read_only: false, at: None }, marker).await {
            Ok(work) => self.commit(Gathered { work, stamps: Vec::new() }, None, marker).await,
            Err(ended) => ended,
        }
    }

    /// Clears the markers that nobody can need any more, once a bucket.
    async fn clear_old_markers(&self, bucket: u64) {
        if self.0.markers_cleared.fetch_max(bucket, Ordering::Relaxed) >= bucket {
            return;
        }
        let Ok(mut work) = self.0.driver.begin(false, None).await else { return };
        for (begin, end) in outdated(bucket) {
            work.clear_range(&begin, &end);
        }
        if let Err(error) = self.0.driver.commit(work).await {
            tracing::debug!(%error, "old idempotency markers stay until the next minute");
        }
    }
}

fn failed<T, E: From<StoreError>>(error: StoreError) -> Ended<T, E> {
    if error.is_retryable() { Ended::Retry(error) } else { Ended::Failed(error.into()) }
}

/// What a run ends with that only kept its earlier attempts from committing.
fn last_word<T, E>(verdict: Option<E>) -> Result<T, E> {
    Err(verdict.expect("only a run that has failed keeps its attempts out"))
}

fn tell(stamp: Option<Versionstamp>, asked: Vec<tokio::sync::oneshot::Sender<Versionstamp>>) {
    let Some(stamp) = stamp else { return };
    for sender in asked {
        // Whoever asked may not care any more.
        let _ = sender.send(stamp);
    }
}
