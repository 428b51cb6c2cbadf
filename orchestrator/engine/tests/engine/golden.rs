//! Workflows that earlier releases began, in `golden/`, under today's code: both styles go on from where they
//! were, and what was done is not done again.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use muster_engine::{
    Address, Engine, Kind, Received, Registry, Status, StepContext, StepError, StepPolicy, Steps, check,
};
use muster_store::{Database, StoreError};

use crate::rows::{self, Row};
use crate::support::{Account, HANDLED, balance, look, number, options, order, post, send, until};

type Outside = Arc<Mutex<Vec<String>>>;

/// Books after a rest and a go, or fails after the rest if there is nothing to book.
///
/// Releases have begun it, so its steps must not change: a change is another version of it.
struct Booking {
    outside: Outside,
}

impl Kind for Booking {
    const KIND: &'static str = "booking";
    type Input = String;
    type Signal = String;
}

impl Steps for Booking {
    type Output = String;

    async fn run(&self, cx: StepContext, input: String) -> Result<String, StepError> {
        let note = |what: String| self.outside.lock().expect("whole").push(what);
        let undone = self.outside.clone();
        cx.step_with_undo(
            "reserve",
            StepPolicy::DEFAULT,
            |key| {
                note(format!("reserve {}", key.as_str()));
                async { Ok(()) }
            },
            move |_: Option<()>| {
                undone.lock().expect("whole").push("undo reserve".to_owned());
                async { Ok(()) }
            },
        )
        .await?;
        let _: () = cx
            .transact("count", |cx| {
                async move {
                    cx.tx().atomic_add(HANDLED, 1);
                    Ok(())
                }
                .boxed()
            })
            .await?;
        cx.sleep("rest", Duration::from_mins(10)).await?;
        if input == "nothing" {
            return Err(StepError::Because("there is nothing to book".into()));
        }
        let Received::Signal(go, _) = cx.receive::<String>("go").await? else {
            return Err(StepError::Because("it has no children".into()));
        };
        cx.step("book", StepPolicy::DEFAULT, |key| {
            note(format!("book {}", key.as_str()));
            async { Ok(()) }
        })
        .await?;
        Ok(format!("{input} {go}"))
    }
}

fn booking(key: &str) -> Address {
    Booking::address("n", key).expect("valid")
}

fn worker(db: &Database, number: u8, outside: &Outside) -> Engine {
    let accounts = Account { failures_left: Arc::new(AtomicU64::new(0)) };
    let registry = Registry::new().with_machine(accounts).with_steps(Booking { outside: outside.clone() });
    Engine::start(db.clone(), registry, options(number))
}

async fn is(db: &Database, key: &str, status: Status) -> bool {
    look(db, &booking(key)).await.is_some_and(|found| found.record.status() == status)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

async fn all_rows(db: &Database) -> Vec<Row> {
    let all = db.read("all", async |mut tx| tx.get_range(b"", b"\xfe", 100_000, false).await).await;
    all.expect("read").into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Writes the workflows of this release, if `MUSTER_WRITE_GOLDEN` names it; what is in them is checked always.
#[tokio::test(start_paused = true)]
async fn write() {
    let (db, outside) = (Database::memory(1), Outside::default());
    let engine = worker(&db, 1, &outside);
    for (key, input) in [("table", "table"), ("nothing", "nothing")] {
        let address = booking(key);
        post(&db, async |tx| muster_engine::start::<Booking>(tx, &address, &input.to_owned()).await)
            .await
            .expect("room");
    }
    send(&db, "ann", &order("credit", 5, "")).await;
    send(&db, "bob", &order("credit", 0, "")).await;
    send(&db, "ann", &order("set", 900_000, "late")).await;
    let asleep = async || {
        let (table, nothing) = (look(&db, &booking("table")).await, look(&db, &booking("nothing")).await);
        let rests = [table, nothing].into_iter().flatten().filter(|it| !it.record.awake);
        rests.filter(|it| it.record.timers.len() == 1).count() == 2 && number(&db, HANDLED).await == 5
    };
    until("both rest", asleep).await;
    drop(engine);
    // What nobody has handled yet.
    send(&db, "ann", &order("send", 3, "bob")).await;
    let table = booking("table");
    post(&db, async |tx| muster_engine::signal::<Booking>(tx, &table, &"now".to_owned()).await)
        .await
        .expect("room");
    let rows = all_rows(&db).await;
    assert!(rows.len() > 10, "{} rows", rows.len());
    rows::write_if_asked(&directory(), &rows);
}

#[tokio::test(start_paused = true)]
async fn workflows_of_every_release_go_on() {
    for path in rows::releases(&directory()) {
        goes_on(&path).await;
    }
}

async fn goes_on(path: &Path) {
    let (db, outside) = (Database::memory(2), Outside::default());
    let was = rows::read(path);
    let written = db.run("golden", async |mut tx| {
        for (key, value) in &was {
            tx.set(key, value);
        }
        Ok::<_, StoreError>(())
    });
    written.await.expect("written");
    let _worker = worker(&db, 9, &outside);
    until("the table is booked", async || is(&db, "table", Status::Finished).await).await;
    let output = look(&db, &booking("table")).await.expect("there").record.output;
    assert_eq!(<String as prost::Message>::decode(output).as_deref(), Ok("table now"));
    until("the other is undone", async || is(&db, "nothing", Status::Failed).await).await;
    let fired = async || balance(&db, "ann").await.is_some_and(|ann| ann.memory == ["late"]);
    until("the timer fires", fired).await;
    let seen = outside.lock().expect("whole").clone();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.contains(&"book n/booking/table#1.5".to_owned()), "{seen:?}");
    assert!(seen.contains(&"undo reserve".to_owned()), "{seen:?}");
    let (ann, bob) = (balance(&db, "ann").await.expect("there"), balance(&db, "bob").await.expect("there"));
    assert_eq!((ann.amount, bob.amount), (2, 3));
    // Two counts of bookings and three orders were there; a send and its credit came.
    assert_eq!(number(&db, HANDLED).await, 7);
    let mut checked = check::Check::default();
    for (key, value) in all_rows(&db).await {
        if check::is_row(&key) {
            checked.note(&key, &value.into());
        }
    }
    assert!(checked.findings().is_empty(), "{}", path.display());
}
