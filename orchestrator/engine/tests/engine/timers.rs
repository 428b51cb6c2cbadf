//! Timers fire once, in order, whatever happens in between.

use std::time::Duration;

use muster_store::Database;

use crate::support::{account, bad_day, balance, look, order, send, until, worker};

#[tokio::test(start_paused = true)]
async fn timers_fire_in_order_and_survive_their_worker() {
    let db = Database::memory(1);
    let first = worker(&db, 1);
    for (name, after) in [("c", 90_000), ("a", 30_000), ("b", 60_000), ("moved", 10_000), ("gone", 20_000)] {
        send(&db, "x", &order("set", after, name)).await;
    }
    send(&db, "x", &order("set", 120_000, "moved")).await;
    send(&db, "x", &order("cancel-timer", 0, "gone")).await;
    let set = async || look(&db, &account("x")).await.is_some_and(|found| found.record.timers.len() == 4);
    until("the timers are set", set).await;
    let fired = async |count: usize| balance(&db, "x").await.expect("there").memory.len() == count;
    until("the first has fired", || fired(1)).await;
    drop(first);
    // Over the time of the second.
    tokio::time::sleep(Duration::from_mins(1)).await;
    db.set_commit_faults(bad_day());
    let _second = worker(&db, 2);
    until("all have fired", || fired(4)).await;
    assert_eq!(balance(&db, "x").await.expect("there").memory, ["a", "b", "c", "moved"]);
    assert!(look(&db, &account("x")).await.expect("there").record.timers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_over_is_told_of_to_its_parent_and_removed_in_the_end() {
    let db = Database::memory(2);
    let _worker = worker(&db, 1);
    send(&db, "parent", &order("child", 42, "kid")).await;
    let told = async || balance(&db, "parent").await.is_some_and(|balance| balance.memory.len() == 1);
    until("the parent is told", told).await;
    assert!(balance(&db, "parent").await.expect("there").memory[0].starts_with("kid Ok"));
    let kid = look(&db, &account("kid")).await.expect("kept for a while");
    assert_eq!(kid.record.status(), muster_engine::Status::Finished);
    assert_eq!(kid.waits_for(0), "nothing; it is over");
    tokio::time::sleep(Duration::from_mins(59)).await;
    assert!(look(&db, &account("kid")).await.is_some());
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(look(&db, &account("kid")).await.is_none());
    // And can begin anew.
    send(&db, "kid", &order("credit", 1, "")).await;
    until("it has begun", async || balance(&db, "kid").await.is_some_and(|balance| balance.amount == 1))
        .await;
}
