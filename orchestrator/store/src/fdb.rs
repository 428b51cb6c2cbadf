//! The FoundationDB driver: the store's keys under a prefix of a cluster.
//!
//! The cluster decides who wins; the client library's own retry loop is not used, because it forgets
//! that a commit once went unanswered. `work` is one transaction, `network` the library's thread.

mod network;
mod work;

pub(crate) use work::{FdbWatch, Work};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use foundationdb::options::{DatabaseOption, TransactionOption};
use foundationdb::{Database, FdbError};
use tokio::time::Instant;

use crate::admission::Admission;
use crate::error::{OpenError, StoreError};
use crate::limits::MAX_WATCHES;
use crate::metrics;
use crate::versionstamp::{VERSIONSTAMP_BYTES, Versionstamp};

/// How long the cluster may take to answer when it is first asked.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one transaction may take with all its reads and its commit. Longer than a transaction may
/// live, so that it is the cluster who says that it is too old.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(7);
/// Watches the library is asked for beyond ours, which we count before it does.
const SPARE_WATCHES: i32 = 1_000;

/// Error codes of the client library that have a meaning here.
mod code {
    pub(super) const TRANSACTION_TOO_OLD: i32 = 1007;
    pub(super) const NOT_COMMITTED: i32 = 1020;
    pub(super) const COMMIT_UNKNOWN_RESULT: i32 = 1021;
    pub(super) const TRANSACTION_TIMED_OUT: i32 = 1031;
    pub(super) const ACCESSED_UNREADABLE: i32 = 1036;
    pub(super) const CLUSTER_VERSION_CHANGED: i32 = 1039;
    pub(super) const TRANSACTION_TOO_LARGE: i32 = 2101;
}

/// A cluster, and which part of it is ours.
pub(crate) struct Cluster {
    database: Database,
    prefix: Arc<[u8]>,
    place: Arc<str>,
    watches: Arc<AtomicUsize>,
    closed: AtomicBool,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        network::stop_at_exit();
    }
}

impl Cluster {
    /// Connects to the cluster of `cluster_file` and asks it for a version.
    pub(crate) async fn open(cluster_file: &Path, prefix: &[u8]) -> Result<Self, OpenError> {
        let refuse = |reason: String| OpenError::Cluster { path: cluster_file.to_owned(), reason };
        // The library says of a missing file no more than that something failed.
        std::fs::read_to_string(cluster_file).map_err(|error| refuse(error.to_string()))?;
        network::start().map_err(&refuse)?;
        let of_library = |error: FdbError| refuse(format!("{} ({})", error.message(), error.code()));
        let path = cluster_file.to_str().ok_or_else(|| refuse("its path is not UTF-8".to_owned()))?;
        let database = Database::from_path(path).map_err(of_library)?;
        let most = i32::try_from(MAX_WATCHES).unwrap_or(i32::MAX).saturating_add(SPARE_WATCHES);
        database.set_option(DatabaseOption::MaxWatches(most)).map_err(of_library)?;
        let probe = database.create_trx().map_err(of_library)?;
        let patience = i32::try_from(OPEN_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        probe.set_option(TransactionOption::Timeout(patience)).map_err(of_library)?;
        let answered = probe.get_read_version().await;
        network::stop_at_exit();
        answered.map_err(of_library)?;
        Ok(Self {
            database,
            prefix: prefix.into(),
            place: format!("FoundationDB cluster of {path}").into(),
            watches: Arc::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// A transaction that reads at `at`, or at the latest version. The library would ask for that at the
    /// first read only, and a conflict range added before would not count from here on; a transaction
    /// needs a version in any case, so asking now costs nothing.
    pub(crate) async fn begin(&self, read_only: bool, at: Option<i64>) -> Result<Work, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        let refuse = |error: FdbError| self.error_of(error);
        let transaction = self.database.create_trx().map_err(refuse)?;
        let patience = i32::try_from(TRANSACTION_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        transaction.set_option(TransactionOption::Timeout(patience)).map_err(refuse)?;
        match at {
            Some(version) => transaction.set_read_version(version),
            None => drop(transaction.get_read_version().await.map_err(refuse)?),
        }
        let admission = Admission::new(Instant::now(), read_only);
        Ok(Work::new(transaction, admission, self.prefix.clone(), self.place.clone(), self.watches.clone()))
    }

    /// Commits; the versionstamp if it was wanted and there was anything to write.
    pub(crate) async fn commit(&self, mut work: Work) -> Result<Option<Versionstamp>, StoreError> {
        work.admission.check_alive()?;
        let asked = Instant::now();
        let stamp = work.take_versionstamp();
        let committed = work.into_transaction().commit().await;
        metrics::commit_answered(asked.elapsed());
        let committed = committed.map_err(|failure| self.commit_error(*failure))?;
        let stamp = match stamp {
            Some(stamp) if committed.committed_version().is_ok_and(|version| version >= 0) => {
                stamp.await.ok().and_then(|bytes| <[u8; VERSIONSTAMP_BYTES]>::try_from(&bytes[..]).ok())
            }
            _ => None,
        };
        Ok(stamp.map(Versionstamp::from_bytes))
    }

    fn commit_error(&self, error: FdbError) -> StoreError {
        let unknown = error.is_maybe_committed()
            || matches!(
                error.code(),
                code::COMMIT_UNKNOWN_RESULT | code::TRANSACTION_TIMED_OUT | code::CLUSTER_VERSION_CHANGED
            );
        if unknown {
            return StoreError::CommitUnknown {
                place: self.place.to_string(),
                reason: error.message().to_owned(),
            };
        }
        let error = self.error_of(error);
        match error {
            StoreError::Conflict => metrics::conflict(),
            StoreError::TransactionTooOld => metrics::too_old(),
            _ => {}
        }
        error
    }

    fn error_of(&self, error: FdbError) -> StoreError {
        store_error(error, &self.place)
    }

    /// Takes no further transaction.
    pub(crate) fn shutdown(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// What the store calls itself.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

/// What an error of the library means to a user of the store, but for commits without an answer.
fn store_error(error: FdbError, place: &str) -> StoreError {
    let place = place.to_owned();
    let reason = || format!("{} ({})", error.message(), error.code());
    match error.code() {
        code::NOT_COMMITTED => StoreError::Conflict,
        code::TRANSACTION_TOO_OLD => StoreError::TransactionTooOld,
        code::ACCESSED_UNREADABLE => StoreError::Unreadable,
        code::TRANSACTION_TOO_LARGE => StoreError::TransactionTooLarge,
        code::TRANSACTION_TIMED_OUT => StoreError::Unavailable { place, reason: reason() },
        _ if error.is_retryable() => StoreError::Unavailable { place, reason: reason() },
        _ => StoreError::Io { place, reason: reason() },
    }
}
