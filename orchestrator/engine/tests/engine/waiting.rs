//! What waits is bounded: who sends too much is refused and told why, and everybody else is not.

use std::time::Duration;

use muster_engine::limits::MAX_WAITING;
use muster_engine::{
    Address, AskError, Control, Kind, SendError, Status, TokioClock, ask, check, control, signal,
};
use muster_store::{Database, StoreError};

use crate::support::{Account, account, balance, look, order, post, send, tell, until, worker};

/// Signals sent in one transaction.
const CHUNK: u64 = 500;
/// The row that counts what waits with the account "a": (100, 15, shard, "bank").
fn counter() -> Vec<u8> {
    foundationdb_tuple::pack(&(100, 15, u16::from(account("a").shard()), "bank"))
}

/// Has the account "a" be there, and take nothing.
async fn paused(db: &Database) {
    send(db, "a", &order("credit", 0, "")).await;
    tell(db, |tx| control(tx, &account("a"), Control::Pause)).await;
    let paused = async || look(db, &account("a")).await.is_some_and(|a| a.record.status() == Status::Paused);
    until("it is paused", paused).await;
}

async fn credit(db: &Database, address: &Address, count: u64) -> Result<(), SendError> {
    post(db, async |tx| {
        for _ in 0..count {
            signal::<Account>(tx, address, &order("credit", 1, "")).await?;
        }
        Ok(())
    })
    .await
}

/// Sends to the account "a" until there is no more room.
async fn fill(db: &Database) {
    for _ in 0..MAX_WAITING / CHUNK {
        credit(db, &account("a"), CHUNK).await.expect("room");
    }
}

async fn counted(db: &Database) -> Option<i64> {
    let key = counter();
    let row = db.read("counter", async |mut tx| tx.get(&key).await).await.expect("read")?;
    Some(i64::from_le_bytes(row.as_ref().try_into().expect("eight bytes")))
}

async fn findings(db: &Database) -> Vec<(Vec<u8>, String)> {
    let all = db.read("all", async |mut tx| tx.get_range(b"", b"\xfe", 100_000, false).await).await;
    let mut checked = check::Check::default();
    for (key, value) in all.expect("read").iter().filter(|(key, _)| check::is_row(key)) {
        checked.note(key, value);
    }
    checked.findings()
}

/// Another account whose signals wait in the same place as those of "a".
fn neighbour() -> Address {
    let mut others = (0..10_000).map(|key| account(&format!("other {key}")));
    others.find(|other| other.shard() == account("a").shard()).expect("one of the first few hundred")
}

#[tokio::test(start_paused = true)]
async fn who_sends_too_much_is_refused_until_there_is_room_again() {
    let db = Database::memory(1);
    let _worker = worker(&db, 1);
    paused(&db).await;
    fill(&db).await;
    let kept = i64::try_from(MAX_WAITING).expect("small");
    until("all wait with it", async || {
        look(&db, &account("a")).await.is_some_and(|a| a.record.parked == MAX_WAITING)
    })
    .await;
    assert_eq!(counted(&db).await, Some(kept));
    let error = credit(&db, &account("a"), 1).await.expect_err("full");
    assert!(matches!(&error, SendError::Full(full) if full.waiting == MAX_WAITING), "{error:?}");
    assert!(error.to_string().contains("resume or retry"), "{error}");
    // Nothing of a transaction with one too many is there; who lives elsewhere is not concerned.
    assert!(credit(&db, &neighbour(), 1).await.is_err());
    assert_eq!(counted(&db).await, Some(kept));
    credit(&db, &Account::address("shop", "a").expect("valid"), 1).await.expect("another namespace");
    assert_eq!(findings(&db).await, []);

    // What operators say is heard all the same.
    tell(&db, |tx| control(tx, &account("a"), Control::Resume)).await;
    until("all is taken", async || balance(&db, "a").await.is_some_and(|a| a.amount == kept)).await;
    assert_eq!(counted(&db).await, Some(0), "each that was taken is counted off");
    credit(&db, &account("a"), 1).await.expect("room again");
    until("nothing is counted any more", async || counted(&db).await.is_none()).await;
    assert_eq!(balance(&db, "a").await.expect("there").amount, kept + 1);
    assert_eq!(findings(&db).await, []);
}

#[tokio::test(start_paused = true)]
async fn questions_and_workflows_that_send_are_refused_too() {
    let db = Database::memory(2);
    let _worker = worker(&db, 1);
    paused(&db).await;
    fill(&db).await;
    let clock = TokioClock::new(1_000_000);
    let (address, question) = (account("a"), order("ask", 0, ""));
    let asked = ask::<Account, i64>(&db, &clock, &address, &question, Duration::from_secs(1)).await;
    assert!(matches!(asked, Err(AskError::Full(_))), "{asked:?}");
    // In another shard: what is sent to it has room.
    let rich = (0..100).map(|key| format!("rich {key}"));
    let rich =
        rich.into_iter().find(|key| account(key).shard() != account("a").shard()).expect("one of many");
    send(&db, &rich, &order("send", 3, "a")).await;
    let failing =
        async || look(&db, &account(&rich)).await.is_some_and(|it| it.record.reason.contains("wait already"));
    until("it fails, and says why", failing).await;
    tell(&db, |tx| control(tx, &account("a"), Control::Resume)).await;
    tell(&db, |tx| control(tx, &account(&rich), Control::Retry)).await;
    let sent = i64::try_from(MAX_WAITING).expect("small") + 3;
    until("it has been sent", async || balance(&db, "a").await.is_some_and(|a| a.amount == sent)).await;
}

#[tokio::test(start_paused = true)]
async fn a_number_that_an_older_release_left_behind_refuses_nobody() {
    let db = Database::memory(3);
    let left = (10 * MAX_WAITING).to_le_bytes();
    let key = counter();
    db.run("left", async |mut tx| {
        tx.set(&key, &left);
        Ok::<_, StoreError>(())
    })
    .await
    .expect("written");
    assert!(!findings(&db).await.is_empty());
    let _worker = worker(&db, 1);
    send(&db, "a", &order("credit", 5, "")).await;
    until("it is set right", async || counted(&db).await.is_none()).await;
    assert_eq!(balance(&db, "a").await.expect("there").amount, 5);
    assert_eq!(findings(&db).await, []);
}
