//! Tests of what the store does when its file fails under it in ways that cannot be had on demand
//! from a real disk: a sync that fails after the data was written, a file that cannot be reopened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::embedded::faults::Faults;
use crate::embedded::redb_storage::{RedbOptions, RedbStorage};
use crate::{Database, StoreError, Transaction, Watch};

fn open(path: &Path) -> (Database, Arc<Faults>) {
    let faults = Arc::<Faults>::default();
    let options = RedbOptions { cache_bytes: 1 << 20, verify: true, faults: faults.clone() };
    let storage = RedbStorage::open(path, options).unwrap();
    (Database::embedded(path, storage).unwrap(), faults)
}

/// Waits for a watch that must fire; a lost one is a failure and not a hang.
async fn fired(watch: &mut Watch) {
    let changed = tokio::time::timeout(Duration::from_secs(30), watch.changed()).await;
    changed.expect("the watch fires before the deadline").unwrap();
}

fn switch(fault: &AtomicBool, on: bool) {
    fault.store(on, Ordering::SeqCst);
}

async fn add(database: &Database) -> Result<(), StoreError> {
    database
        .run("add", async |mut tx| {
            tx.atomic_add(b"n", 1);
            tx.set(b"last", b"x");
            Ok(())
        })
        .await
}

async fn count(database: &Database) -> Result<i64, StoreError> {
    database
        .read("count", async |mut tx: Transaction| {
            Ok(tx.get(b"n").await?.map_or(0, |v| i64::from_le_bytes(v[..].try_into().unwrap())))
        })
        .await
}

#[tokio::test]
async fn a_failed_sync_is_unknown_and_the_state_shown_is_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let (database, faults) = open(&path);
    add(&database).await.unwrap();
    let mut watch = database.watch(b"n").await.unwrap();
    switch(&faults.sync, true);
    let error = add(&database).await.unwrap_err();
    switch(&faults.sync, false);
    assert!(matches!(error, StoreError::CommitUnknown { .. }), "{error:?}");
    assert!(error.to_string().contains("read back"), "{error}");
    // The write had reached the file, so readers see it and its watch has fired.
    assert_eq!(count(&database).await, Ok(2));
    fired(&mut watch).await;
    add(&database).await.unwrap();
    assert_eq!(count(&database).await, Ok(3));
    database.shutdown().await;
    let (database, _) = open(&path);
    assert_eq!(count(&database).await, Ok(3));
}

#[tokio::test]
async fn a_failed_write_wrote_nothing_and_conflicts_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (database, faults) = open(&dir.path().join("store"));
    add(&database).await.unwrap();
    switch(&faults.write, true);
    for _ in 0..3 {
        let error = add(&database).await.unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
        assert_eq!(count(&database).await, Ok(1));
    }
    // A transaction that read while the writes failed commits once they succeed: the batches that
    // came to nothing must not count as writes of what it read.
    let attempts = AtomicBool::new(false);
    database
        .run("across", async |mut tx| {
            assert!(!attempts.swap(true, Ordering::SeqCst), "it conflicted with a write that never was");
            tx.get(b"n").await?;
            switch(&faults.write, false);
            tx.set(b"across", b"1");
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    add(&database).await.unwrap();
    assert_eq!(count(&database).await, Ok(2));
}

#[tokio::test]
async fn a_failed_read_is_an_error_once_and_reads_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let (database, _) = open(&path);
    database
        .run("fill", async |mut tx| {
            for n in 0..2000u32 {
                tx.set(&n.to_be_bytes(), &[0; 1000]);
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    database.shutdown().await;
    // Reopened, so that nothing is cached.
    let (database, faults) = open(&path);
    let all = async || {
        database
            .read("all", async |mut tx: Transaction| tx.get_range(b"", b"\xfe", usize::MAX, false).await)
            .await
    };
    switch(&faults.read, true);
    let error = all().await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    switch(&faults.read, false);
    assert_eq!(all().await.unwrap().len(), 2000);
}

#[tokio::test]
async fn a_store_that_cannot_be_reopened_says_so_and_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (database, faults) = open(&dir.path().join("store"));
    add(&database).await.unwrap();
    let mut watch = database.watch(b"n").await.unwrap();
    switch(&faults.sync, true);
    switch(&faults.open, true);
    let error = add(&database).await.unwrap_err();
    assert!(matches!(error, StoreError::CommitUnknown { .. }), "{error:?}");
    let error = count(&database).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    let error = add(&database).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    switch(&faults.open, false);
    switch(&faults.sync, false);
    // Reads alone bring it back: each that fails asks the commit thread to open the file again.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let found = loop {
        match count(&database).await {
            Ok(found) => break found,
            Err(error) => assert!(std::time::Instant::now() < deadline, "still down: {error}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(found, 2, "the file had taken the write whose sync failed");
    fired(&mut watch).await;
    add(&database).await.unwrap();
    assert_eq!(count(&database).await, Ok(3));
}
