//! The writes of a transaction, and of a batch of transactions, before they reach a driver.
//!
//! Pure. A transaction reads its own writes through it; the committer absorbs the winners of a
//! batch into one buffer in their order, so a key written by many of them is written once. It
//! knows nothing of conflicts.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::atomic::AtomicOp;
use crate::local::ranges::RangeSet;
use crate::local::storage::Row;
use crate::versionstamp::{Template, Versionstamp};

/// Atomic operations with their operands, in their order.
type Operations = Vec<(AtomicOp, Bytes)>;

/// What is to happen to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Give it this value.
    Set(Bytes),
    /// Remove it.
    Clear,
    /// Do this to the value it has.
    Atomic(Operations),
    /// Give it this value, once the versionstamp is known, and do that to it.
    Stamped(Template, Operations),
}

/// What a buffer knows of a key without the database.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup<'a> {
    /// Its value, or that it has none.
    Known(Option<Bytes>),
    /// What will have been done to what the database holds.
    Pending(&'a [(AtomicOp, Bytes)]),
    /// Nothing before the commit: its value has a versionstamp in it.
    Unreadable,
    /// Nothing: the database decides.
    Unknown,
}

/// What `operations` make of `base`.
pub(crate) fn apply(operations: &[(AtomicOp, Bytes)], base: Option<Bytes>) -> Option<Bytes> {
    operations.iter().fold(base, |value, (op, operand)| op.apply(value.as_ref(), operand))
}

fn push(operations: &mut Operations, op: AtomicOp, operand: Bytes) {
    // Counters are added to many times in a batch; the chain stays as short as it can.
    if let Some((AtomicOp::Add, last)) = operations.last_mut()
        && op == AtomicOp::Add
        && last.len() == operand.len()
    {
        *last = op.apply(Some(last), &operand).unwrap_or(operand);
    } else {
        operations.push((op, operand));
    }
}

fn outcome(value: Option<Bytes>) -> Mutation {
    value.map_or(Mutation::Clear, Mutation::Set)
}

/// A key that is not whole before the commit.
#[derive(Debug)]
struct StampedKey {
    key: Template,
    value: Bytes,
    /// Ranges that the transaction cleared afterwards.
    cleared: Vec<(Bytes, Bytes)>,
}

impl StampedKey {
    /// Whether it may lie in `[begin, end)`.
    fn may_lie_in(&self, begin: &[u8], end: &[u8]) -> bool {
        let (first, last) = self.key.span();
        first < end && *last >= *begin
    }
}

