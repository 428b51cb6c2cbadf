//! States of machines, kept in memory while their shard is leased, so that each is read once.
//!
//! Nobody else can have changed them: the fence sees to that. What is long unused makes room by halves:
//! when the newer half is full it becomes the older one, and what was in that is forgotten.

use std::collections::HashMap;

use crate::address::Address;
use crate::records::WorkflowRecord;
use crate::registry::AnyState;
use crate::shard::working::Working;

/// Bytes that an entry takes besides its state, about.
const ENTRY_BYTES: usize = 512;

/// Cached workflows of one shard.
pub(super) struct Cache {
    newer: HashMap<Address, Entry>,
    older: HashMap<Address, Entry>,
    newer_bytes: usize,
    limit: usize,
}

struct Entry {
    record: WorkflowRecord,
    state: Box<dyn AnyState>,
}

impl Cache {
    /// Holds about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { newer: HashMap::new(), older: HashMap::new(), newer_bytes: 0, limit }
    }

    /// A copy of the workflow at `address`, if it is here.
    pub(super) fn get(&self, address: &Address) -> Option<Working> {
        let entry = self.newer.get(address).or_else(|| self.older.get(address))?;
        let mut working = Working::stored(entry.record.clone());
        working.state = Some(entry.state.clone_box());
        Some(working)
    }

    /// Takes over what was committed.
    pub(super) fn put(&mut self, address: Address, working: Working) {
        self.older.remove(&address);
        let Some(state) = working.state.filter(|_| !working.removed) else {
            self.newer.remove(&address);
            return;
        };
        let mut record = working.record;
        let bytes = ENTRY_BYTES + 2 * record.state.len();
        // The decoded state is what counts from here on.
        record.state.clear();
        if self.newer.insert(address, Entry { record, state }).is_none() {
            self.newer_bytes += bytes;
        }
        if self.newer_bytes > self.limit / 2 {
            self.older = std::mem::take(&mut self.newer);
            self.newer_bytes = 0;
        }
    }

    /// Forgets one.
    pub(super) fn forget(&mut self, address: &Address) {
        for half in [&mut self.newer, &mut self.older] {
            half.remove(address);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Address {
        Address::new("n", "k", &number.to_string()).expect("valid")
    }

    fn working(value: u64) -> Working {
        let mut working = Working::stored(WorkflowRecord { revision: value, ..WorkflowRecord::default() });
        working.state = Some(Box::new(value));
        working
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_new() {
        let mut cache = Cache::new(100 * ENTRY_BYTES);
        for number in 0..10_000 {
            cache.put(address(number), working(number as u64));
        }
        assert!(cache.newer.len() + cache.older.len() <= 102);
        assert_eq!(cache.get(&address(9_999)).map(|found| found.record.revision), Some(9_999));
        assert!(cache.get(&address(0)).is_none());
    }

    #[test]
    fn what_is_removed_is_gone_from_both_halves() {
        let mut cache = Cache::new(4 * ENTRY_BYTES);
        for number in 0..3 {
            cache.put(address(number), working(1));
        }
        let mut gone = working(2);
        gone.removed = true;
        for number in 0..3 {
            assert!(cache.get(&address(number)).is_some());
            cache.put(address(number), Working { state: None, ..working(0) });
            assert!(cache.get(&address(number)).is_none());
        }
        cache.put(address(0), gone);
        assert!(cache.get(&address(0)).is_none());
    }
}
