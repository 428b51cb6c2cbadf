//! Versions: stamps that order commits, and reading again at one.

use std::sync::atomic::{AtomicU32, Ordering};

use muster_store::{Database, StoreError, Transaction, VERSIONSTAMP_BYTES, Versionstamp, prefix_end};

use crate::support::{get, rows, set};

/// A hole for a versionstamp.
const HOLE: [u8; VERSIONSTAMP_BYTES] = [0; VERSIONSTAMP_BYTES];

async fn push(database: &Database, value: &[u8]) -> Versionstamp {
    let pushed = database.run("push", async |mut tx: Transaction| {
        tx.set_versionstamped_key(&[b"q/".as_slice(), &HOLE, b"/end"].concat(), 2, value);
        Ok::<_, StoreError>(tx.versionstamp())
    });
    pushed.await.unwrap().get().await.unwrap()
}

pub(crate) async fn stamps_order_keys_as_commits_were(database: &Database) {
    const TASKS: u64 = 8;
    let mut stamps = Vec::new();
    for n in 0..5_u64 {
        stamps.push((push(database, &n.to_be_bytes()).await, n));
    }
    assert!(stamps.is_sorted(), "{stamps:?}");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 5..5 + TASKS {
        let database = database.clone();
        tasks.spawn(async move { (push(&database, &n.to_be_bytes()).await, n) });
    }
    stamps.extend(tasks.join_all().await);
    stamps.sort_unstable();
    let expected: Vec<_> = stamps
        .iter()
        .map(|(stamp, n)| ([b"q/".as_slice(), stamp.as_bytes(), b"/end"].concat(), n.to_be_bytes().to_vec()))
        .collect();
    assert_eq!(rows(database, b"q/", &prefix_end(b"q/")).await, expected);
}

pub(crate) async fn a_stamped_value_is_that_of_its_commit(database: &Database) {
    let stamped = database.run("stamp", async |mut tx: Transaction| {
        tx.set_versionstamped_value(b"v", &[b"at ".as_slice(), &HOLE].concat(), 3);
        Ok::<_, StoreError>(tx.versionstamp())
    });
    let stamp = stamped.await.unwrap().get().await.unwrap();
    assert_eq!(get(database, b"v").await, Some([b"at ".as_slice(), stamp.as_bytes()].concat()));

    let nothing = database.run("nothing", async |mut tx: Transaction| {
        tx.get(b"v").await?;
        Ok::<_, StoreError>(tx.versionstamp())
    });
    let pending = nothing.await.unwrap();
    assert_eq!(pending.get().await, Err(StoreError::NoVersionstamp), "it wrote nothing");
    let misplaced = database.run("misplaced", async |mut tx: Transaction| {
        tx.set_versionstamped_value(b"v", b"too short", 0);
        Ok::<_, StoreError>(())
    });
    let refused = misplaced.await.unwrap_err();
    assert_eq!(refused, StoreError::VersionstampOffset { offset: 0, length: 9 });
}

pub(crate) async fn what_is_stamped_cannot_be_read_before(database: &Database) {
    let read = database.run("early", async |mut tx: Transaction| {
        tx.set_versionstamped_key(&[b"q/".as_slice(), &HOLE].concat(), 2, b"");
        tx.set_versionstamped_value(b"v", &HOLE, 0);
        assert_eq!(tx.get(b"v").await, Err(StoreError::Unreadable));
        Ok::<_, StoreError>(())
    });
    // It cannot be known, so it is not guessed, and who asked all the same does not commit.
    assert_eq!(read.await, Err(StoreError::Unreadable));
    let read = database.run("early range", async |mut tx: Transaction| {
        tx.set_versionstamped_key(&[b"q/".as_slice(), &HOLE].concat(), 2, b"");
        tx.get_range(b"q/", &prefix_end(b"q/"), 10, false).await
    });
    assert_eq!(read.await, Err(StoreError::Unreadable));
}

pub(crate) async fn a_version_can_be_read_again(database: &Database) {
    set(database, b"k", b"old").await;
    let version = database
        .read("version", async |mut tx: Transaction| {
            tx.get(b"k").await?;
            tx.read_version().await
        })
        .await
        .unwrap();
    set(database, b"k", b"new").await;
    let attempts = AtomicU32::new(0);
    let seen = database
        .run_at("again", &version, async |mut tx| {
            attempts.fetch_add(1, Ordering::SeqCst);
            let seen = tx.get(b"k").await?;
            Ok::<_, StoreError>(seen)
        })
        .await
        .unwrap();
    assert_eq!(seen.as_deref(), Some(b"old".as_slice()), "it reads what the version showed");
    let seen = database
        .run_at("write at an old version", &version, async |mut tx| {
            attempts.fetch_add(1, Ordering::SeqCst);
            let seen = tx.get(b"k").await?;
            tx.set(b"out", b"1");
            Ok::<_, StoreError>(seen)
        })
        .await
        .unwrap();
    assert_eq!(seen.as_deref(), Some(b"new".as_slice()), "what it read was overwritten: it ran again");
    assert_eq!(attempts.into_inner(), 3);
}
