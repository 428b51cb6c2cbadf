//! What fails is tried again, then set aside with its reason; nothing of it is lost, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_engine::{Control, Engine, Registry, Status};
use muster_store::{Database, Transaction};

use crate::support::{Account, account, balance, look, options, order, send, tell, until};

fn failing(db: &Database, left: &Arc<AtomicU64>) -> Engine {
    let machine = Account { failures_left: left.clone() };
    Engine::start(db.clone(), Registry::new().with_machine(machine), options(1))
}

async fn status(db: &Database, key: &str) -> Option<Status> {
    look(db, &account(key)).await.map(|workflow| workflow.record.status())
}

fn control(tx: &mut Transaction, key: &str, what: Control) {
    muster_engine::control(tx, &account(key), what);
}

#[tokio::test(start_paused = true)]
async fn a_failed_transition_is_tried_again_and_what_came_later_waits_its_turn() {
    let (db, left) = (Database::memory(1), Arc::new(AtomicU64::new(2)));
    let _worker = failing(&db, &left);
    send(&db, "a", &order("remember", 1, "")).await;
    send(&db, "a", &order("fail", 0, "")).await;
    send(&db, "a", &order("remember", 2, "")).await;
    send(&db, "b", &order("remember", 9, "")).await;
    until("b is not held up", async || balance(&db, "b").await.is_some_and(|b| b.memory == ["9"])).await;
    let done = async || balance(&db, "a").await.is_some_and(|a| a.memory.len() == 3);
    until("a has got over it", done).await;
    assert_eq!(balance(&db, "a").await.expect("there").memory, ["1", "did not fail", "2"]);
    let record = look(&db, &account("a")).await.expect("there").record;
    assert_eq!((record.status(), record.attempts, record.parked), (Status::Running, 0, 0));
    assert!(record.history.iter().any(|entry| entry.outcome == "told to fail"), "{:?}", record.history);
}

#[tokio::test(start_paused = true)]
async fn one_that_keeps_failing_is_set_aside_and_goes_on_where_it_was_when_told() {
    let (db, left) = (Database::memory(2), Arc::new(AtomicU64::new(u64::MAX)));
    let _worker = failing(&db, &left);
    send(&db, "a", &order("fail", 0, "")).await;
    send(&db, "a", &order("remember", 2, "")).await;
    until("it is dead", async || status(&db, "a").await == Some(Status::Dead)).await;
    let workflow = look(&db, &account("a")).await.expect("there");
    assert_eq!((workflow.record.attempts, &*workflow.record.reason), (4, "told to fail"));
    assert!(workflow.waits_for(0).contains("muster workflow retry"), "{}", workflow.waits_for(0));
    send(&db, "a", &order("remember", 3, "")).await;
    left.store(0, Ordering::SeqCst);
    tell(&db, |tx| control(tx, "a", Control::Retry)).await;
    let done = async || balance(&db, "a").await.is_some_and(|a| a.memory.len() == 3);
    until("it has gone on", done).await;
    assert_eq!(balance(&db, "a").await.expect("there").memory, ["did not fail", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_worked_before_fails_as_slowly_and_holds_up_nobody() {
    let (db, left) = (Database::memory(5), Arc::new(AtomicU64::new(u64::MAX)));
    let _worker = failing(&db, &left);
    send(&db, "a", &order("remember", 1, "")).await;
    until("a has worked", async || balance(&db, "a").await.is_some_and(|a| a.memory == ["1"])).await;
    send(&db, "a", &order("fail", 0, "")).await;
    until("it is dead", async || status(&db, "a").await == Some(Status::Dead)).await;
    assert_eq!(u64::MAX - left.load(Ordering::SeqCst), 4, "once for each attempt");
    // Set aside it stays, however long, and the others of its shard go on.
    tokio::time::sleep(std::time::Duration::from_mins(5)).await;
    for key in 0..200 {
        send(&db, &key.to_string(), &order("remember", 7, "")).await;
    }
    for key in 0..200 {
        let done = async || balance(&db, &key.to_string()).await.is_some_and(|other| other.memory == ["7"]);
        until("the others go on", done).await;
    }
    assert_eq!(u64::MAX - left.load(Ordering::SeqCst), 4);
    let record = look(&db, &account("a")).await.expect("there").record;
    assert_eq!((record.status(), record.attempts, record.timers.len()), (Status::Dead, 4, 0));
    left.store(0, Ordering::SeqCst);
    tell(&db, |tx| control(tx, "a", Control::Retry)).await;
    let done = async || balance(&db, "a").await.is_some_and(|a| a.memory == ["1", "did not fail"]);
    until("it has gone on", done).await;
}

#[tokio::test(start_paused = true)]
async fn panics_endless_waits_and_too_large_states_are_failures_of_their_own() {
    let db = Database::memory(3);
    let _worker = crate::support::worker(&db, 1);
    let orders = [
        ("panic", 0, "panicked: told to panic"),
        ("slow", 0, "longer than 2s"),
        ("too large", 90_000, "limit"),
    ];
    for (what, amount, _) in orders {
        send(&db, what, &order(what, amount, "")).await;
    }
    send(&db, "well", &order("remember", 1, "")).await;
    until("the others go on", async || balance(&db, "well").await.is_some_and(|a| a.memory == ["1"])).await;
    for (what, _, reason) in orders {
        until("it is dead", async || status(&db, what).await == Some(Status::Dead)).await;
        let found = look(&db, &account(what)).await.expect("there").record.reason;
        assert!(found.contains(reason), "{what}: {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_workflow_takes_nothing_until_it_is_resumed() {
    let db = Database::memory(4);
    let _worker = crate::support::worker(&db, 1);
    send(&db, "a", &order("set", 5_000, "t")).await;
    until("it is there", async || status(&db, "a").await.is_some()).await;
    tell(&db, |tx| control(tx, "a", Control::Pause)).await;
    until("it is paused", async || status(&db, "a").await == Some(Status::Paused)).await;
    send(&db, "a", &order("remember", 1, "")).await;
    tokio::time::sleep(std::time::Duration::from_mins(5)).await;
    assert!(balance(&db, "a").await.expect("there").memory.is_empty());
    tell(&db, |tx| control(tx, "a", Control::Resume)).await;
    until("it goes on", async || balance(&db, "a").await.is_some_and(|a| a.memory.len() == 2)).await;
    assert_eq!(balance(&db, "a").await.expect("there").memory, ["1", "t"]);
    tell(&db, |tx| control(tx, "a", Control::Cancel)).await;
    until("it is cancelled", async || status(&db, "a").await == Some(Status::Cancelled)).await;
}
