//! One transaction on a cluster: the store's calls as the client library takes them.
//!
//! Keys get the prefix on their way in and lose it on their way out. Limits have been checked before.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use foundationdb::future::FdbSlice;
use foundationdb::options::{ConflictRangeType, MutationType, StreamingMode};
use foundationdb::{FdbError, FdbResult, KeySelector, RangeOption, Transaction};

use super::store_error;
use crate::admission::{Admission, key_conflict_bytes, range_conflict_bytes};
use crate::atomic::AtomicOp;
use crate::error::StoreError;
use crate::limits::MAX_WATCHES;
use crate::local::storage::Row;
use crate::metrics;
use crate::versionstamp::Template;
use crate::watch::Watch;

type StampFuture = Pin<Box<dyn Future<Output = FdbResult<FdbSlice>> + Send + Sync>>;

/// What a transaction gathered; the library holds the rest.
pub(crate) struct Work {
    transaction: Transaction,
    pub(crate) admission: Admission,
    prefix: Arc<[u8]>,
    place: Arc<str>,
    watches: Arc<AtomicUsize>,
    writes: bool,
    stamp: Option<StampFuture>,
}

impl Work {
    pub(super) fn new(
        transaction: Transaction,
        admission: Admission,
        prefix: Arc<[u8]>,
        place: Arc<str>,
        watches: Arc<AtomicUsize>,
    ) -> Self {
        Self { transaction, admission, prefix, place, watches, writes: false, stamp: None }
    }

    pub(super) fn into_transaction(self) -> Transaction {
        self.transaction
    }

    pub(super) fn take_versionstamp(&mut self) -> Option<StampFuture> {
        self.stamp.take()
    }

    pub(crate) fn writes_nothing(&self) -> bool {
        !self.writes
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn fail(&mut self, error: FdbError) -> StoreError {
        let error = store_error(error, &self.place);
        self.admission.fail(error)
    }

    pub(crate) async fn read_version(&mut self) -> Result<i64, StoreError> {
        self.transaction.get_read_version().await.map_err(|error| self.fail(error))
    }

    pub(crate) async fn get(&mut self, key: &[u8], conflict: bool) -> Result<Option<Bytes>, StoreError> {
        let found = self.transaction.get(&self.key(key), !conflict).await;
        let found = found.map_err(|error| self.fail(error))?;
        if conflict {
            self.count_read(key_conflict_bytes(key));
        }
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(crate) async fn get_range(
        &mut self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
        conflict: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let whole = i32::try_from(limit).is_err();
        let mut option = RangeOption {
            begin: KeySelector::first_greater_or_equal(self.key(begin)),
            end: KeySelector::first_greater_or_equal(self.key(end)),
            limit: (!whole).then_some(limit),
            mode: if whole { StreamingMode::WantAll } else { StreamingMode::Exact },
            reverse,
            ..RangeOption::default()
        };
        let mut rows = Vec::new();
        for iteration in 1.. {
            self.admission.check_alive()?;
            let found = self.transaction.get_range(&option, iteration, !conflict).await;
            let found = found.map_err(|error| self.fail(error))?;
            rows.extend(found.iter().map(|row| {
                (Bytes::copy_from_slice(&row.key()[self.prefix.len()..]), Bytes::copy_from_slice(row.value()))
            }));
            match option.next_range(&found) {
                Some(next) => option = next,
                None => break,
            }
        }
        if conflict {
            self.count_read(range_conflict_bytes(begin, end));
        }
        Ok(rows)
    }

    fn count_read(&mut self, bytes: usize) {
        if !self.admission.is_read_only() {
            self.admission.count(bytes);
        }
    }

    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) {
        self.writes = true;
        self.transaction.set(&self.key(key), value);
    }

    pub(crate) fn clear(&mut self, key: &[u8]) {
        self.writes = true;
        self.transaction.clear(&self.key(key));
    }

    pub(crate) fn clear_range(&mut self, begin: &[u8], end: &[u8]) {
        self.writes = true;
        self.transaction.clear_range(&self.key(begin), &self.key(end));
    }

    pub(crate) fn atomic(&mut self, op: AtomicOp, key: &[u8], operand: &[u8]) {
        let op = match op {
            AtomicOp::Add => MutationType::Add,
            AtomicOp::Max => MutationType::Max,
            AtomicOp::Min => MutationType::Min,
            AtomicOp::ByteMax => MutationType::ByteMax,
            AtomicOp::ByteMin => MutationType::ByteMin,
            AtomicOp::CompareAndClear => MutationType::CompareAndClear,
        };
        self.writes = true;
        self.transaction.atomic_op(&self.key(key), operand, op);
    }

    pub(crate) fn set_stamped_key(&mut self, key: Template, value: &[u8]) {
        self.writes = true;
        let key = key.with_offset(&self.prefix);
        self.transaction.atomic_op(&key, value, MutationType::SetVersionstampedKey);
    }

    pub(crate) fn set_stamped_value(&mut self, key: &[u8], value: Template) {
        self.writes = true;
        let value = value.with_offset(&[]);
        self.transaction.atomic_op(&self.key(key), &value, MutationType::SetVersionstampedValue);
    }

    pub(crate) fn want_versionstamp(&mut self) {
        self.stamp = Some(Box::pin(self.transaction.get_versionstamp()));
    }

    pub(crate) fn note_read_range(&mut self, begin: &[u8], end: &[u8]) {
        self.count_read(range_conflict_bytes(begin, end));
        self.add_conflict(begin, end, ConflictRangeType::Read);
    }

    pub(crate) fn add_write_conflict(&mut self, begin: &[u8], end: &[u8]) {
        self.writes = true;
        self.add_conflict(begin, end, ConflictRangeType::Write);
    }

    fn add_conflict(&mut self, begin: &[u8], end: &[u8], kind: ConflictRangeType) {
        if begin < end
            && let Err(error) = self.transaction.add_conflict_range(&self.key(begin), &self.key(end), kind)
        {
            let error = store_error(error, &self.place);
            self.admission.refuse(error);
        }
    }

    /// A watch on `key`, which the library arms at the commit.
    pub(crate) fn watch(&mut self, key: &[u8]) -> Watch {
        let permit = Permit::take(&self.watches);
        if permit.is_none() {
            self.admission.refuse(StoreError::TooManyWatches);
            return Watch::refused(StoreError::TooManyWatches);
        }
        Watch::fdb(FdbWatch { changed: Box::pin(self.transaction.watch(&self.key(key))), _permit: permit })
    }
}

/// A place among the bounded number of watches.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(watches: &Arc<AtomicUsize>) -> Option<Self> {
        let before = watches.fetch_add(1, Ordering::Relaxed);
        // Made before the check, so that its drop gives the place back.
        let permit = Self(watches.clone());
        (before < MAX_WATCHES).then(|| {
            metrics::watches(before + 1);
            permit
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        metrics::watches(self.0.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

/// A watch of the client library.
pub(crate) struct FdbWatch {
    changed: Pin<Box<dyn Future<Output = FdbResult<()>> + Send + Sync>>,
    _permit: Option<Permit>,
}

impl FdbWatch {
    /// Waits until it fires.
    pub(crate) async fn fired(&mut self) -> Result<(), StoreError> {
        self.changed.as_mut().await.map_err(|_| StoreError::WatchCancelled)
    }
}

impl std::fmt::Debug for FdbWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FdbWatch").finish_non_exhaustive()
    }
}
