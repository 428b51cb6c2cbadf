//! Which keys and ranges a transaction read or wrote, for the resolver to compare.
//!
//! Pure data: gathering is the transaction's, judging the resolver's.

use bytes::Bytes;

use crate::admission::{key_conflict_bytes, range_conflict_bytes};

/// Keys and half-open ranges of keys.
#[derive(Debug, Default)]
pub(crate) struct ConflictRanges {
    /// Single keys.
    pub(crate) keys: Vec<Bytes>,
    /// Ranges, begin before end.
    pub(crate) ranges: Vec<(Bytes, Bytes)>,
}

impl ConflictRanges {
    /// Adds one key; a repeat of the last one adds nothing. Returns the bytes it takes.
    pub(crate) fn add_key(&mut self, key: &[u8]) -> usize {
        if self.keys.last().is_some_and(|last| last == key) {
            return 0;
        }
        self.keys.push(Bytes::copy_from_slice(key));
        key_conflict_bytes(key)
    }

    /// Adds `[begin, end)`. Returns the bytes it takes; an empty range takes none.
    pub(crate) fn add_range(&mut self, begin: &[u8], end: &[u8]) -> usize {
        if begin >= end {
            return 0;
        }
        self.ranges.push((Bytes::copy_from_slice(begin), Bytes::copy_from_slice(end)));
        range_conflict_bytes(begin, end)
    }

    /// Whether there is nothing to compare.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }
}
