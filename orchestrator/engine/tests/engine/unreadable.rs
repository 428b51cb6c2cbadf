//! What no code here can read is set aside with all that comes for it, in nobody's way; nothing of it is lost, and it goes
//! on once it can be read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_engine::limits::MAX_WAITING;
use muster_engine::{
    Control, Engine, Kind, Received, Registry, SendError, Status, StepContext, StepError, StepPolicy, Steps,
    check, control, inspect, nudge, signal, start,
};
use muster_store::{Bytes, Database};

use crate::support::{Account, account, balance, look, options, order, post, send, tell, until, worker};

/// A row that is no message.
const GARBAGE: &[u8] = b"\xff\xff";

async fn all(db: &Database) -> Vec<(Bytes, Bytes)> {
    db.read("all", async |mut tx| tx.get_range(b"", b"\xfe", 100_000, false).await).await.expect("read")
}

/// The rows of a kind, by its number in every key.
async fn rows(db: &Database, kind: u16) -> Vec<(Bytes, Bytes)> {
    let prefix = foundationdb_tuple::pack(&(100u16, kind));
    all(db).await.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect()
}

/// The first row of a kind.
async fn row(db: &Database, kind: u16) -> (Bytes, Bytes) {
    rows(db, kind).await.into_iter().next().expect("such a row")
}

const STATE: u16 = 1;
const INBOX: u16 = 2;
const JOURNAL: u16 = 8;
const PARKED: u16 = 11;
const WAITING: u16 = 15;
const HELD: u16 = 16;

async fn write(db: &Database, key: &Bytes, value: &[u8]) {
    tell(db, |tx| tx.set(key, value)).await;
}

async fn findings(db: &Database) -> Vec<String> {
    let mut checked = check::Check::default();
    for (key, value) in all(db).await.iter().filter(|(key, _)| check::is_row(key)) {
        checked.note(key, value);
    }
    checked.findings().into_iter().map(|(_, what)| what).collect()
}

/// Another account of the same shard and namespace.
fn neighbour() -> String {
    let mut others = (0..10_000).map(|number| format!("other {number}"));
    others.find(|key| account(key).shard() == account("a").shard()).expect("one of the first few hundred")
}

async fn remembers(db: &Database, key: &str, what: &[&str]) -> bool {
    balance(db, key).await.is_some_and(|balance| balance.memory == what)
}

/// Has the account "a" remember 1 and set a timer of five minutes, and stops. Returns its row.
async fn begun(db: &Database) -> (Bytes, Bytes) {
    let first = worker(db, 1);
    send(db, "a", &order("remember", 1, "")).await;
    send(db, "a", &order("set", 300_000, "late")).await;
    let set = async || look(db, &account("a")).await.is_some_and(|a| a.record.timers.len() == 1);
    until("it has a timer", set).await;
    first.stop().await;
    row(db, STATE).await
}

/// Sends the account "a" what it cannot be given, until its neighbour has had what was sent after that.
async fn kept_from_it(db: &Database) {
    send(db, "a", &order("remember", 2, "")).await;
    tell(db, |tx| nudge(tx, &account("a"))).await;
    send(db, "a", &order("remember", 3, "")).await;
    let other = neighbour();
    send(db, &other, &order("remember", 9, "")).await;
    until("its neighbour goes on", async || remembers(db, &other, &["9"]).await).await;
    // Its timer comes due as well, and is in nobody's way.
    tokio::time::sleep(Duration::from_mins(10)).await;
    send(db, &other, &order("remember", 8, "")).await;
    until("its neighbour still goes on", async || remembers(db, &other, &["9", "8"]).await).await;
}

async fn is_blocked_with_why(db: &Database) {
    let found = look(db, &account("a")).await.expect("there");
    assert_eq!(found.record.status(), Status::Blocked);
    assert!(found.waits_for(0).contains("cannot be read"), "{}", found.waits_for(0));
    let filter = inspect::Filter { status: Some(Status::Blocked), ..inspect::Filter::default() };
    let (listed, _) = inspect::list(db, "bank", &filter, None, 10).await.expect("read");
    assert_eq!(listed, std::slice::from_ref(&found));
    let aside = db.read("aside", async |mut tx| inspect::set_aside(&mut tx, 10).await).await.expect("read");
    assert_eq!(aside, [found]);
    let told = findings(db).await;
    assert!(told.len() == 1 && told[0].contains("cannot be read"), "{told:?}");
}

