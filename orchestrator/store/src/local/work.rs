//! What a transaction of a local driver gathers: its reads and writes, and whether it may go on.
//!
//! The inside of [`crate::Transaction`], apart from it because it outlives it: the commit takes it
//! over. It decides nothing about conflicts, which is the resolver's.

use std::sync::Arc;

use bytes::Bytes;

use crate::admission::Admission;
use crate::atomic::AtomicOp;
use crate::error::StoreError;
use crate::limits::SCAN_CHUNK_ROWS;
use crate::local::buffer::{Lookup, WriteBuffer, apply};
use crate::local::committer::WatchBase;
use crate::local::conflicts::ConflictRanges;
use crate::local::published::SnapshotCell;
use crate::local::storage::{Row, StorageFailure};
use crate::local::watches::{Ticket, WatchRegistry};
use crate::range::successor;
use crate::versionstamp::Template;
use crate::watch::Watch;

/// What a transaction gathered.
pub(crate) struct Work {
    pub(crate) snapshot: Arc<SnapshotCell>,
    pub(crate) admission: Admission,
    pub(crate) buffer: WriteBuffer,
    pub(crate) reads: ConflictRanges,
    pub(crate) extra_writes: ConflictRanges,
    pub(crate) watches: Vec<Ticket>,
    /// A read failed because of the file, not of the transaction.
    pub(crate) file_failed: bool,
    registry: Arc<WatchRegistry>,
    place: Arc<str>,
}

impl Work {
    pub(crate) fn new(
        snapshot: Arc<SnapshotCell>,
        admission: Admission,
        registry: Arc<WatchRegistry>,
        place: Arc<str>,
    ) -> Self {
        Self {
            snapshot,
            admission,
            buffer: WriteBuffer::default(),
            reads: ConflictRanges::default(),
            extra_writes: ConflictRanges::default(),
            watches: Vec::new(),
            file_failed: false,
            registry,
            place,
        }
    }

    /// Whether committing changes nothing and tells nobody.
    pub(crate) fn writes_nothing(&self) -> bool {
        self.buffer.is_empty() && self.extra_writes.is_empty()
    }

    pub(crate) fn note_read_key(&mut self, key: &[u8]) {
        if !self.admission.is_read_only() {
            let bytes = self.reads.add_key(key);
            self.admission.count(bytes);
        }
    }

    pub(crate) fn note_read_range(&mut self, begin: &[u8], end: &[u8]) {
        if !self.admission.is_read_only() {
            let bytes = self.reads.add_range(begin, end);
            self.admission.count(bytes);
        }
    }

    fn fail_storage(&mut self, failure: StorageFailure) -> StoreError {
        self.file_failed = true;
        match failure {
            StorageFailure::Closed => self.admission.fail(StoreError::TransactionTooOld),
            other => other.into_error(&self.place),
        }
    }

    /// What cannot be known has been asked for: as on a cluster, the transaction does not commit.
    fn unreadable(&mut self) -> StoreError {
        self.admission.refuse(StoreError::Unreadable);
        StoreError::Unreadable
    }

    pub(crate) fn get(&mut self, key: &[u8], conflict: bool) -> Result<Option<Bytes>, StoreError> {
        let operations = match self.buffer.lookup(key) {
            Lookup::Known(value) => return Ok(value),
            Lookup::Unreadable => return Err(self.unreadable()),
            Lookup::Pending(operations) => operations.to_vec(),
            Lookup::Unknown => Vec::new(),
        };
        let snapshot = self.snapshot.data().map_err(|error| self.admission.fail(error))?;
        let value = snapshot.get(key).map_err(|failure| self.fail_storage(failure))?;
        if conflict {
            self.note_read_key(key);
        }
        Ok(apply(&operations, value))
    }

    /// At most `limit` rows of `[begin, end)`; notes what was consumed if `conflict`.
    pub(crate) async fn get_range(
        &mut self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
        conflict: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let (mut from, mut to) = (begin.to_vec(), end.to_vec());
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit && from < to {
            self.admission.check_alive()?;
            let chunk = self.scan_chunk(&mut from, &mut to, limit - rows.len(), reverse)?;
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
            self.note_read_range(&consumed_from, &consumed_to);
        }
        Ok(rows)
    }

    /// Reads the next rows of `[from, to)` and moves its near bound past what has been read.
    fn scan_chunk(
        &mut self,
        from: &mut Vec<u8>,
        to: &mut Vec<u8>,
        wanted: usize,
        reverse: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let count = wanted.min(SCAN_CHUNK_ROWS);
        let snapshot = self.snapshot.data().map_err(|error| self.admission.fail(error))?;
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
        if self.buffer.is_unreadable(&chunk_from, &chunk_to) {
            return Err(self.unreadable());
        }
        Ok(self.buffer.overlay(rows, &chunk_from, &chunk_to, reverse))
    }

    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) {
        self.buffer.set(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }

    pub(crate) fn clear(&mut self, key: &[u8]) {
        self.buffer.clear(Bytes::copy_from_slice(key));
    }

    pub(crate) fn clear_range(&mut self, begin: &[u8], end: &[u8]) {
        self.buffer.clear_range(Bytes::copy_from_slice(begin), Bytes::copy_from_slice(end));
    }

    pub(crate) fn atomic(&mut self, op: AtomicOp, key: &[u8], operand: &[u8]) {
        self.buffer.atomic(Bytes::copy_from_slice(key), op, Bytes::copy_from_slice(operand));
    }

    pub(crate) fn set_stamped_key(&mut self, key: Template, value: &[u8]) {
        self.buffer.set_stamped_key(key, Bytes::copy_from_slice(value));
    }

    pub(crate) fn set_stamped_value(&mut self, key: &[u8], value: Template) {
        self.buffer.set_stamped_value(Bytes::copy_from_slice(key), value);
    }

    pub(crate) fn add_write_conflict(&mut self, begin: &[u8], end: &[u8]) {
        self.extra_writes.add_range(begin, end);
    }

    /// A watch on `key`, to be armed by the commit.
    pub(crate) fn watch(&mut self, key: &[u8]) -> Watch {
        match self.registry.make(key) {
            Ok((watch, ticket)) => {
                // As on a cluster: what is watched has been read, unless it was written here.
                if self.buffer.lookup(key) == Lookup::Unknown {
                    self.note_read_key(key);
                }
                self.watches.push(ticket);
                watch
            }
            Err(error) => {
                self.admission.refuse(error.clone());
                Watch::refused(error)
            }
        }
    }

    /// What each watch starts from, for the committer, or for arming it directly.
    pub(crate) fn take_watches(&mut self) -> Result<Vec<(Ticket, WatchBase)>, StoreError> {
        let mut based = Vec::with_capacity(self.watches.len());
        for ticket in std::mem::take(&mut self.watches) {
            let base = if self.buffer.lookup(&ticket.key) == Lookup::Unknown {
                let snapshot = self.snapshot.data().map_err(|error| self.admission.fail(error))?;
                WatchBase::Seen(snapshot.get(&ticket.key).map_err(|failure| self.fail_storage(failure))?)
            } else {
                WatchBase::Own
            };
            based.push((ticket, base));
        }
        Ok(based)
    }
}
