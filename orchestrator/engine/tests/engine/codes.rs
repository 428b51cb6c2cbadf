//! Old code, new code, and no code: what is stored is read, moved on, or left alone with a word of why.

use muster_engine::{Address, Context, Event, Failure, Kind, Machine, Registry, Status};
use muster_store::Database;
use prost::Message;

use crate::support::{account, balance, look, order, post, send, until, worker, worker_with};

/// Counters of release 1 counted in units.
struct First;

/// Counters of release 2 count in hundreds.
struct Second;

impl Kind for First {
    const KIND: &'static str = "counter";
    type Input = ();
    type Signal = u64;
}

impl Kind for Second {
    const KIND: &'static str = "counter";
    const VERSION: u32 = 2;
    type Input = ();
    type Signal = u64;
}

/// State of release 1.
#[derive(Clone, PartialEq, Message)]
struct Units {
    #[prost(uint64, tag = "1")]
    units: u64,
}

/// State of release 2.
#[derive(Clone, PartialEq, Message)]
struct Hundreds {
    #[prost(double, tag = "2")]
    hundreds: f64,
}

impl Machine for First {
    type State = Units;

    async fn on(&self, _: &mut Context<'_>, state: &mut Units, event: Event<Self>) -> Result<(), Failure> {
        if let Event::Signal(units, _) = event {
            state.units += units;
        }
        Ok(())
    }
}

impl Machine for Second {
    type State = Hundreds;

    fn migrate(version: u32, state: &[u8]) -> Result<Hundreds, String> {
        match version {
            1 => Units::decode(state)
                .map(|old| Hundreds { hundreds: old.units as f64 / 100.0 })
                .map_err(|error| error.to_string()),
            other => Err(format!("no counter ever had version {other}")),
        }
    }

    async fn on(&self, _: &mut Context<'_>, state: &mut Hundreds, event: Event<Self>) -> Result<(), Failure> {
        if let Event::Signal(units, _) = event {
            state.hundreds += units as f64 / 100.0;
        }
        Ok(())
    }
}

fn counter() -> Address {
    First::address("n", "c").expect("valid")
}

async fn count(db: &Database, units: u64) {
    post(db, async |tx| muster_engine::signal_or_start::<First>(tx, &counter(), &units).await)
        .await
        .expect("room");
}

async fn hundreds(db: &Database) -> f64 {
    let state = look(db, &counter()).await.expect("there").record.state;
    Hundreds::decode(state).map_or(0.0, |state| state.hundreds)
}

/// Golden: what release 1 stored for a counter at 250.
const UNITS_250: &[u8] = &[0x08, 0xfa, 0x01];

#[test]
fn states_of_every_release_can_be_read() {
    assert_eq!(Units { units: 250 }.encode_to_vec(), UNITS_250);
    assert_eq!(Second::migrate(1, UNITS_250), Ok(Hundreds { hundreds: 2.5 }));
    assert!(First::migrate(7, UNITS_250).is_err_and(|why| why.contains("from version 7")));
}

#[tokio::test(start_paused = true)]
async fn newer_code_takes_the_work_over_and_moves_the_state_on() {
    let db = Database::memory(1);
    let old = worker_with(&db, 1, Registry::new().with_machine(First));
    count(&db, 250).await;
    let counted = async || look(&db, &counter()).await.is_some_and(|found| found.record.state == UNITS_250);
    until("the old one has counted", counted).await;
    // Old and new run together: the work moves to the new one, and not back.
    let new = worker_with(&db, 2, Registry::new().with_machine(Second));
    let moved = async || (old.shards_held(), new.shards_held()) == (0, 64);
    until("the new one has all", moved).await;
    count(&db, 50).await;
    until("it goes on from there", async || (hundreds(&db).await - 3.0).abs() < 1e-9).await;
    assert_eq!(look(&db, &counter()).await.expect("there").record.version, 2);

    // A way back to the old release: it leaves alone what it cannot read, and says so.
    drop(new);
    until("the old one has all", async || old.shards_held() == 64).await;
    count(&db, 100).await;
    let blocked =
        async || look(&db, &counter()).await.is_some_and(|it| it.record.status() == Status::Blocked);
    until("it is blocked", blocked).await;
    let why = look(&db, &counter()).await.expect("there").waits_for(0);
    assert!(why.contains("version 2") && why.contains("start a newer one"), "{why}");
    assert!((hundreds(&db).await - 3.0).abs() < 1e-9);
    let _newer = worker_with(&db, 3, Registry::new().with_machine(Second));
    until("it goes on", async || (hundreds(&db).await - 4.0).abs() < 1e-9).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_without_code_waits_and_is_in_nobodys_way() {
    let db = Database::memory(2);
    let accounts = worker(&db, 1);
    count(&db, 1).await;
    count(&db, 2).await;
    let neighbour =
        (0..10_000).map(|key| key.to_string()).find(|key| account(key).shard() == counter().shard());
    let neighbour = neighbour.expect("one of the first few hundred");
    send(&db, &neighbour, &order("credit", 1, "")).await;
    until("its neighbour goes on", async || balance(&db, &neighbour).await.is_some_and(|a| a.amount == 1))
        .await;
    let waiting = look(&db, &counter()).await.expect("on record");
    assert_eq!((waiting.record.status(), waiting.record.parked), (Status::Blocked, 2));
    assert!(waiting.waits_for(0).contains("no orchestrator has code for kind \"counter\""));
    accounts.stop().await;
    let _both = worker_with(&db, 2, Registry::new().with_machine(First));
    let counted = async || {
        let found = look(&db, &counter()).await.expect("there").record;
        Units::decode(found.state).is_ok_and(|state| state.units == 3)
    };
    until("it goes on once there is code", counted).await;
}
