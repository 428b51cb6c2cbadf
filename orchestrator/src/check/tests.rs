//! Every kind of disagreement is found, and a store that is right has none.

use muster_protocol::id::ServerId;
use muster_store::{StoreError, Transaction};

use super::*;
use crate::records::ServerState;
use crate::state::StateError;
use crate::testing::eventually;
use crate::world::{FLEET, NAMESPACE, World};

/// A store with warm and claimed servers and tickets that search.
async fn lived_in() -> World {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 3, 5)]).await;
    world.settle().await;
    world
}

async fn write(world: &World, write: impl Fn(&mut Transaction)) {
    let written = world.db.run("damage", async |mut tx: Transaction| {
        write(&mut tx);
        Ok::<_, StoreError>(())
    });
    written.await.expect("written");
}

/// What is told once `damage` is done.
async fn told(damage: impl Fn(&mut Transaction, &ServerRecord)) -> Vec<String> {
    let world = lived_in().await;
    let servers = world.servers_in(ServerState::Ready).await;
    write(&world, |tx| damage(tx, &servers[0])).await;
    let report = check(&world.db).await.expect("read");
    report.findings.into_iter().map(|finding| finding.what).collect()
}

#[tokio::test]
async fn a_workflow_whose_code_is_gone_is_named_with_the_way_out() {
    let world = lived_in().await;
    let told_stuck = async || {
        let read = world.db.read("stuck", async |mut tx| stuck(&mut tx, 100, world.now_ms()).await);
        read.await.expect("read")
    };
    assert_eq!(told_stuck().await, Vec::<String>::new());
    // A release that has code for nothing.
    let engine = muster_engine::Engine::start(
        world.db.clone(),
        muster_engine::Registry::new(),
        muster_engine::Options { alone: true, ..muster_engine::Options::default() },
    );
    let told = eventually("the fleet to be blocked", async || {
        told_stuck().await.into_iter().find(|words| words.contains("workflow fleet"))
    })
    .await;
    assert!(told.contains("is blocked") && told.contains("start one of a release that has"), "{told}");
    engine.stop().await;
}

#[tokio::test]
async fn a_store_that_was_worked_with_agrees() {
    let world = lived_in().await;
    let report = check(&world.db).await.expect("read");
    assert_eq!(report.findings, []);
    assert_eq!(report.rows.get(&Some(Prefix::Server)), Some(&3));
    assert_eq!(report.rows.get(&None), None);
}

#[tokio::test]
async fn an_index_row_too_few_or_too_many_is_found() {
    let missing = told(|tx, server| {
        tx.clear(&keyspace::server_warm(NAMESPACE, FLEET, "eu", server.typed_id()));
    });
    assert_eq!(missing.await, ["missing, though a record says it must be there"]);
    let stray = told(|tx, _| tx.set(&keyspace::server_pending("eu", ServerId::new()), b""));
    assert_eq!(stray.await, ["there, though no record says it should be"]);
    let other = told(|tx, server| {
        tx.set(&keyspace::server_live(NAMESPACE, FLEET, "eu", server.typed_id()), b"");
    });
    assert_eq!(other.await, ["it does not say what its record says"]);
}

#[tokio::test]
async fn a_counter_a_reservation_and_a_port_that_differ_are_found() {
    let counter = told(|tx, _| {
        tx.atomic_add(&keyspace::server_count(NAMESPACE, FLEET, "eu", ServerState::Ready), 2);
    });
    assert_eq!(counter.await, ["it says 5, but the records make 3"]);
    let reserved = told(|tx, server| {
        let node = server.node_id().expect("it is placed");
        tx.atomic_add(&keyspace::node_reserved(node, Reserved::Servers), -1);
    });
    assert_eq!(reserved.await, ["it says 2, but the records make 3"]);
    let port = told(|tx, server| {
        let port = &server.ports[0];
        let number = u16::try_from(port.edge_port).expect("a port");
        tx.clear(&keyspace::edge_port("eu", port.protocol(), number));
    });
    let port = port.await;
    assert!(port.len() == 1 && port[0].ends_with("holds this port, but it is free"), "{port:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_found() {
    let unreadable = told(|tx, _| tx.set(&keyspace::namespace("arena/prod"), b"\xff\xff")).await;
    assert!(unreadable.len() == 1 && unreadable[0].starts_with("its value cannot be read"), "{unreadable:?}");
    let unknown = told(|tx, _| tx.set(&foundationdb_tuple::pack(&(9_999, "x")), b"")).await;
    assert!(unknown.len() == 1 && unknown[0].starts_with("no kind of row"), "{unknown:?}");
}

#[tokio::test]
async fn rows_are_told_in_words_and_secrets_are_not() {
    let world = lived_in().await;
    let key = keyspace::signing_key("k1");
    let secret = crate::records::SigningKeyRecord { key_id: "k1".into(), ..Default::default() };
    let written = world.db.run("key", async |mut tx: Transaction| {
        kv::save(&mut tx, &key, &secret);
        Ok::<_, StateError>(())
    });
    written.await.expect("written");
    let mut rows = Vec::new();
    visit(&world.db, |key, value| {
        rows.push(Row::of(key, value));
        Ok::<_, StoreError>(())
    })
    .await
    .expect("read");
    let of = |kind: &str| rows.iter().find(|row| row.kind == kind).expect(kind);
    assert!(of("Server").value.contains(FLEET));
    assert_eq!(of("SigningKey").key, "k1");
    assert!(of("SigningKey").value.starts_with("(secret"));
}
