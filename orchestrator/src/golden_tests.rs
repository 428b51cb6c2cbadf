//! Stores of earlier releases, in `golden/`, under today's code: they agree with themselves, their workflows go
//! on from where they were, and players get matches.
//!
//! What is written here at a release is read by every later one: it is how a change of a record, a key or
//! a workflow's state that older stores do not survive is found before it is released.

#[path = "../engine/tests/engine/rows.rs"]
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_engine::{Engine, Status, SystemClock, inspect};
use muster_protocol::id::TicketId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::rows::Row;
use crate::records::ServerState;
use crate::world::{FLEET, LOSS_MS, NAMESPACE, RETENTION_MS, World, replica};
use crate::{allocate, check, lifecycle, reconcile, state, workflows};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long the node that is away has left to come back.
const SHORT_LOSS_MS: u64 = 1_000;

/// Loops and workflows at work.
struct Running {
    worker: Engine,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    async fn start(world: &World) -> Self {
        workflows::nudge_all(&world.db).await.expect("nudged");
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let worker = workflows::start(&world.db, replica(), true, RETENTION_MS, "test");
        reconcile::spawn(&world.db, worker.shards(), Arc::new(SystemClock), &stop, &tasks);
        Self { worker, stop, tasks }
    }

    /// Ends as by `kill -9`: leases stay taken, nothing is handed over.
    async fn kill(self) {
        drop(self.worker);
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(DEADLINE, self.tasks.wait()).await.expect("the loops end");
    }
}

/// Agents and edges do as they are asked until `reached`.
async fn play_until(world: &World, what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !reached().await {
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        world.catch_up();
        world.play_agents().await;
        world.play_edges().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn assigned(world: &World, tickets: &[TicketId]) -> usize {
    let mut assigned = 0;
    for ticket in tickets {
        assigned += usize::from(world.see(*ticket).await.assignment.is_some());
    }
    assigned
}

async fn tickets(world: &World, players: &[&str]) -> Vec<TicketId> {
    let mut tickets = Vec::new();
    for player in players {
        tickets.push(world.ticket(player).await);
    }
    tickets
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Writes the store of this release, if `MUSTER_WRITE_GOLDEN` names it; what is in it is checked always.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write() {
    let mut world = World::with_region().await;
    world.catch_up();
    let away = world.add_node("us").await;
    world.add_edge("us", (8_000, 8_999)).await;
    let session = world.node_says_hello(away).await;
    let running = Running::start(&world).await;
    world.apply_fleet("sha256:one", &[("eu", 3, 9), ("us", 1, 3)]).await;
    world.apply_queue(2).await;
    let ready = async |count| world.servers_in(ServerState::Ready).await.len() == count;
    play_until(&world, "the fleet to be warm", async || ready(4).await).await;
    let players = tickets(&world, &["ann", "bob"]).await;
    play_until(&world, "a match", async || assigned(&world, &players).await == 2).await;
    // One server drains, one is over, one node is away with what it had, one player waits for another.
    let here = ["eu".to_owned()];
    for force in [false, true] {
        let claimed = allocate::allocate(&world.db, NAMESPACE, FLEET, &here, &[], "", world.now_ms());
        let server = claimed.await.expect("a warm server").server.typed_id();
        let now_ms = world.now_ms();
        lifecycle::stop_server(&world.db, NAMESPACE, server, "asked", force, now_ms).await.expect("written");
    }
    world.play_agents().await;
    lifecycle::node_disconnected(&world.db, away, session, world.now_ms(), LOSS_MS).await.expect("written");
    world.ticket("cid").await;
    running.kill().await;

    let mut rows: Vec<Row> = Vec::new();
    let visited = check::visit(&world.db, |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok::<_, muster_store::StoreError>(())
    });
    visited.await.expect("readable");
    assert!(rows.len() > 50, "{} rows", rows.len());
    rows::write_if_asked(&directory(), &rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_every_release_go_on() {
    for path in rows::releases(&directory()) {
        goes_on(&path).await;
    }
}

async fn goes_on(path: &Path) {
    let name = path.display();
    let world = World::of_rows(&rows::read(path)).await;
    let agrees = async |when: &str| {
        let found = check::check(&world.db).await.expect("readable").findings;
        assert!(found.is_empty(), "{name}, {when}: {found:#?}");
    };
    agrees("as it was").await;
    // The second node stays away, and is given up after its time; the first comes back with what it had.
    let (here, away) = (world.node(0), world.node(1));
    lifecycle::orchestrator_started(&world.db, true, world.now_ms(), SHORT_LOSS_MS).await.expect("written");
    world.node_says_hello(here).await;
    world.edges_say_hello().await;
    let running = Running::start(&world).await;
    let lost = async || {
        let node = world.db.read("node", async |mut tx| state::nodes::load(&mut tx, away).await).await;
        node.expect("read").expect("there").lost
    };
    play_until(&world, "the node that is away to be given up", lost).await;
    // Its time to finish is over long since.
    let stopped = async || world.servers_in(ServerState::Draining).await.is_empty();
    play_until(&world, "the draining server to stop", stopped).await;
    // Four of five; the fifth too, if the one who has waited since then still does.
    let players = tickets(&world, &["dan", "eve", "fay", "gil", "hal"]).await;
    play_until(&world, "matches", async || assigned(&world, &players).await >= 4).await;
    for (status, count) in inspect::count(&world.db).await.expect("read") {
        let is_well = matches!(status, Status::Running | Status::Finished | Status::Cancelled);
        assert!(is_well, "{name}: {count} workflows are {status:?}");
    }
    running.kill().await;
    agrees("after it went on").await;
}
