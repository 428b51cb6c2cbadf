//! A set of half-open key ranges, kept disjoint and merged.
//!
//! Pure. Used for what a transaction has cleared; it holds no versions, which are the resolver's.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Disjoint, non-adjacent half-open ranges of keys.
#[derive(Debug, Default, Clone)]
pub(crate) struct RangeSet {
    /// Begin to end.
    ranges: BTreeMap<Bytes, Bytes>,
}

impl RangeSet {
    /// Adds `[begin, end)`; an empty range adds nothing.
    pub(crate) fn insert(&mut self, mut begin: Bytes, mut end: Bytes) {
        if begin >= end {
            return;
        }
        if let Some((before, before_end)) = self.ranges.range::<Bytes, _>(..=&begin).next_back()
            && *before_end >= begin
        {
            end = end.max(before_end.clone());
            begin = before.clone();
        }
        while let Some((next, next_end)) = self.ranges.range::<Bytes, _>(&begin..=&end).next() {
            end = end.max(next_end.clone());
            let next = next.clone();
            self.ranges.remove(&next);
        }
        self.ranges.insert(begin, end);
    }

    /// Whether `key` lies in one of the ranges.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.ranges
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, end)| key < end.as_ref())
    }

    /// Whether there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.ranges.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_exactly_the_union(ranges in proptest::collection::vec((0u8..40, 0u8..40), 0..20)) {
            let mut set = RangeSet::default();
            for (a, b) in &ranges {
                set.insert(Bytes::copy_from_slice(&[*a]), Bytes::copy_from_slice(&[*b]));
            }
            for key in 0u8..40 {
                let expected = ranges.iter().any(|(a, b)| a <= &key && &key < b);
                prop_assert_eq!(set.contains(&[key]), expected);
            }
            let flat: Vec<_> = set.iter().collect();
            for pair in flat.windows(2) {
                prop_assert!(pair[0].1 < pair[1].0, "ranges must stay apart");
            }
        }
    }
}