/// All that was kept from it, each once; a timer and nudges have no place among signals.
async fn has_it_all(db: &Database) {
    let all = async || balance(db, "a").await.is_some_and(|balance| balance.memory.len() >= 5);
    until("it has it all", all).await;
    let mut memory = balance(db, "a").await.expect("there").memory;
    let signals: Vec<_> = memory.iter().filter(|what| what.parse::<u64>().is_ok()).cloned().collect();
    assert_eq!(signals, ["1", "2", "3"]);
    memory.sort();
    assert_eq!(memory, ["1", "2", "3", "late", "saw 0"]);
    let record = look(db, &account("a")).await.expect("there").record;
    assert_eq!((record.status(), record.parked, record.timers.len()), (Status::Running, 0, 0));
    until("no row is left over", async || findings(db).await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_cannot_be_read_is_in_nobodys_way_and_goes_on_under_code_that_can() {
    let db = Database::memory(1);
    let (key, record) = begun(&db).await;
    write(&db, &key, GARBAGE).await;
    let second = worker(&db, 2);
    kept_from_it(&db).await;
    is_blocked_with_why(&db).await;
    second.stop().await;
    // To whoever can read it, nothing was ever wrong.
    write(&db, &key, &record).await;
    assert_eq!(findings(&db).await, Vec::<String>::new());
    let _third = worker(&db, 3);
    has_it_all(&db).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_can_be_read_again_goes_on_when_told() {
    let db = Database::memory(2);
    let (key, record) = begun(&db).await;
    write(&db, &key, GARBAGE).await;
    let _second = worker(&db, 2);
    kept_from_it(&db).await;
    // Too early: it stays as it is.
    tell(&db, |tx| control(tx, &account("a"), Control::Retry)).await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    is_blocked_with_why(&db).await;
    write(&db, &key, &record).await;
    tell(&db, |tx| control(tx, &account("a"), Control::Retry)).await;
    has_it_all(&db).await;
}

#[tokio::test(start_paused = true)]
async fn what_stands_as_only_a_newer_release_knows_is_not_taken_for_running() {
    let db = Database::memory(3);
    let (key, record) = begun(&db).await;
    // Of a field that comes twice, the last counts: its status.
    write(&db, &key, &[&record[..], &[0x10, 0x63]].concat()).await;
    let _second = worker(&db, 2);
    send(&db, "a", &order("remember", 2, "")).await;
    let why = async || {
        look(&db, &account("a"))
            .await
            .is_some_and(|it| it.waits_for(0).contains("only a newer release knows"))
    };
    until("it is blocked", why).await;
    assert!(row(&db, STATE).await.1.ends_with(&[0x10, 0x63]), "it is left as it is");
}

#[tokio::test(start_paused = true)]
async fn very_much_that_is_held_comes_back_in_its_order_and_is_bounded() {
    let db = Database::memory(4);
    let (key, record) = begun(&db).await;
    write(&db, &key, GARBAGE).await;
    let second = worker(&db, 2);
    for number in 0..200 {
        send(&db, "a", &order("remember", 1_000 + number, "")).await;
    }
    until("all are held", async || rows(&db, HELD).await.len() == 200).await;
    // They count as waiting: were there more of them, nobody could send any more.
    let (counter, count) = row(&db, WAITING).await;
    assert_eq!(count.as_ref(), 200_i64.to_le_bytes());
    tell(&db, |tx| tx.set(&counter, &MAX_WAITING.to_le_bytes())).await;
    let one_more = post(&db, async |tx| signal::<Account>(tx, &account("a"), &order("credit", 1, "")).await);
    assert!(matches!(one_more.await, Err(SendError::Full(_))));
    write(&db, &counter, &count).await;
    second.stop().await;
    write(&db, &key, &record).await;
    let _third = worker(&db, 3);
    send(&db, "a", &order("remember", 2_000, "")).await;
    let done = async || balance(&db, "a").await.is_some_and(|balance| balance.memory.len() == 202);
    until("it has them all", done).await;
    let memory = balance(&db, "a").await.expect("there").memory;
    let expected = std::iter::once(1).chain(1_000..1_200).chain([2_000]).map(|number| number.to_string());
    assert_eq!(memory, expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_cannot_be_read_is_kept_for_code_that_can() {
    let db = Database::memory(5);
    send(&db, "a", &order("remember", 1, "")).await;
    let (key, signal) = row(&db, INBOX).await;
    write(&db, &key, GARBAGE).await;
    let first = worker(&db, 1);
    send(&db, "a", &order("remember", 2, "")).await;
    until("others go on", async || remembers(&db, "a", &["2"]).await).await;
    let told = findings(&db).await;
    assert!(told.len() == 1 && told[0].contains("cannot be read"), "{told:?}");
    first.stop().await;
    // Still nobody can.
    let second = worker(&db, 2);
    send(&db, "a", &order("remember", 3, "")).await;
    until("others go on", async || remembers(&db, "a", &["2", "3"]).await).await;
    second.stop().await;
    let (key, _) = row(&db, HELD).await;
    write(&db, &key, &signal).await;
    let _third = worker(&db, 3);
    until("it is delivered", async || remembers(&db, "a", &["2", "3", "1"]).await).await;
    until("no row is left over", async || findings(&db).await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_waits_and_cannot_be_read_blocks_its_workflow_alone() {
    let db = Database::memory(6);
    let first = worker(&db, 1);
    send(&db, "a", &order("credit", 1, "")).await;
    tell(&db, |tx| control(tx, &account("a"), Control::Pause)).await;
    let paused = async || look(&db, &account("a")).await.is_some_and(|a| a.record.status() == Status::Paused);
    until("it is paused", paused).await;
    send(&db, "a", &order("remember", 1, "")).await;
    send(&db, "a", &order("remember", 2, "")).await;
    until("both wait", async || look(&db, &account("a")).await.is_some_and(|a| a.record.parked == 2)).await;
    first.stop().await;
    let (key, signal) = row(&db, PARKED).await;
    write(&db, &key, GARBAGE).await;
    let second = worker(&db, 2);
    tell(&db, |tx| control(tx, &account("a"), Control::Resume)).await;
    let blocked = async || {
        let found = look(&db, &account("a")).await.expect("there");
        found.record.status() == Status::Blocked && found.waits_for(0).contains("what waits with it")
    };
    until("it is blocked", blocked).await;
    let other = neighbour();
    send(&db, &other, &order("remember", 9, "")).await;
    until("its neighbour goes on", async || remembers(&db, &other, &["9"]).await).await;
    second.stop().await;
    write(&db, &key, &signal).await;
    let _third = worker(&db, 3);
    until("it goes on", async || remembers(&db, "a", &["1", "2"]).await).await;
}

/// Calls the outside, then waits for a go.
struct Call {
    calls: Arc<Mutex<u32>>,
}

impl Kind for Call {
    const KIND: &'static str = "call";
    type Input = ();
    type Signal = String;
}

impl Steps for Call {
    type Output = String;

    async fn run(&self, cx: StepContext, (): ()) -> Result<String, StepError> {
        cx.step("call", StepPolicy::DEFAULT, |_| async {
            *self.calls.lock().expect("whole") += 1;
            Ok(())
        })
        .await?;
        match cx.receive::<String>("go").await? {
            Received::Signal(go, _) => Ok(go),
            Received::ChildEnded(..) => Err(StepError::Because("it has no children".into())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_record_or_journal_cannot_be_read_waits_and_repeats_nothing() {
    let (db, calls) = (Database::memory(7), Arc::new(Mutex::new(0)));
    let begin = |number| -> Engine {
        let call = Call { calls: calls.clone() };
        Engine::start(db.clone(), Registry::new().with_steps(call), options(number))
    };
    let address = Call::address("n", "c").expect("valid");
    let stands = async |status, why: &str| {
        let stands = async || {
            let found = look(&db, &address).await.expect("there");
            found.record.status() == status && found.waits_for(0).contains(why)
        };
        until(why, stands).await;
    };
    let first = begin(1);
    post(&db, async |tx| start::<Call>(tx, &address, &()).await).await.expect("room");
    let waits = async || look(&db, &address).await.is_some_and(|it| it.record.receiving);
    until("it waits for a go", waits).await;
    first.stop().await;
    let (state, record) = row(&db, STATE).await;
    let (step, entry) = row(&db, JOURNAL).await;

    write(&db, &state, GARBAGE).await;
    write(&db, &step, GARBAGE).await;
    let second = begin(2);
    post(&db, async |tx| signal::<Call>(tx, &address, &"go".to_owned()).await).await.expect("room");
    stands(Status::Blocked, "its record cannot be read").await;
    second.stop().await;
    // The record can be read now, and what it has done cannot.
    write(&db, &state, &record).await;
    let _third = begin(3);
    stands(Status::Dead, "what became of step 1 cannot be read").await;
    let journal = inspect::journal(&db, &address).await.expect("read");
    assert!(journal.iter().any(|(_, entry)| entry.what == "unreadable"), "{journal:?}");
    write(&db, &step, &entry).await;
    tell(&db, |tx| control(tx, &address, Control::Retry)).await;
    let finished =
        async || look(&db, &address).await.is_some_and(|it| it.record.status() == Status::Finished);
    until("it is over", finished).await;
    assert_eq!(*calls.lock().expect("whole"), 1);
}
