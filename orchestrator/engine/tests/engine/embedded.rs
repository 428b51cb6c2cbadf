//! The engine over a file: what it did is there after it was cut off, and nothing is done twice.

use std::time::Duration;

use muster_store::{Database, OpenOptions};

use crate::support::{Account, HANDLED, account, balance, number, order, post, send, until, worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_where_it_was_cut_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store.redb");
    let mut sent = 0;
    for round in 1..=3 {
        let db = Database::open(&path, OpenOptions::default()).expect("opened");
        let engine = worker(&db, round);
        for key in 0..7 {
            let address = account(&i32::to_string(&key));
            post(&db, async |tx| muster_engine::start::<Account>(tx, &address, &0).await)
                .await
                .expect("room");
        }
        for transfer in 0..60 {
            let (from, to) = (transfer % 7, (transfer * 3 + 1) % 7);
            send(&db, &from.to_string(), &order("send", transfer, &to.to_string())).await;
            sent += 1;
        }
        // In the middle of the work.
        drop(engine);
        db.shutdown().await;
    }
    let db = Database::open(&path, OpenOptions::default()).expect("opened");
    let engine = worker(&db, 9);
    let handled = until("all is handled", async || number(&db, HANDLED).await == 2 * sent);
    tokio::time::timeout(Duration::from_mins(1), handled).await.expect("all is handled");
    engine.stop().await;
    let mut sum = 0;
    for key in 0..7 {
        sum += balance(&db, &key.to_string()).await.expect("there").amount;
    }
    assert_eq!((sum, number(&db, HANDLED).await), (0, 2 * sent));
    db.shutdown().await;
}