/// Writes in the making: ranges cleared first, then single keys.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    cleared: RangeSet,
    keys: BTreeMap<Bytes, Mutation>,
    stamped: Vec<StampedKey>,
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
        for stamped in self.stamped.iter_mut().filter(|stamped| stamped.may_lie_in(&begin, &end)) {
            stamped.cleared.push((begin.clone(), end.clone()));
        }
        self.cleared.insert(begin, end);
    }

    pub(crate) fn atomic(&mut self, key: Bytes, op: AtomicOp, operand: Bytes) {
        if !self.keys.contains_key(&key) && !self.cleared.contains(&key) {
            self.keys.insert(key, Mutation::Atomic(vec![(op, operand)]));
            return;
        }
        let mutation = self.keys.entry(key).or_insert(Mutation::Clear);
        match mutation {
            Mutation::Set(value) => *mutation = outcome(op.apply(Some(value), &operand)),
            Mutation::Clear => *mutation = outcome(op.apply(None, &operand)),
            Mutation::Atomic(operations) | Mutation::Stamped(_, operations) => push(operations, op, operand),
        }
    }

    /// Sets a key that the commit completes.
    pub(crate) fn set_stamped_key(&mut self, key: Template, value: Bytes) {
        self.stamped.push(StampedKey { key, value, cleared: Vec::new() });
    }

    /// Sets a value that the commit completes.
    pub(crate) fn set_stamped_value(&mut self, key: Bytes, value: Template) {
        self.keys.insert(key, Mutation::Stamped(value, Vec::new()));
    }

    /// Completes what waits for the versionstamp; the buffer is then as if it had been known.
    pub(crate) fn stamp(&mut self, stamp: Versionstamp) {
        for mutation in self.keys.values_mut() {
            if let Mutation::Stamped(value, operations) = mutation {
                *mutation = outcome(apply(operations, Some(value.filled(stamp))));
            }
        }
        for stamped in std::mem::take(&mut self.stamped) {
            let key = stamped.key.filled(stamp);
            if !stamped.cleared.iter().any(|(begin, end)| *begin <= key && key < *end) {
                self.keys.insert(key, Mutation::Set(stamped.value));
            }
        }
    }

    /// Applies `later`, which is stamped, after everything in this buffer.
    pub(crate) fn absorb(&mut self, later: WriteBuffer) {
        for (begin, end) in later.cleared.iter() {
            self.clear_range(begin.clone(), end.clone());
        }
        for (key, mutation) in later.keys {
            match mutation {
                Mutation::Atomic(operations) => {
                    for (op, operand) in operations {
                        self.atomic(key.clone(), op, operand);
                    }
                }
                other => {
                    self.keys.insert(key, other);
                }
            }
        }
    }

    /// What this buffer says of `key`.
    pub(crate) fn lookup(&self, key: &[u8]) -> Lookup<'_> {
        if self.stamped.iter().any(|stamped| stamped.may_lie_in(key, &[key, &[0]].concat())) {
            return Lookup::Unreadable;
        }
        match self.keys.get(key) {
            Some(Mutation::Set(value)) => Lookup::Known(Some(value.clone())),
            Some(Mutation::Clear) => Lookup::Known(None),
            Some(Mutation::Atomic(operations)) => Lookup::Pending(operations),
            Some(Mutation::Stamped(..)) => Lookup::Unreadable,
            None if self.cleared.contains(key) => Lookup::Known(None),
            None => Lookup::Unknown,
        }
    }

    /// Whether something in `[begin, end)` cannot be read before the commit.
    pub(crate) fn is_unreadable(&self, begin: &[u8], end: &[u8]) -> bool {
        if begin >= end {
            return false;
        }
        let bounds = (Bound::Included(begin), Bound::Excluded(end));
        self.stamped.iter().any(|stamped| stamped.may_lie_in(begin, end))
            || self
                .keys
                .range::<[u8], _>(bounds)
                .any(|(_, mutation)| matches!(mutation, Mutation::Stamped(..)))
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.cleared.is_empty() && self.stamped.is_empty()
    }

    /// Ranges to clear, before any of [`Self::mutations`].
    pub(crate) fn cleared(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.cleared.iter()
    }

    /// Keys to write, in order.
    pub(crate) fn mutations(&self) -> impl Iterator<Item = (&Bytes, &Mutation)> {
        self.keys.iter()
    }

    /// Turns every atomic operation into the value it leads to, given what the database holds.
    pub(crate) fn settle<E>(
        &mut self,
        mut base: impl FnMut(&[u8]) -> Result<Option<Bytes>, E>,
    ) -> Result<(), E> {
        for (key, mutation) in &mut self.keys {
            if let Mutation::Atomic(operations) = mutation {
                *mutation = outcome(apply(operations, base(key)?));
            }
        }
        Ok(())
    }

    /// Lays this buffer over `rows`, which are all the database holds in `[begin, end)`, ordered
    /// downwards if `reverse`. Nothing in there may be unreadable.
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
            let value = match mutation {
                Mutation::Set(value) => Some(value.clone()),
                Mutation::Clear | Mutation::Stamped(..) => None,
                Mutation::Atomic(operations) => apply(operations, merged.get(key).cloned()),
            };
            match value {
                Some(value) => merged.insert(key.clone(), value),
                None => merged.remove(key),
            };
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

    fn number(n: i64) -> Bytes {
        Bytes::copy_from_slice(&n.to_le_bytes())
    }

    fn add(buffer: &mut WriteBuffer, key: &'static str, delta: i64) {
        buffer.atomic(bytes(key), AtomicOp::Add, number(delta));
    }

    #[test]
    fn a_later_clear_hides_and_a_later_write_shows() {
        let mut buffer = WriteBuffer::default();
        buffer.set(bytes("b"), bytes("1"));
        add(&mut buffer, "c", 3);
        buffer.clear_range(bytes("a"), bytes("d"));
        assert_eq!(buffer.lookup(b"b"), Lookup::Known(None));
        add(&mut buffer, "c", 4);
        assert_eq!(buffer.lookup(b"c"), Lookup::Known(Some(number(4))));
        assert_eq!(buffer.lookup(b"d"), Lookup::Unknown);
    }

    #[test]
    fn absorbing_keeps_the_order_of_transactions() {
        let mut first = WriteBuffer::default();
        first.set(bytes("k"), number(10));
        first.set(bytes("gone"), bytes("x"));
        let mut second = WriteBuffer::default();
        add(&mut second, "k", 5);
        second.clear_range(bytes("a"), bytes("h"));
        add(&mut second, "fresh", 1);
        second.atomic(bytes("top"), AtomicOp::Max, number(7));
        first.absorb(second);
        first.settle(|_| Ok::<_, ()>(Some(number(100)))).expect("settle");
        assert_eq!(first.lookup(b"k"), Lookup::Known(Some(number(15))));
        assert_eq!(first.lookup(b"gone"), Lookup::Known(None));
        assert_eq!(first.lookup(b"fresh"), Lookup::Known(Some(number(1))), "cleared before it was added to");
        assert_eq!(first.lookup(b"top"), Lookup::Known(Some(number(100))));
    }

    #[test]
    fn additions_to_one_key_stay_one() {
        let mut buffer = WriteBuffer::default();
        for _ in 0..1_000 {
            add(&mut buffer, "k", 2);
        }
        assert_eq!(buffer.lookup(b"k"), Lookup::Pending(&[(AtomicOp::Add, number(2_000))]));
    }

    #[test]
    fn what_is_stamped_is_unreadable_until_it_is() {
        let mut buffer = WriteBuffer::default();
        let hole = |prefix: &str| Template::new(format!("{prefix}__________").as_bytes(), prefix.len());
        buffer.set_stamped_key(hole("q/").expect("fits"), bytes("first"));
        buffer.set_stamped_value(bytes("v"), hole("at ").expect("fits"));
        assert_eq!(buffer.lookup(b"q/some-stamp"), Lookup::Unreadable);
        assert_eq!(buffer.lookup(b"v"), Lookup::Unreadable);
        assert!(buffer.is_unreadable(b"q/", b"q0") && !buffer.is_unreadable(b"w", b"x"));
        let stamp = Versionstamp::new(3, 0);
        buffer.stamp(stamp);
        let filled = |prefix: &str| [prefix.as_bytes(), stamp.as_bytes()].concat();
        assert_eq!(buffer.lookup(&filled("q/")), Lookup::Known(Some(bytes("first"))));
        assert_eq!(buffer.lookup(b"v"), Lookup::Known(Some(filled("at ").into())));
    }

    #[test]
    fn a_range_cleared_after_a_stamped_key_takes_it_with_it() {
        let mut buffer = WriteBuffer::default();
        let key = Template::new(b"q/__________", 2).expect("fits");
        buffer.set_stamped_key(key.clone(), bytes("gone"));
        buffer.clear_range(bytes("q/"), bytes("q0"));
        buffer.set_stamped_key(key, bytes("stays"));
        buffer.stamp(Versionstamp::new(1, 0));
        let values: Vec<_> = buffer.mutations().map(|(_, mutation)| mutation.clone()).collect();
        assert_eq!(values, [Mutation::Set(bytes("stays"))]);
    }
}
