//! A transaction as its user sees it: reads at one version, writes that nobody sees until commit.
//!
//! It asks [`Admission`](crate::admission) and hands on to the driver; it decides nothing and does not
//! commit itself. It is handed to a closure by value, because only then is the closure's future `Send`
//! whatever it captures; when the closure drops it, what it gathered goes back home to whoever commits.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::admission::{Admission, check_bounds, check_key};
use crate::atomic::AtomicOp;
use crate::driver::{DriverVersion, Work};
use crate::error::StoreError;
use crate::range::successor;
use crate::versionstamp::{PendingVersionstamp, Template, Versionstamp};
use crate::watch::Watch;

/// A serializable transaction. See [`crate::Database::run`].
///
/// Writes are refused late: a key or value over its limit, an inverted range or too large a
/// transaction shows as the error of the next read, or of the commit.
pub struct Transaction {
    /// `None` only while it is being dropped.
    gathered: Option<Gathered>,
    home: Arc<Home>,
}

/// What a transaction leaves behind.
pub(crate) struct Gathered {
    pub(crate) work: Work,
    /// Who wants to know its versionstamp.
    pub(crate) stamps: Vec<oneshot::Sender<Versionstamp>>,
}

/// Where a dropped transaction leaves what it gathered.
pub(crate) type Home = Mutex<Option<Gathered>>;

/// A version of the database, to begin further transactions at: see [`crate::Database::run_at`].
///
/// It is good for [`crate::limits::TRANSACTION_LIFETIME`] after the transaction it came from began.
#[derive(Clone)]
pub struct ReadVersion(pub(crate) DriverVersion);

