//! The memory driver: rows in a persistent map, under the same layer as the embedded driver.
//!
//! For simulation and tests. It keeps nothing past its process, waits for nothing and has no thread,
//! so that one seed makes one history.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use crate::local::buffer::{Mutation, WriteBuffer};
use crate::local::storage::{Applied, Row, Snapshot, Storage, StorageFailure};

type Rows = OrdMap<Bytes, Bytes>;

/// Rows in memory.
#[derive(Default)]
pub(crate) struct MemoryStorage {
    version: u64,
    rows: Rows,
}

struct MemorySnapshot(Rows);

fn between<'a>(begin: &'a [u8], end: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(begin), Bound::Excluded(end))
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageFailure> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Row>, StorageFailure> {
        let rows =
            self.0.range::<_, [u8]>(between(begin, end)).map(|(key, value)| (key.clone(), value.clone()));
        Ok(if reverse { rows.rev().take(limit).collect() } else { rows.take(limit).collect() })
    }
}

impl Storage for MemoryStorage {
    fn snapshot(&self) -> Result<(u64, Arc<dyn Snapshot>), StorageFailure> {
        Ok((self.version, Arc::new(MemorySnapshot(self.rows.clone()))))
    }

    fn apply(&mut self, version: u64, batch: &WriteBuffer) -> Applied {
        for (begin, end) in batch.cleared() {
            let doomed: Vec<Bytes> =
                self.rows.range::<_, [u8]>(between(begin, end)).map(|(key, _)| key.clone()).collect();
            for key in doomed {
                self.rows.remove(&key);
            }
        }
        for (key, mutation) in batch.mutations() {
            match mutation {
                Mutation::Set(value) => {
                    self.rows.insert(key.clone(), value.clone());
                }
                Mutation::Clear => {
                    self.rows.remove(key);
                }
                Mutation::Atomic(_) | Mutation::Stamped(..) => {
                    unreachable!("the committer stamps and settles a batch before it applies it")
                }
            }
        }
        self.version = version;
        Applied::Durable
    }

    fn generation(&self) -> u64 {
        1
    }

    fn recover(&mut self) -> Result<(), StorageFailure> {
        Ok(())
    }
}
