//! A transaction as its user sees it: reads at one version, writes that nobody sees until commit.
//!
//! It gathers what the resolver will compare and what the committer will write; it decides nothing
//! and does not commit itself. It is handed to a closure by value, because only then is the
//! closure's future `Send` whatever it captures; when the closure drops it, what it gathered goes
//! back home to whoever commits.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::buffer::WriteBuffer;
use crate::conflicts::{ConflictRanges, successor};
use crate::error::StoreError;
use crate::limits::MAX_VALUE_BYTES;
use crate::published::SnapshotCell;
use crate::storage::Row;
use crate::watch::{Watch, WatchRegistry};
use crate::work::{Work, check_bounds, check_key};

/// A serializable transaction. See [`crate::Database::run`].
///
/// Writes are refused late: a key or value over its limit, an inverted range or too large a
/// transaction shows as the error of the next read, or of the commit.
pub struct Transaction {
    /// `None` only while it is being dropped.
    work: Option<Box<Work>>,
    home: Arc<Home>,
}

/// Where a dropped transaction leaves its work.
pub(crate) type Home = Mutex<Option<Box<Work>>>;

impl Drop for Transaction {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.work.take();
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn begin(
        snapshot: Arc<SnapshotCell>,
        registry: Arc<WatchRegistry>,
        path: Arc<Path>,
        read_only: bool,
    ) -> (Self, Arc<Home>) {
        let work = Work {
            snapshot,
            began: Instant::now(),
            read_only,
            buffer: WriteBuffer::default(),
            reads: ConflictRanges::default(),
            extra_writes: ConflictRanges::default(),
            watches: Vec::new(),
            bytes: 0,
            refused: None,
            retry: None,
            file_failed: false,
            registry,
            path,
        };
        let home = Arc::new(Mutex::new(None));
        (Self { work: Some(Box::new(work)), home: home.clone() }, home)
    }

    fn work(&mut self) -> &mut Work {
        self.work.as_mut().expect("work leaves a transaction only in its drop")
    }

    /// Version of the database this transaction reads.
    pub fn read_version(&self) -> u64 {
        self.work.as_ref().expect("work leaves a transaction only in its drop").snapshot.version()
    }

    /// Value of `key`, own writes included. Conflicts with later writes of it.
    ///
    /// # Errors
    /// A limit, [`StoreError::TransactionTooOld`], or [`StoreError::Io`].
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        tokio::task::coop::consume_budget().await;
        self.work().get(key, true)
    }

    /// As [`Self::get`], without conflicting: the value may be overwritten before the commit.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn snapshot_get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        tokio::task::coop::consume_budget().await;
        self.work().get(key, false)
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
        let work = self.work();
        work.check_range(begin, end)?;
        let (mut from, mut to) = (begin.to_vec(), end.to_vec());
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit && from < to {
            let chunk = work.scan_chunk(&mut from, &mut to, limit - rows.len(), reverse)?;
            rows.extend(chunk);
            if from < to {
                tokio::task::yield_now().await;
            }
        }
        rows.truncate(limit);
        if conflict && limit > 0 {
            let last = rows.last().filter(|_| rows.len() == limit).map(|(key, _)| key.clone());
            let (consumed_from, consumed_to) = match (&last, reverse) {
                (None, _) => (begin.to_vec(), end.to_vec()),
                (Some(last), false) => (begin.to_vec(), successor(last)),
                (Some(last), true) => (last.to_vec(), end.to_vec()),
            };
            work.note_read_range(&consumed_from, &consumed_to);
        }
        Ok(rows)
    }

    /// Gives `key` this value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        let work = self.work();
        if value.len() > MAX_VALUE_BYTES {
            work.refuse(StoreError::ValueTooLarge { length: value.len() });
        }
        if work.admit_write(key, value.len()) {
            work.buffer.set(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
    }

    /// Removes `key`.
    pub fn clear(&mut self, key: &[u8]) {
        let work = self.work();
        if work.admit_write(key, 0) {
            work.buffer.clear(Bytes::copy_from_slice(key));
        }
    }

    /// Removes all keys of `[begin, end)`.
    pub fn clear_range(&mut self, begin: &[u8], end: &[u8]) {
        let work = self.work();
        if let Err(error) = check_bounds(begin, end) {
            return work.refuse(error);
        }
        if work.admit_bytes(begin.len() + end.len()) {
            work.buffer.clear_range(Bytes::copy_from_slice(begin), Bytes::copy_from_slice(end));
        }
    }

    /// Adds `delta` to the little-endian 64-bit number at `key`, without reading it: additions do
    /// not conflict with each other. An absent value counts as 0; the sum wraps.
    pub fn atomic_add(&mut self, key: &[u8], delta: i64) {
        let work = self.work();
        if work.admit_write(key, size_of::<i64>()) {
            work.buffer.add(Bytes::copy_from_slice(key), delta);
        }
    }

    /// Conflicts with later writes of `key`, as if it had been read.
    pub fn add_read_conflict_key(&mut self, key: &[u8]) {
        let work = self.work();
        match check_key(key) {
            Ok(()) => work.note_read_key(key),
            Err(error) => work.refuse(error),
        }
    }

    /// Conflicts with later writes in `[begin, end)`, as if it had been read.
    pub fn add_read_conflict_range(&mut self, begin: &[u8], end: &[u8]) {
        let work = self.work();
        match check_bounds(begin, end) {
            Ok(()) => work.note_read_range(begin, end),
            Err(error) => work.refuse(error),
        }
    }

    /// Makes others who read `key` conflict, as if it had been written.
    pub fn add_write_conflict_key(&mut self, key: &[u8]) {
        let work = self.work();
        if work.admit_write(key, 0) {
            work.extra_writes.add_key(key);
        }
    }

    /// A watch on `key`, armed if this transaction commits, with the value it leaves there. It
    /// misses no change after what this transaction could read.
    ///
    /// Over [`crate::limits::MAX_WATCHES`] the transaction does not commit and the watch answers
    /// [`StoreError::TooManyWatches`].
    pub fn watch(&mut self, key: &[u8]) -> Watch {
        let work = self.work();
        let made = check_key(key).and_then(|()| work.registry.make(key));
        match made {
            Ok((watch, ticket)) => {
                work.watches.push(ticket);
                watch
            }
            Err(error) => {
                work.refuse(error.clone());
                Watch::refused(error)
            }
        }
    }
}
