//! What every driver asks before it takes a read or a write: whether the transaction may go on, and
//! whether keys, values, ranges and sizes are within FoundationDB's limits.
//!
//! Pure but for the clock of its lifetime. It is the same for every driver, so that a limit is met with
//! the same error at the same place on each of them.

use tokio::time::Instant;

use crate::error::StoreError;
use crate::limits::{
    KEYSPACE_END, MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES, TRANSACTION_LIFETIME,
};

/// The bounds of one transaction.
#[derive(Debug)]
pub(crate) struct Admission {
    began: Instant,
    read_only: bool,
    bytes: usize,
    /// First write that was refused.
    refused: Option<StoreError>,
    /// A read that failed in a way worth retrying.
    retry: Option<StoreError>,
}

impl Admission {
    pub(crate) fn new(now: Instant, read_only: bool) -> Self {
        Self { began: now, read_only, bytes: 0, refused: None, retry: None }
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Bytes written and conflict bounds so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The error that the retry loop is to act on, whatever its closure made of it.
    pub(crate) fn retry(&self) -> Option<&StoreError> {
        self.retry.as_ref()
    }

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

    pub(crate) fn check_read(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.check_alive()?;
        check_key(key)
    }

    pub(crate) fn check_range(&mut self, begin: &[u8], end: &[u8]) -> Result<(), StoreError> {
        self.check_alive()?;
        check_bounds(begin, end)
    }

    /// The transaction will not commit; the first reason stays.
    pub(crate) fn refuse(&mut self, error: StoreError) {
        self.refused.get_or_insert(error);
    }

    /// Counts a write of `value_bytes` to `key` as FoundationDB's client does, the conflict it makes included; `false` if
    /// it is refused.
    pub(crate) fn admit_write(&mut self, key: &[u8], value_bytes: usize) -> bool {
        if let Err(error) = check_key(key) {
            self.refuse(error);
        }
        if value_bytes > MAX_VALUE_BYTES {
            self.refuse(StoreError::ValueTooLarge { length: value_bytes });
        }
        self.admit(MUTATION_BYTES + key.len() + value_bytes + key_conflict_bytes(key))
    }

    /// Counts a write to all of `[begin, end)`; `false` if it is refused.
    pub(crate) fn admit_range_write(&mut self, begin: &[u8], end: &[u8]) -> bool {
        if let Err(error) = check_bounds(begin, end) {
            self.refuse(error);
        }
        self.admit(MUTATION_BYTES + 2 * (begin.len() + end.len()) + CONFLICT_BYTES)
    }

    fn admit(&mut self, bytes: usize) -> bool {
        if self.read_only {
            self.refuse(StoreError::WriteInReadOnly);
        }
        self.count(bytes);
        self.refused.is_none()
    }

    /// Counts the bounds of what was read or written.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
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
}

/// What FoundationDB's client counts for a write besides key and value.
const MUTATION_BYTES: usize = 48;
/// What it counts for a conflict range besides its bounds.
const CONFLICT_BYTES: usize = 32;

/// What a key among the conflict ranges counts as: it is the range up to its successor.
pub(crate) fn key_conflict_bytes(key: &[u8]) -> usize {
    2 * key.len() + 1 + CONFLICT_BYTES
}

/// What a range among the conflict ranges counts as.
pub(crate) fn range_conflict_bytes(begin: &[u8], end: &[u8]) -> usize {
    begin.len() + end.len() + CONFLICT_BYTES
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
