//! Namespaces share a shard fairly, and pointers to their inboxes are never lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_engine::{Address, Context, Event, Failure, Kind, Machine, Registry};
use muster_store::Database;

use crate::support::{options, post, until};

/// Remembers whose signals were handled, in which order.
struct Witness(Arc<Mutex<Vec<String>>>);

impl Kind for Witness {
    const KIND: &'static str = "witness";
    type Input = ();
    type Signal = ();
}

impl Machine for Witness {
    type State = u64;

    async fn on(&self, cx: &mut Context<'_>, state: &mut u64, event: Event<Self>) -> Result<(), Failure> {
        if let Event::Signal(..) = event {
            *state += 1;
            self.0.lock().expect("whole").push(cx.address().namespace().to_owned());
        }
        Ok(())
    }
}

/// A witness of `namespace` in shard 5.
fn witness(namespace: &str) -> Address {
    let keys = (0..10_000).map(|key| Witness::address(namespace, &key.to_string()).expect("valid"));
    keys.into_iter().find(|address| address.shard() == 5).expect("one of the first few hundred")
}

async fn send(db: &Database, namespace: &str, count: usize) {
    let address = witness(namespace);
    for chunk in vec![(); count].chunks(500) {
        post(db, async |tx| {
            for () in chunk {
                muster_engine::signal_or_start::<Witness>(tx, &address, &()).await?;
            }
            Ok(())
        })
        .await
        .expect("room");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_in_one_namespace_does_not_starve_another() {
    let (db, seen) = (Database::memory(1), Arc::default());
    send(&db, "flood", 5_000).await;
    for namespace in ["a", "z"] {
        send(&db, namespace, 20).await;
    }
    let registry = Registry::new().with_machine(Witness(Arc::clone(&seen)));
    let _worker = crate::support::worker_with(&db, 1, registry);
    until("all are handled", async || seen.lock().expect("whole").len() >= 5_040).await;
    let seen = seen.lock().expect("whole");
    let last = seen.iter().rposition(|namespace| namespace != "flood").expect("handled");
    assert!(last < 500, "the last of the quiet namespaces was handled as number {last}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_zone_is_forgotten_and_found_again() {
    let (db, seen): (_, Arc<Mutex<Vec<String>>>) = (Database::memory(2), Arc::default());
    let registry = Registry::new().with_machine(Witness(seen.clone()));
    let _worker = crate::support::worker_with(&db, 1, registry);
    let zones = async || {
        // (100, 3, …): the engine's pointers to zones.
        let begin = [0x15, 100, 0x15, 3];
        let rows =
            db.read("zones", async |mut tx| tx.get_range(&begin, &[0x15, 100, 0x15, 4], 10, false).await);
        rows.await.expect("read").len()
    };
    for round in 1..=5 {
        send(&db, "a", 1).await;
        until("it is handled", async || seen.lock().expect("whole").len() == round).await;
        until("the pointer is gone", async || zones().await == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_missed_while_pointers_come_and_go() {
    let (db, seen): (_, Arc<Mutex<Vec<String>>>) = (Database::memory(3), Arc::default());
    let registry = Registry::new().with_machine(Witness(seen.clone()));
    let _worker = muster_engine::Engine::start(db.clone(), registry, options(1));
    for round in 0..40u64 {
        // Around the moment at which the pointer is cleared: what is sent then must not be overlooked.
        tokio::time::sleep(Duration::from_millis(9_500 + 37 * (round % 40))).await;
        send(&db, "a", 3).await;
    }
    until("all are handled", async || seen.lock().expect("whole").len() >= 120).await;
}
