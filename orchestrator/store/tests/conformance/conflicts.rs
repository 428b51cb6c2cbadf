//! Who may commit: write skew, phantoms, lost updates, what a range read consumed, and that
//! additions and blind writes get by each other.

use std::sync::atomic::{AtomicU32, Ordering};

use muster_store::{Database, StoreError, Transaction};

async fn set(database: &Database, key: &[u8]) {
    crate::support::set(database, key, b"x").await;
}

/// Runs `body` with `meanwhile` committed after its first attempt has read; returns how many
/// attempts it took.
async fn attempts(
    database: &Database,
    body: impl AsyncFn(&mut Transaction) -> Result<(), StoreError>,
    meanwhile: impl AsyncFn(),
) -> u32 {
    let attempts = AtomicU32::new(0);
    database
        .run("contended", async |mut tx| {
            let first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
            body(&mut tx).await?;
            if first {
                meanwhile().await;
            }
            tx.set(b"out", b"1");
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    attempts.load(Ordering::SeqCst)
}

pub(crate) async fn a_read_key_written_meanwhile_conflicts(database: &Database) {
    let read = async |tx: &mut Transaction| tx.get(b"k").await.map(drop);
    assert_eq!(attempts(database, read, async || set(database, b"k").await).await, 2);
    assert_eq!(attempts(database, read, async || set(database, b"j").await).await, 1);
    assert_eq!(attempts(database, read, async || set(database, b"k\0").await).await, 1);
    let clear = async || {
        database
            .run("clear", async |mut tx| {
                tx.clear_range(b"a", b"z");
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    };
    assert_eq!(attempts(database, read, clear).await, 2);
}

pub(crate) async fn a_snapshot_read_does_not_conflict(database: &Database) {
    let point = async |tx: &mut Transaction| tx.snapshot_get(b"k").await.map(drop);
    assert_eq!(attempts(database, point, async || set(database, b"k").await).await, 1);
    let range = async |tx: &mut Transaction| tx.snapshot_get_range(b"a", b"z", 9, false).await.map(drop);
    assert_eq!(attempts(database, range, async || set(database, b"k").await).await, 1);
}

pub(crate) async fn a_row_that_appears_in_a_read_range_conflicts(database: &Database) {
    let read = async |tx: &mut Transaction| tx.get_range(b"m", b"p", 10, false).await.map(drop);
    assert_eq!(attempts(database, read, async || set(database, b"n").await).await, 2);
    assert_eq!(attempts(database, read, async || set(database, b"p").await).await, 1);
    assert_eq!(attempts(database, read, async || set(database, b"l").await).await, 1);
}

pub(crate) async fn only_what_a_limited_range_consumed_conflicts(database: &Database) {
    for key in [b"b", b"d", b"f", b"h"] {
        set(database, key).await;
    }
    let first_two = async |tx: &mut Transaction| {
        assert_eq!(tx.get_range(b"a", b"z", 2, false).await?.len(), 2);
        Ok(())
    };
    assert_eq!(attempts(database, first_two, async || set(database, b"f").await).await, 1);
    assert_eq!(attempts(database, first_two, async || set(database, b"e").await).await, 1);
    assert_eq!(attempts(database, first_two, async || set(database, b"d").await).await, 2);
    assert_eq!(attempts(database, first_two, async || set(database, b"a").await).await, 2);
    let last_two = async |tx: &mut Transaction| {
        // "out" is among the rows by now and sorts between "h" and "z".
        assert_eq!(tx.get_range(b"a", b"i", 2, true).await?.len(), 2);
        Ok(())
    };
    assert_eq!(attempts(database, last_two, async || set(database, b"d").await).await, 1);
    assert_eq!(attempts(database, last_two, async || set(database, b"f").await).await, 2);
    assert_eq!(attempts(database, last_two, async || set(database, b"hh").await).await, 2);
}

pub(crate) async fn manual_conflicts_count(database: &Database) {
    let key = async |tx: &mut Transaction| {
        tx.add_read_conflict_key(b"k");
        Ok(())
    };
    assert_eq!(attempts(database, key, async || set(database, b"k").await).await, 2);
    let range = async |tx: &mut Transaction| {
        tx.add_read_conflict_range(b"k", b"m");
        Ok(())
    };
    assert_eq!(attempts(database, range, async || set(database, b"l").await).await, 2);
    let written = async || {
        database
            .run("touch", async |mut tx| {
                tx.add_write_conflict_key(b"k");
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    };
    assert_eq!(
        attempts(database, async |tx: &mut Transaction| tx.get(b"k").await.map(drop), written).await,
        2
    );
}

pub(crate) async fn additions_and_blind_writes_do_not_conflict(database: &Database) {
    let add = async |tx: &mut Transaction| {
        tx.atomic_add(b"k", 1);
        Ok(())
    };
    assert_eq!(attempts(database, add, async || set(database, b"k").await).await, 1);
    let write = async |tx: &mut Transaction| {
        tx.set(b"k", b"1");
        assert!(tx.get(b"k").await?.is_some(), "its own write, not the database's");
        Ok(())
    };
    assert_eq!(attempts(database, write, async || set(database, b"k").await).await, 1);
    let add_and_read = async |tx: &mut Transaction| {
        tx.atomic_add(b"k", 1);
        tx.get(b"k").await.map(drop)
    };
    assert_eq!(attempts(database, add_and_read, async || set(database, b"k").await).await, 2);
}

pub(crate) async fn write_skew_is_prevented(database: &Database) {
    for round in 0..50u8 {
        // Two doctors on call; each may leave only if the other stays.
        let leave = async |me: &'static [u8], other: &'static [u8]| {
            database
                .run("leave", async |mut tx| {
                    let mine = [me, &[round]].concat();
                    let theirs = [other, &[round]].concat();
                    if tx.get(&theirs).await?.is_none() {
                        tx.set(&mine, b"left");
                        return Ok::<_, StoreError>(true);
                    }
                    Ok(false)
                })
                .await
                .unwrap()
        };
        let (first, second) = tokio::join!(leave(b"alice", b"bob"), leave(b"bob", b"alice"));
        assert!(first != second, "exactly one may leave in round {round}");
    }
}

pub(crate) async fn concurrent_increments_add_up(database: &Database) {
    const TASKS: u64 = 32;
    const EACH: u64 = 25;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let database = database.clone();
        tasks.spawn(async move {
            for _ in 0..EACH {
                database
                    .run("increment", async |mut tx| {
                        let value = tx
                            .get(b"read")
                            .await?
                            .map_or(0, |v| u64::from_le_bytes(v[..].try_into().unwrap()));
                        tx.set(b"read", &(value + 1).to_le_bytes());
                        tx.atomic_add(b"added", 1);
                        Ok::<_, StoreError>(())
                    })
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let (read, added) = database
        .read("sum", async |mut tx: Transaction| {
            Ok::<_, StoreError>((tx.get(b"read").await?, tx.get(b"added").await?))
        })
        .await
        .unwrap();
    assert_eq!(read.as_deref(), Some(&(TASKS * EACH).to_le_bytes()[..]));
    assert_eq!(added, read);
}

pub(crate) async fn what_always_conflicts_gives_up_with_its_name(database: &Database) {
    let result = database
        .run("hopeless", async |mut tx| {
            tx.get(b"k").await?;
            set(database, b"k").await;
            tx.set(b"out", b"1");
            Ok::<_, StoreError>(())
        })
        .await;
    let Err(StoreError::RetriesExhausted { name, attempts, last }) = result else { panic!("{result:?}") };
    assert_eq!((name, *last), ("hopeless", StoreError::Conflict));
    assert!(attempts > 1);
    let out = database.read("out", async |mut tx: Transaction| tx.get(b"out").await).await;
    assert_eq!(out, Ok::<_, StoreError>(None));
}

pub(crate) async fn a_transaction_past_its_lifetime_is_too_old_and_retried(database: &Database) {
    let attempts = AtomicU32::new(0);
    let seen = database
        .run("slow", async |mut tx| {
            let first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
            tx.get(b"k").await?;
            if first {
                // Not a wait for something to happen: the passing of the lifetime is what is tested.
                tokio::time::sleep(muster_store::limits::TRANSACTION_LIFETIME).await;
                let late = tx.get(b"k").await;
                assert_eq!(late, Err(StoreError::TransactionTooOld));
            }
            Ok::<_, StoreError>(first)
        })
        .await
        .unwrap();
    assert!(!seen, "the answer comes from the second attempt");
}