impl std::fmt::Debug for ReadVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReadVersion").field(&self.0.number()).finish()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.gathered.take();
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(work: Work) -> (Self, Arc<Home>) {
        let home = Arc::new(Mutex::new(None));
        (Self { gathered: Some(Gathered { work, stamps: Vec::new() }), home: home.clone() }, home)
    }

    fn gathered(&mut self) -> &mut Gathered {
        self.gathered.as_mut().expect("it leaves a transaction only in its drop")
    }

    fn work(&mut self) -> &mut Work {
        &mut self.gathered().work
    }

    fn admission(&mut self) -> &mut Admission {
        self.work().admission()
    }

    /// Version of the database this transaction reads.
    ///
    /// # Errors
    /// What a read can answer.
    pub async fn read_version(&mut self) -> Result<ReadVersion, StoreError> {
        self.admission().check_alive()?;
        self.work().read_version().await.map(ReadVersion)
    }

    /// Value of `key`, own writes included. Conflicts with later writes of it.
    ///
    /// # Errors
    /// A limit, [`StoreError::TransactionTooOld`], [`StoreError::Unreadable`], [`StoreError::Io`], or
    /// [`StoreError::Unavailable`].
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(key, true).await
    }

    /// As [`Self::get`], without conflicting: the value may be overwritten before the commit.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn snapshot_get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(key, false).await
    }

    async fn read(&mut self, key: &[u8], conflict: bool) -> Result<Option<Bytes>, StoreError> {
        tokio::task::coop::consume_budget().await;
        self.admission().check_read(key)?;
        self.work().get(key, conflict).await
    }

    /// At most `limit` rows of `[begin, end)`, own writes included, in key order or, if `reverse`,
    /// downwards from the end. Conflicts with later writes in what was consumed: up to and with
    /// the last row returned if `limit` was reached, else the whole range.
    ///
    /// # Errors
    /// [`StoreError::InvertedRange`], else as [`Self::get`].
    pub async fn get_range(
        &mut self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.range(begin, end, limit, reverse, true).await
    }

    /// As [`Self::get_range`], without conflicting.
    ///
    /// # Errors
    /// As [`Self::get_range`].
    pub async fn snapshot_get_range(
        &mut self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.range(begin, end, limit, reverse, false).await
    }

    async fn range(
        &mut self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
        conflict: bool,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        tokio::task::coop::consume_budget().await;
        self.admission().check_range(begin, end)?;
        if limit == 0 || begin == end {
            return Ok(Vec::new());
        }
        self.work().get_range(begin, end, limit, reverse, conflict).await
    }

    /// Gives `key` this value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        if self.admission().admit_write(key, value.len()) {
            self.work().set(key, value);
        }
    }

    /// Removes `key`.
    pub fn clear(&mut self, key: &[u8]) {
        if self.admission().admit_write(key, 0) {
            self.work().clear(key);
        }
    }

    /// Removes all keys of `[begin, end)`.
    pub fn clear_range(&mut self, begin: &[u8], end: &[u8]) {
        if self.admission().admit_range_write(begin, end) {
            self.work().clear_range(begin, end);
        }
    }

    /// Does `op` to the value of `key`, without reading it: such writes do not conflict with each
    /// other.
    pub fn atomic(&mut self, op: AtomicOp, key: &[u8], operand: &[u8]) {
        if self.admission().admit_write(key, operand.len()) {
            self.work().atomic(op, key, operand);
        }
    }

    /// Adds `delta` to the little-endian 64-bit number at `key`, without reading it. An absent value
    /// counts as 0; the sum wraps.
    pub fn atomic_add(&mut self, key: &[u8], delta: i64) {
        self.atomic(AtomicOp::Add, key, &delta.to_le_bytes());
    }

    /// Gives a key this value whose bytes from `offset` on, ten of them, become the commit's
    /// versionstamp: each commit makes a new key, later ones after earlier ones.
    pub fn set_versionstamped_key(&mut self, key: &[u8], offset: usize, value: &[u8]) {
        match Template::new(key, offset) {
            Ok(template) => {
                if self.admission().admit_write(key, value.len()) {
                    self.work().set_stamped_key(template, value);
                }
            }
            Err(error) => self.admission().refuse(error),
        }
    }

    /// Gives `key` a value whose bytes from `offset` on, ten of them, become the commit's versionstamp.
    pub fn set_versionstamped_value(&mut self, key: &[u8], value: &[u8], offset: usize) {
        match Template::new(value, offset) {
            Ok(template) => {
                if self.admission().admit_write(key, value.len()) {
                    self.work().set_stamped_value(key, template);
                }
            }
            Err(error) => self.admission().refuse(error),
        }
    }

    /// The versionstamp this transaction will have; await it after the commit.
    pub fn versionstamp(&mut self) -> PendingVersionstamp {
        let (sender, receiver) = oneshot::channel();
        let gathered = self.gathered();
        if gathered.stamps.is_empty() {
            gathered.work.want_versionstamp();
        }
        gathered.stamps.push(sender);
        PendingVersionstamp(receiver)
    }

    /// Conflicts with later writes of `key`, as if it had been read.
    pub fn add_read_conflict_key(&mut self, key: &[u8]) {
        self.add_read_conflict_range(key, &successor(key));
    }

    /// Conflicts with later writes in `[begin, end)`, as if it had been read.
    pub fn add_read_conflict_range(&mut self, begin: &[u8], end: &[u8]) {
        match check_bounds(begin, end) {
            Ok(()) => self.work().add_read_conflict(begin, end),
            Err(error) => self.admission().refuse(error),
        }
    }

    /// Makes others who read `key` conflict, as if it had been written.
    pub fn add_write_conflict_key(&mut self, key: &[u8]) {
        self.add_write_conflict_range(key, &successor(key));
    }

    /// Makes others who read in `[begin, end)` conflict, as if it had been written.
    pub fn add_write_conflict_range(&mut self, begin: &[u8], end: &[u8]) {
        if self.admission().admit_range_write(begin, end) {
            self.work().add_write_conflict(begin, end);
        }
    }

    /// A watch on `key`, armed if this transaction commits, with the value it leaves there. It
    /// misses no change after what this transaction could read. Conflicts with later writes of `key`, as a
    /// read does.
    ///
    /// Over [`crate::limits::MAX_WATCHES`] the transaction does not commit and the watch answers
    /// [`StoreError::TooManyWatches`].
    pub fn watch(&mut self, key: &[u8]) -> Watch {
        match check_key(key) {
            Ok(()) => self.work().watch(key),
            Err(error) => {
                self.admission().refuse(error.clone());
                Watch::refused(error)
            }
        }
    }
}
