//! Nudges are one however many they are, and a look after one misses nothing that came with it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use muster_engine::{Control, Engine, Registry, Status, nudge};
use muster_store::{Database, Transaction};

use crate::support::{Account, TRUTH, account, bad_day, balance, look, options, tell, until, worker};

fn change(tx: &mut Transaction, length: usize) {
    tx.set(TRUTH, &vec![0; length]);
    nudge(tx, &account("a"));
}

async fn last_seen(db: &Database) -> Option<String> {
    balance(db, "a").await?.memory.last().cloned()
}

#[tokio::test(start_paused = true)]
async fn the_last_look_sees_the_last_change() {
    for seed in 0..20 {
        let db = Database::memory(seed);
        let first = worker(&db, 1);
        db.set_commit_faults(bad_day());
        for length in 1..=50 {
            tell(&db, |tx| change(tx, length)).await;
        }
        drop(first);
        let _second = worker(&db, 2);
        until("it has seen all", async || last_seen(&db).await.as_deref() == Some("saw 50")).await;
        // A nudge before anybody was there to take it, and many at once, are few looks.
        let looks = balance(&db, "a").await.expect("there").memory.len();
        assert!(looks <= 51, "{looks} looks");
    }
}

#[tokio::test(start_paused = true)]
async fn a_nudge_outlives_failures_and_pauses() {
    let (db, left) = (Database::memory(1), Arc::new(AtomicU64::new(2)));
    let machine = Account { failures_left: left.clone() };
    let _worker = Engine::start(db.clone(), Registry::new().with_machine(machine), options(1));
    tell(&db, |tx| change(tx, 1)).await;
    until("it got over its failures", async || last_seen(&db).await.as_deref() == Some("saw 1")).await;
    tell(&db, |tx| muster_engine::control(tx, &account("a"), Control::Pause)).await;
    let paused =
        async || look(&db, &account("a")).await.is_some_and(|it| it.record.status() == Status::Paused);
    until("it is paused", paused).await;
    tell(&db, |tx| change(tx, 2)).await;
    tokio::time::sleep(std::time::Duration::from_mins(2)).await;
    assert_eq!(last_seen(&db).await.as_deref(), Some("saw 1"));
    tell(&db, |tx| muster_engine::control(tx, &account("a"), Control::Resume)).await;
    until("it looks", async || last_seen(&db).await.as_deref() == Some("saw 2")).await;
}
