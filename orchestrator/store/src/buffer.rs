//! The writes of a transaction, and of a batch of transactions, before they reach a driver.
//!
//! Pure. A transaction reads its own writes through it; the committer absorbs the winners of a
//! batch into one buffer in their order, so a key written by many of them is written once. It
//! knows nothing of conflicts.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::ranges::RangeSet;
use crate::storage::Row;

/// What is to happen to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Give it this value.
    Set(Bytes),
    /// Remove it.
    Clear,
    /// Add to its little-endian 64-bit number.
    Add(i64),
}

/// What a buffer knows of a key without the database.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Its value, or that it has none.
    Known(Option<Bytes>),
    /// This much more than the database holds.
    Added(i64),
    /// Nothing: the database decides.
    Unknown,
}

/// Adds to the little-endian number in `base` as FoundationDB does: an absent or shorter value is
/// padded with zeros, a longer one cut to 8 bytes, and the sum wraps.
pub(crate) fn add(base: Option<&[u8]>, delta: i64) -> Bytes {
    let mut number = [0u8; 8];
    if let Some(base) = base {
        let length = base.len().min(8);
        number[..length].copy_from_slice(&base[..length]);
    }
    Bytes::copy_from_slice(&i64::from_le_bytes(number).wrapping_add(delta).to_le_bytes())
}

/// Writes in the making: ranges cleared first, then single keys.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    cleared: RangeSet,
    keys: BTreeMap<Bytes, Mutation>,
}

impl WriteBuffer {
    pub(crate) fn set(&mut self, key: Bytes, value: Bytes) {
        self.keys.insert(key, Mutation::Set(value));
    }

    pub(crate) fn clear(&mut self, key: Bytes) {
        self.keys.insert(key, Mutation::Clear);
    }

    /// Clears `[begin, end)`.
    pub(crate) fn clear_range(&mut self, begin: Bytes, end: Bytes) {
        if begin >= end {
            return;
        }
        let doomed: Vec<Bytes> =
            self.keys.range::<Bytes, _>(&begin..&end).map(|(key, _)| key.clone()).collect();
        for key in doomed {
            self.keys.remove(&key);
        }
        self.cleared.insert(begin, end);
    }

    pub(crate) fn add(&mut self, key: Bytes, delta: i64) {
        let mutation = match self.lookup(&key) {
            Lookup::Known(base) => Mutation::Set(add(base.as_deref(), delta)),
            Lookup::Added(before) => Mutation::Add(before.wrapping_add(delta)),
            Lookup::Unknown => Mutation::Add(delta),
        };
        self.keys.insert(key, mutation);
    }

    /// Applies `later` after everything in this buffer.
    pub(crate) fn absorb(&mut self, later: WriteBuffer) {
        for (begin, end) in later.cleared.iter() {
            self.clear_range(begin.clone(), end.clone());
        }
        for (key, mutation) in later.keys {
            match mutation {
                Mutation::Add(delta) => self.add(key, delta),
                other => {
                    self.keys.insert(key, other);
                }
            }
        }
    }

    /// What this buffer says of `key`.
    pub(crate) fn lookup(&self, key: &[u8]) -> Lookup {
        match self.keys.get(key) {
            Some(Mutation::Set(value)) => Lookup::Known(Some(value.clone())),
            Some(Mutation::Clear) => Lookup::Known(None),
            Some(Mutation::Add(delta)) => Lookup::Added(*delta),
            None if self.cleared.contains(key) => Lookup::Known(None),
            None => Lookup::Unknown,
        }
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.cleared.is_empty()
    }

    /// Ranges to clear, before any of [`Self::mutations`].
    pub(crate) fn cleared(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.cleared.iter()
    }

    /// Keys to write, in order.
    pub(crate) fn mutations(&self) -> impl Iterator<Item = (&Bytes, &Mutation)> {
        self.keys.iter()
    }

    /// Turns every addition into the value it leads to, given what the database holds.
    pub(crate) fn settle<E>(
        &mut self,
        mut base: impl FnMut(&[u8]) -> Result<Option<Bytes>, E>,
    ) -> Result<(), E> {
        for (key, mutation) in &mut self.keys {
            if let Mutation::Add(delta) = *mutation {
                *mutation = Mutation::Set(add(base(key)?.as_deref(), delta));
            }
        }
        Ok(())
    }

    /// Lays this buffer over `rows`, which are all the database holds in `[begin, end)`, ordered
    /// downwards if `reverse`.
    pub(crate) fn overlay(&self, rows: Vec<Row>, begin: &[u8], end: &[u8], reverse: bool) -> Vec<Row> {
        if begin >= end {
            return rows;
        }
        let bounds = (Bound::Included(begin), Bound::Excluded(end));
        if self.cleared.is_empty() && self.keys.range::<[u8], _>(bounds).next().is_none() {
            return rows;
        }
        let mut merged: BTreeMap<Bytes, Bytes> =
            rows.into_iter().filter(|(key, _)| !self.cleared.contains(key)).collect();
        for (key, mutation) in self.keys.range::<[u8], _>(bounds) {
            match mutation {
                Mutation::Set(value) => {
                    merged.insert(key.clone(), value.clone());
                }
                Mutation::Clear => {
                    merged.remove(key);
                }
                Mutation::Add(delta) => {
                    let sum = add(merged.get(key).map(AsRef::as_ref), *delta);
                    merged.insert(key.clone(), sum);
                }
            }
        }
        if reverse { merged.into_iter().rev().collect() } else { merged.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn addition_pads_cuts_and_wraps() {
        assert_eq!(add(None, 5), 5i64.to_le_bytes().as_slice());
        assert_eq!(add(Some(&[1]), 1), 2i64.to_le_bytes().as_slice());
        assert_eq!(add(Some(&[1, 0, 0, 0, 0, 0, 0, 0, 9]), 1), 2i64.to_le_bytes().as_slice());
        assert_eq!(add(Some(&i64::MAX.to_le_bytes()), 1), i64::MIN.to_le_bytes().as_slice());
    }

    #[test]
    fn a_later_clear_hides_and_a_later_write_shows() {
        let mut buffer = WriteBuffer::default();
        buffer.set(bytes("b"), bytes("1"));
        buffer.add(bytes("c"), 3);
        buffer.clear_range(bytes("a"), bytes("d"));
        assert_eq!(buffer.lookup(b"b"), Lookup::Known(None));
        buffer.add(bytes("c"), 4);
        assert_eq!(buffer.lookup(b"c"), Lookup::Known(Some(add(None, 4))));
        assert_eq!(buffer.lookup(b"d"), Lookup::Unknown);
    }

    #[test]
    fn absorbing_keeps_the_order_of_transactions() {
        let mut first = WriteBuffer::default();
        first.set(bytes("k"), add(None, 10));
        first.set(bytes("gone"), bytes("x"));
        let mut second = WriteBuffer::default();
        second.add(bytes("k"), 5);
        second.clear_range(bytes("a"), bytes("h"));
        second.add(bytes("fresh"), 1);
        first.absorb(second);
        first.settle(|_| Ok::<_, ()>(Some(add(None, 100)))).expect("settle");
        assert_eq!(first.lookup(b"k"), Lookup::Known(Some(add(None, 15))));
        assert_eq!(first.lookup(b"gone"), Lookup::Known(None));
        assert_eq!(
            first.lookup(b"fresh"),
            Lookup::Known(Some(add(None, 1))),
            "cleared before it was added to"
        );
    }
}
