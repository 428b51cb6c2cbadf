//! What a transaction gathers: its reads and writes, and whether it may still go on.
//!
//! The inside of [`crate::Transaction`], apart from it because it outlives it: the commit takes it
//! over. It enforces the limits; it decides nothing about conflicts.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::buffer::{Lookup, WriteBuffer, add};
use crate::committer::WatchBase;
use crate::conflicts::{ConflictRanges, successor};
use crate::error::StoreError;
use crate::limits::{
    KEYSPACE_END, MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, SCAN_CHUNK_ROWS, TRANSACTION_LIFETIME,
};
use crate::published::SnapshotCell;
use crate::storage::StorageFailure;
use crate::watch::{Ticket, WatchRegistry};

/// What a transaction gathered.
pub(crate) struct Work {
    pub(crate) snapshot: Arc<SnapshotCell>,
    pub(crate) began: Instant,
    pub(crate) read_only: bool,
    pub(crate) buffer: WriteBuffer,
    pub(crate) reads: ConflictRanges,
    pub(crate) extra_writes: ConflictRanges,
    pub(crate) watches: Vec<Ticket>,
    pub(crate) bytes: usize,
    /// First write that was refused.
    pub(crate) refused: Option<StoreError>,
    /// A read that failed in a way worth retrying.
    pub(crate) retry: Option<StoreError>,
    /// A read failed because of the file, not of the transaction.
    pub(crate) file_failed: bool,
    pub(crate) registry: Arc<WatchRegistry>,
    pub(crate) path: Arc<Path>,
}

impl Work {
    /// Fails if the transaction can no longer read or commit.
    pub(crate) fn check_alive(&mut self) -> Result<(), StoreError> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        if self.began.elapsed() > TRANSACTION_LIFETIME {
            return Err(self.fail(StoreError::TransactionTooOld));
        }
        Ok(())
    }

    pub(crate) fn check_range(&mut self, begin: &[u8], end: &[u8]) -> Result<(), StoreError> {
        self.check_alive()?;
        check_bounds(begin, end)
    }

    pub(crate) fn refuse(&mut self, error: StoreError) {
        self.refused.get_or_insert(error);
    }

    /// Counts a write of `key`; `false` if it is refused.
    pub(crate) fn admit_write(&mut self, key: &[u8], value_bytes: usize) -> bool {
        if let Err(error) = check_key(key) {
            self.refuse(error);
        }
        self.admit_bytes(key.len() + value_bytes)
    }

    pub(crate) fn admit_bytes(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.read_only {
            self.refuse(StoreError::WriteInReadOnly);
        }
        if self.bytes > MAX_TRANSACTION_BYTES {
            self.refuse(StoreError::TransactionTooLarge);
        }
        self.refused.is_none()
    }

    pub(crate) fn note_read_key(&mut self, key: &[u8]) {
        if !self.read_only {
            self.bytes += self.reads.add_key(key);
            self.check_size();
        }
    }

    pub(crate) fn note_read_range(&mut self, begin: &[u8], end: &[u8]) {
        if !self.read_only {
            self.bytes += self.reads.add_range(begin, end);
            self.check_size();
        }
    }

    pub(crate) fn check_size(&mut self) {
        if self.bytes > MAX_TRANSACTION_BYTES {
            self.refuse(StoreError::TransactionTooLarge);
        }
    }

    /// Marks an error that the retry loop is to act on.
    pub(crate) fn fail(&mut self, error: StoreError) -> StoreError {
        if error.is_retryable() {
            self.retry = Some(error.clone());
        }
        error
    }

    pub(crate) fn fail_storage(&mut self, failure: StorageFailure) -> StoreError {
        self.file_failed = true;
        match failure {
            StorageFailure::Closed => self.fail(StoreError::TransactionTooOld),
            other => other.into_error(&self.path),
        }
    }

    pub(crate) fn get(&mut self, key: &[u8], conflict: bool) -> Result<Option<Bytes>, StoreError> {
        self.check_alive()?;
        check_key(key)?;
        let delta = match self.buffer.lookup(key) {
            Lookup::Known(value) => return Ok(value),
            Lookup::Added(delta) => Some(delta),
            Lookup::Unknown => None,
        };
        let snapshot = self.snapshot.data().map_err(|error| self.fail(error))?;
        let value = snapshot.get(key).map_err(|failure| self.fail_storage(failure))?;
        if conflict {
            self.note_read_key(key);
        }
        Ok(match delta {
            Some(delta) => Some(add(value.as_deref(), delta)),
            None => value,
        })
    }

    /// Reads the next rows of `[from, to)` and moves its near bound past what has been read.
    pub(crate) fn scan_chunk(
        &mut self,
        from: &mut Vec<u8>,
        to: &mut Vec<u8>,
        wanted: usize,
        reverse: bool,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.check_alive()?;
        let count = wanted.min(SCAN_CHUNK_ROWS);
        let snapshot = self.snapshot.data().map_err(|error| self.fail(error))?;
        let rows = snapshot.scan(from, to, count, reverse).map_err(|failure| self.fail_storage(failure))?;
        let last = if rows.len() < count { None } else { rows.last().map(|(key, _)| key.to_vec()) };
        let (chunk_from, chunk_to) = match (last, reverse) {
            (None, false) => (std::mem::replace(from, to.clone()), to.clone()),
            (None, true) => (from.clone(), std::mem::replace(to, from.clone())),
            (Some(last), false) => {
                let next = successor(&last);
                (std::mem::replace(from, next.clone()), next)
            }
            (Some(last), true) => (last.clone(), std::mem::replace(to, last)),
        };
        Ok(self.buffer.overlay(rows, &chunk_from, &chunk_to, reverse))
    }

    /// What each watch starts from, for the committer, or for arming it directly.
    pub(crate) fn take_watches(&mut self) -> Result<Vec<(Ticket, WatchBase)>, StoreError> {
        let mut based = Vec::with_capacity(self.watches.len());
        for ticket in std::mem::take(&mut self.watches) {
            let base = if self.buffer.lookup(&ticket.key) == Lookup::Unknown {
                let snapshot = self.snapshot.data().map_err(|error| self.fail(error))?;
                WatchBase::Seen(snapshot.get(&ticket.key).map_err(|failure| self.fail_storage(failure))?)
            } else {
                WatchBase::Own
            };
            based.push((ticket, base));
        }
        Ok(based)
    }
}

/// Refuses a key beyond a limit.
pub(crate) fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(StoreError::KeyTooLarge { length: key.len() });
    }
    if key >= KEYSPACE_END { Err(StoreError::KeyOutsideKeyspace) } else { Ok(()) }
}

/// Refuses a range that is inverted or beyond a limit.
pub(crate) fn check_bounds(begin: &[u8], end: &[u8]) -> Result<(), StoreError> {
    if begin > end {
        return Err(StoreError::InvertedRange);
    }
    // A bound may be one byte longer than a key: the successor of the longest key.
    if let Some(length) = [begin.len(), end.len()].into_iter().find(|length| *length > MAX_KEY_BYTES + 1) {
        return Err(StoreError::KeyTooLarge { length });
    }
    if end > KEYSPACE_END { Err(StoreError::KeyOutsideKeyspace) } else { Ok(()) }
}
