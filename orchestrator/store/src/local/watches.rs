//! The watches of a local driver: who waits for which key, from which value.
//!
//! A watch is armed with the value its maker saw. The commit thread compares that with every value
//! it commits; arming compares it with the latest value, under the same lock, so a change between
//! looking and arming is not lost. It tells that the value differs, not what it is: read it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::limits::MAX_WATCHES;
use crate::local::buffer::{Lookup, WriteBuffer, apply};
use crate::local::published::Published;
use crate::local::storage::{Snapshot, StorageFailure};
use crate::metrics;
use crate::watch::Watch;

/// The receiving end of a watch; dropping it releases its place.
#[derive(Debug)]
pub(crate) struct LocalWatch {
    receiver: oneshot::Receiver<()>,
    permit: Permit,
}

impl LocalWatch {
    /// Waits until it fires.
    pub(crate) async fn fired(&mut self) -> Result<(), StoreError> {
        (&mut self.receiver).await.map_err(|_| StoreError::WatchCancelled)
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        // Closed before it is removed: an arming that runs after the removal sees it closed.
        self.receiver.close();
        self.permit.registry.remove(&self.permit.key, self.permit.id);
    }
}

/// A place among the bounded number of watches.
#[derive(Debug)]
struct Permit {
    registry: Arc<WatchRegistry>,
    key: Bytes,
    id: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        metrics::watches(self.registry.count.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

/// A watch that is not armed yet.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) key: Bytes,
    id: u64,
    sender: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Armed {
    base: Option<Bytes>,
    sender: oneshot::Sender<()>,
}

/// All armed watches of a database.
#[derive(Debug, Default)]
pub(crate) struct WatchRegistry {
    armed: Mutex<BTreeMap<Bytes, BTreeMap<u64, Armed>>>,
    count: AtomicUsize,
    next_id: AtomicU64,
}

impl WatchRegistry {
    /// A watch on `key`, and the ticket that arms it.
    pub(crate) fn make(self: &Arc<Self>, key: &[u8]) -> Result<(Watch, Ticket), StoreError> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let key = Bytes::copy_from_slice(key);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        // Made before the check, so that its drop gives the place back.
        let permit = Permit { registry: self.clone(), key: key.clone(), id };
        if before >= MAX_WATCHES {
            return Err(StoreError::TooManyWatches);
        }
        metrics::watches(before + 1);
        let (sender, receiver) = oneshot::channel();
        Ok((Watch::local(LocalWatch { receiver, permit }), Ticket { key, id, sender }))
    }

    /// Arms a watch that saw `base`, or fires it if the latest value differs already.
    pub(crate) fn arm(
        &self,
        ticket: Ticket,
        base: Option<Bytes>,
        published: &Published,
    ) -> Result<(), StorageFailure> {
        // The lock is taken before the latest snapshot: a commit published after it is taken finds
        // the watch armed when it comes to fire.
        let mut armed = self.lock();
        let Ok(latest) = published.latest().data() else { return Err(StorageFailure::Closed) };
        if latest.get(&ticket.key)? != base {
            // A watch nobody holds any more need not be told.
            let _ = ticket.sender.send(());
        } else if !ticket.sender.is_closed() {
            armed.entry(ticket.key).or_default().insert(ticket.id, Armed { base, sender: ticket.sender });
        }
        Ok(())
    }

    /// Fires the watches whose value is no longer theirs after `batch`. Call after publishing it.
    pub(crate) fn fire(&self, batch: &WriteBuffer) {
        let mut armed = self.lock();
        if armed.is_empty() {
            return;
        }
        let mut touched: Vec<Bytes> = batch
            .mutations()
            .filter(|(key, _)| armed.contains_key(*key))
            .map(|(key, _)| key.clone())
            .collect();
        for (begin, end) in batch.cleared() {
            let cleared = armed.range::<Bytes, _>((Bound::Included(begin), Bound::Excluded(end)));
            touched.extend(cleared.map(|(key, _)| key.clone()));
        }
        for key in touched {
            let Lookup::Known(value) = batch.lookup(&key) else { continue };
            let Entry::Occupied(mut watches) = armed.entry(key) else { continue };
            for (_, watch) in watches.get_mut().extract_if(.., |_, watch| watch.base != value) {
                let _ = watch.sender.send(());
            }
            if watches.get().is_empty() {
                watches.remove();
            }
        }
    }

    /// Fires every watch whose value is no longer theirs, after the file was opened again.
    pub(crate) fn recheck(&self, published: &Published) {
        let mut armed = self.lock();
        let Ok(latest) = published.latest().data() else { return };
        armed.retain(|key, watches| {
            // A value that cannot be read now is compared when it is next written.
            let Ok(value) = latest.get(key) else { return true };
            for (_, watch) in watches.extract_if(.., |_, watch| watch.base != value) {
                let _ = watch.sender.send(());
            }
            !watches.is_empty()
        });
    }

    /// Cancels every watch, at shutdown.
    pub(crate) fn cancel_all(&self) {
        self.lock().clear();
    }

    fn remove(&self, key: &Bytes, id: u64) {
        let mut armed = self.lock();
        if let Some(watches) = armed.get_mut(key) {
            watches.remove(&id);
            if watches.is_empty() {
                armed.remove(key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Bytes, BTreeMap<u64, Armed>>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Value of `key` as `buffer` over `snapshot` has it.
pub(crate) fn value_through(
    buffer: &WriteBuffer,
    snapshot: &dyn Snapshot,
    key: &[u8],
) -> Result<Option<Bytes>, StorageFailure> {
    match buffer.lookup(key) {
        Lookup::Known(value) => Ok(value),
        Lookup::Pending(operations) => Ok(apply(operations, snapshot.get(key)?)),
        // A batch is stamped before anything asks.
        Lookup::Unknown | Lookup::Unreadable => snapshot.get(key),
    }
}
