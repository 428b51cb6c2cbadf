//! Watches: fired when they should be, never lost, cancelled when nothing can fire them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use muster_store::{Database, StoreError, Transaction, Watch};
use tokio::time::timeout;

use crate::support::set;

/// Longer than anything here takes on a machine that is very busy.
const DEADLINE: Duration = Duration::from_secs(30);

async fn fired(watch: &mut Watch) -> Result<(), StoreError> {
    timeout(DEADLINE, watch.changed()).await.expect("the watch fires before the deadline")
}

/// Whether the watch has fired already. A local driver fires before it answers the commit that fires,
/// so after a commit there is nothing to wait for; a cluster may be later, and then this says little.
async fn has_fired(watch: &mut Watch) -> bool {
    timeout(Duration::ZERO, watch.changed()).await.is_ok()
}

pub(crate) async fn fires_on_set_clear_add_and_range_clear(database: &Database) {
    let mut watch = database.watch(b"k").await.unwrap();
    set(database, b"j", b"1").await;
    assert!(!has_fired(&mut watch).await, "another key");
    set(database, b"k", b"1").await;
    assert_eq!(fired(&mut watch).await, Ok(()));
    assert_eq!(fired(&mut watch).await, Ok(()), "again after it has fired");

    let mut watch = database.watch(b"k").await.unwrap();
    set(database, b"k", b"1").await;
    assert!(!has_fired(&mut watch).await, "the same value is no change");
    let writes: [&dyn Fn(&mut Transaction); 3] =
        [&|tx| tx.atomic_add(b"k", 1), &|tx| tx.clear(b"k"), &|tx| tx.clear_range(b"a", b"z")];
    for write in writes {
        set(database, b"k", b"some").await;
        let mut watch = database.watch(b"k").await.unwrap();
        database
            .run("write", async |mut tx: Transaction| {
                write(&mut tx);
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        assert_eq!(fired(&mut watch).await, Ok(()));
    }
}

pub(crate) async fn a_watch_of_a_transaction_misses_nothing_after_its_read(database: &Database) {
    // Written between the transaction's read and its end, without conflict: a snapshot read.
    let mut watch = database
        .run("late", async |mut tx| {
            assert_eq!(tx.snapshot_get(b"k").await?, None);
            let watch = tx.watch(b"k");
            set(database, b"k", b"meanwhile").await;
            Ok::<_, StoreError>(watch)
        })
        .await
        .unwrap();
    assert_eq!(fired(&mut watch).await, Ok(()));

    // One that writes has read what it watches, and runs again.
    let attempts = AtomicU32::new(0);
    let mut watch = database
        .run("late and writing", async |mut tx| {
            let watch = tx.watch(b"w");
            if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
                set(database, b"w", b"meanwhile").await;
            }
            tx.set(b"other", b"1");
            Ok::<_, StoreError>(watch)
        })
        .await
        .unwrap();
    assert_eq!(attempts.into_inner(), 2);
    assert!(!has_fired(&mut watch).await, "it starts from what the second attempt saw");
    set(database, b"w", b"later").await;
    assert_eq!(fired(&mut watch).await, Ok(()));
}

pub(crate) async fn a_watch_on_an_own_write_starts_from_it(database: &Database) {
    let mut watch = database
        .run("own", async |mut tx| {
            tx.atomic_add(b"k", 7);
            Ok::<_, StoreError>(tx.watch(b"k"))
        })
        .await
        .unwrap();
    assert!(!has_fired(&mut watch).await);
    set(database, b"k", &7i64.to_le_bytes()).await;
    assert!(!has_fired(&mut watch).await, "still 7");
    set(database, b"k", b"8").await;
    assert_eq!(fired(&mut watch).await, Ok(()));
}

pub(crate) async fn a_watch_whose_transaction_fails_is_cancelled(database: &Database) {
    let kept = std::sync::Mutex::new(None);
    let result: Result<(), StoreError> = database
        .run("fails", async |mut tx| {
            *kept.lock().unwrap() = Some(tx.watch(b"k"));
            Err(StoreError::InvertedRange)
        })
        .await;
    assert!(result.is_err());
    let mut watch = kept.into_inner().unwrap().unwrap();
    assert_eq!(fired(&mut watch).await, Err(StoreError::WatchCancelled));
}

pub(crate) async fn watches_are_bounded_and_dropping_one_makes_room(database: &Database) {
    let mut watches: Vec<Watch> = database
        .run("many", async |mut tx| {
            let keys = 0..muster_store::limits::MAX_WATCHES as u32;
            Ok::<_, StoreError>(keys.map(|key| tx.watch(&key.to_be_bytes())).collect())
        })
        .await
        .unwrap();
    assert_eq!(database.watch(b"one more").await.unwrap_err(), StoreError::TooManyWatches);
    watches.pop();
    database.watch(b"one more").await.unwrap();
}

pub(crate) async fn no_change_is_lost_under_load(database: &Database) {
    const STEPS: u64 = 300;
    const FOLLOWERS: u64 = 8;
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..FOLLOWERS {
        let database = database.clone();
        followers.spawn(async move {
            loop {
                let (value, mut watch) = database
                    .run("follow", async |mut tx| {
                        let value =
                            tx.get(b"n").await?.map_or(0, |v| u64::from_le_bytes(v[..].try_into().unwrap()));
                        Ok::<_, StoreError>((value, tx.watch(b"n")))
                    })
                    .await
                    .unwrap();
                if value == STEPS {
                    return;
                }
                watch.changed().await.unwrap();
            }
        });
    }
    let writer = database.clone();
    tokio::spawn(async move {
        for n in 1..=STEPS {
            set(&writer, b"n", &n.to_le_bytes()).await;
        }
    })
    .await
    .unwrap();
    // A lost change would leave its follower waiting for ever.
    while let Some(done) = timeout(DEADLINE, followers.join_next()).await.expect("no follower is stuck") {
        done.unwrap();
    }
}
