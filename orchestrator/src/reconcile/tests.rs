//! The loops on a real store, with played agents and edges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_engine::{Engine, Options, SystemClock};
use muster_protocol::agent::{AgentHello, ServerPhase, ServerReport};
use muster_protocol::edge::RouteFailure;
use muster_protocol::id::{SeatId, ServerId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::spawn;
use crate::allocate::allocate;
use crate::lifecycle::{self, backoff, standing};
use crate::records::{Goal, ServerRecord, ServerState};
use crate::state::{StateError, fleets, matches, nodes, servers};
use crate::workflows;
use crate::world::{Containers, FLEET, LOSS_MS, NAMESPACE, RETENTION_MS, World, exited, replica, report};

fn ids(records: &[ServerRecord]) -> Vec<ServerId> {
    records.iter().map(ServerRecord::typed_id).collect()
}

async fn claim(world: &World) -> ServerId {
    let claimed = allocate(&world.db, NAMESPACE, FLEET, &[], &[], "", world.now_ms()).await;
    claimed.expect("a warm server").server.typed_id()
}

async fn waiting_for(world: &World) -> String {
    let now_ms = world.now_ms();
    let words = world
        .db
        .read("waiting_for", async |mut tx| {
            standing::waiting_for(&mut tx, NAMESPACE, FLEET, None, now_ms).await
        })
        .await;
    words.expect("read").join("\n")
}

/// Counters, indices and reservations say what the records say.
async fn assert_consistent(world: &World) {
    let report = crate::check::check(&world.db).await.expect("read");
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn a_fleet_is_filled_refilled_and_scaled_down() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 3, 5)]).await;
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 3);
    assert_consistent(&world).await;

    let claimed = [claim(&world).await, claim(&world).await];
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 3, "refilled");
    claim(&world).await;
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 2, "five is the most");
    assert!(waiting_for(&world).await.contains("raise regions.eu.max"), "{}", waiting_for(&world).await);

    world.apply_fleet("sha256:one", &[("eu", 0, 5)]).await;
    world.settle().await;
    assert!(world.servers_in(ServerState::Ready).await.is_empty());
    for server in claimed {
        assert_eq!(world.server(server).await.state(), ServerState::Allocated, "not touched");
    }
    assert_consistent(&world).await;
}

#[tokio::test]
async fn ports_differ_between_servers_and_a_full_node_is_explained() {
    let mut world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 200, 200)]).await;
    world.settle().await;
    // 64 CPUs, half a CPU each.
    let ready = world.servers_in(ServerState::Ready).await;
    assert_eq!(ready.len(), 128);
    let ports: std::collections::BTreeSet<u32> = ready.iter().map(|r| r.ports[0].edge_port).collect();
    assert_eq!(ports.len(), 128);
    assert!(ports.iter().all(|port| (7_000..=7_999).contains(port)));
    assert_eq!(world.servers_in(ServerState::Pending).await.len(), 72);
    assert!(waiting_for(&world).await.contains("join another node"), "{}", waiting_for(&world).await);
    assert_consistent(&world).await;

    world.add_node("eu").await;
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 200);
    assert_consistent(&world).await;
}

#[tokio::test]
async fn a_region_without_machines_is_explained_step_by_step() {
    let mut world = World::new();
    world.apply_fleet("sha256:one", &[("eu", 1, 5)]).await;
    world.settle().await;
    assert!(waiting_for(&world).await.contains("region eu has no node; join an agent"));
    world.add_node("eu").await;
    world.settle().await;
    assert!(waiting_for(&world).await.contains("region eu has no edge; join an edge"));
    world.add_edge("eu", (7_000, 7_000)).await;
    world.settle().await;
    assert_eq!(waiting_for(&world).await, "");
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 1);

    world.apply_fleet("sha256:one", &[("eu", 2, 5)]).await;
    world.settle().await;
    assert!(
        waiting_for(&world).await.contains("every port from 7000 to 7000"),
        "{}",
        waiting_for(&world).await
    );
}

#[tokio::test]
async fn containers_that_exit_at_once_back_off_and_say_why() {
    let mut world = World::with_region().await;
    world.containers = Containers::Exit(42);
    world.apply_fleet("sha256:bad", &[("eu", 4, 9)]).await;
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Failed).await.len(), 4, "one round, and then a pause");
    assert_eq!(world.servers().await.len(), 4);
    let words = waiting_for(&world).await;
    assert!(words.contains("exited_before_ready") && words.contains("code 42"), "{words}");
    let failed = &world.servers_in(ServerState::Failed).await[0];
    assert_eq!(failed.exit.as_ref().map(|exit| exit.log_tail.as_str()), Some("last words"));

    // Each round is one server, after a pause that doubles.
    let mut known = 4;
    for round in 1..6 {
        world.pass_time(backoff::pause_ms(round) - 1);
        world.fire_timers().await;
        world.settle().await;
        assert_eq!(world.servers().await.len(), known, "round {round} came too early");
        world.pass_time(1);
        world.fire_timers().await;
        world.settle().await;
        known += 1;
        assert_eq!(world.servers().await.len(), known, "round {round}");
    }
    // A build that works is tried at once.
    world.containers = Containers::Good;
    world.apply_fleet("sha256:good", &[("eu", 4, 9)]).await;
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 4);
    assert_eq!(waiting_for(&world).await, "");
    assert_consistent(&world).await;
}

#[tokio::test]
async fn a_lost_node_is_replaced_and_one_that_comes_back_in_time_is_not() {
    let mut world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 2, 9)]).await;
    world.settle().await;
    let game = claim(&world).await;
    world.settle().await;
    let node = world.server(game).await.node_id().expect("placed");

    let session = world.node_says_hello(node).await;
    let db = &world.db;
    lifecycle::node_disconnected(db, node, session - 1, world.now_ms(), LOSS_MS).await.expect("written");
    let record = db.read("node", async |mut tx| nodes::peek(&mut tx, node).await).await.expect("read");
    assert!(record.expect("there").connected, "the end of an older link does not count");
    lifecycle::node_disconnected(db, node, session, world.now_ms(), LOSS_MS).await.expect("written");
    world.pass_time(LOSS_MS - 1);
    world.fire_timers().await;
    assert_eq!(world.server(game).await.state(), ServerState::Allocated, "left alone for now");
    assert!(
        allocate(db, NAMESPACE, FLEET, &[], &[], "", world.now_ms()).await.is_err(),
        "nobody is sent to a machine that is out of reach"
    );
    world.node_says_hello(node).await;
    world.pass_time(LOSS_MS);
    world.fire_timers().await;
    assert_eq!(world.server(game).await.state(), ServerState::Allocated, "it came back");

    let other = world.add_node("eu").await;
    let session = world.node_says_hello(node).await;
    let before = ids(&world.servers_in(ServerState::Ready).await);
    let db = &world.db;
    lifecycle::node_disconnected(db, node, session, world.now_ms(), LOSS_MS).await.expect("written");
    world.pass_time(LOSS_MS);
    world.fire_timers().await;
    let lost = world.server(game).await;
    assert_eq!((lost.state(), lost.reason.as_str()), (ServerState::Failed, "node_lost"));
    world.settle().await;
    let ready = world.servers_in(ServerState::Ready).await;
    assert_eq!(ready.len(), 2);
    assert!(
        ready.iter().all(|record| record.node_id() == Some(other) && !before.contains(&record.typed_id()))
    );
    assert_consistent(&world).await;
    // The machine returns, its containers with it: they are nobody's, so it is asked to run nothing.
    world.node_says_hello(node).await;
    assert!(world.desired(node).await.servers.is_empty());
}

#[tokio::test]
async fn after_a_restart_of_the_orchestrator_nodes_have_their_whole_time_again() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    world.settle().await;
    let server = world.servers_in(ServerState::Ready).await[0].typed_id();
    let node = world.server(server).await.node_id().expect("placed");
    world.pass_time(1_000_000);
    lifecycle::orchestrator_started(&world.db, true, world.now_ms(), LOSS_MS).await.expect("written");
    world.pass_time(LOSS_MS - 1);
    lifecycle::orchestrator_started(&world.db, true, world.now_ms(), LOSS_MS).await.expect("written");
    world.pass_time(LOSS_MS - 1);
    world.fire_timers().await;
    assert_eq!(world.server(server).await.state(), ServerState::Ready);
    world.node_says_hello(node).await;
    world.pass_time(10 * LOSS_MS);
    world.fire_timers().await;
    assert_eq!(world.server(server).await.state(), ServerState::Ready);
}

#[tokio::test]
async fn a_container_that_vanished_is_replaced_unless_docker_is_out() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    world.settle().await;
    let server = world.servers_in(ServerState::Ready).await[0].clone();
    let node = server.node_id().expect("placed");
    let blind = AgentHello { unable: "no Docker engine".into(), ..Default::default() };
    lifecycle::node_connected(&world.db, node, &blind, replica(), world.now_ms()).await.expect("known");
    assert_eq!(world.server(server.typed_id()).await.state(), ServerState::Ready, "the agent cannot know");
    let empty = AgentHello::default();
    lifecycle::node_connected(&world.db, node, &empty, replica(), world.now_ms()).await.expect("known");
    let gone = world.server(server.typed_id()).await;
    assert_eq!((gone.state(), gone.reason.as_str()), (ServerState::Failed, "container_lost"));
}

#[tokio::test]
async fn an_idle_server_is_stopped_and_one_with_players_is_not() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 4, 9)]).await;
    world.settle().await;
    let [empty, busy, seated] = [claim(&world).await, claim(&world).await, claim(&world).await];
    let node = world.server(seated).await.node_id().expect("placed");
    let sdk = ServerReport {
        uses_sdk: true,
        connected_seats: vec![SeatId::new().to_string()],
        ..report(&seated.to_string(), ServerPhase::Ready)
    };
    world.report(node, &sdk).await;
    for _ in 0..3 {
        world.fire_timers().await;
        world.pass_time(60_000);
    }
    assert_eq!(world.server(empty).await.state(), ServerState::Allocated, "no edge has said who plays");
    world.edges_report(&[(busy, 1)]).await;
    for _ in 0..3 {
        world.fire_timers().await;
        world.pass_time(29_999);
    }
    assert_eq!(world.server(empty).await.state(), ServerState::Allocated, "59,998 ms");
    world.pass_time(2);
    world.fire_timers().await;
    let stopped = world.server(empty).await;
    assert_eq!((stopped.state(), stopped.goal()), (ServerState::Draining, Goal::Stop));
    assert_eq!(stopped.reason, "idle");
    for server in [busy, seated] {
        assert_eq!(world.server(server).await.state(), ServerState::Allocated);
    }
    world.settle().await;
    assert_eq!(world.server(empty).await.state(), ServerState::Stopped);
    let match_id = stopped.match_id().expect("claimed");
    let ended = world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await).await;
    assert!(ended.expect("read").expect("there").ended_at_ms > 0, "its match is over with it");
}

#[tokio::test]
async fn a_server_that_was_routed_before_the_edge_was_away_is_ready_once_it_is_back() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    workflows::testing::turn(&world.db, world.now_ms()).await.expect("a turn");
    // The route is served, then the edge loses its link, and only then the container is ready.
    world.play_edges().await;
    let (edge, session) = world.edge_and_session().await;
    lifecycle::edge_disconnected(&world.db, edge, session, world.now_ms()).await.expect("written");
    world.play_agents().await;
    assert_eq!(world.servers_in(ServerState::Starting).await.len(), 1, "no edge is there");
    world.edges_say_hello().await;
    world.play_edges().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 1);
    assert_consistent(&world).await;
}

#[tokio::test]
async fn players_behind_an_edge_that_lost_its_link_count_for_a_while() {
    let mut world = World::with_region().await;
    world.add_edge("eu", (7_000, 7_999)).await;
    world.apply_fleet("sha256:one", &[("eu", 2, 9)]).await;
    world.settle().await;
    let server = claim(&world).await;
    world.edges_report(&[(server, 2)]).await;
    // One of two edges is cut off; the other's players leave.
    let (edge, session) = world.edge_and_session().await;
    lifecycle::edge_disconnected(&world.db, edge, session, world.now_ms()).await.expect("written");
    world.edges_report_but(edge, &[(server, 0)]).await;
    for _ in 0..9 {
        world.fire_timers().await;
        world.pass_time(60_000);
    }
    assert_eq!(world.server(server).await.state(), ServerState::Allocated, "players may be there");
    for _ in 0..3 {
        world.pass_time(60_001);
        world.fire_timers().await;
    }
    assert_eq!(world.server(server).await.reason, "idle", "nobody has heard of that edge for ten minutes");
}

#[tokio::test]
async fn a_port_that_is_taken_is_left_alone_for_a_while_and_the_server_replaced() {
    let mut world = World::new();
    world.add_node("eu").await;
    let edge = world.add_edge("eu", (7_000, 7_001)).await;
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    workflows::testing::turn(&world.db, world.now_ms()).await.expect("a turn");
    let placed = world.servers_in(ServerState::Placing).await[0].clone();
    let port = placed.ports[0].edge_port;
    let failure = RouteFailure {
        edge_port: port,
        protocol: muster_protocol::agent::PortProtocol::Udp.into(),
        server_id: placed.typed_id().to_string(),
        code: "port_taken".into(),
        detail: "another program listens there".into(),
    };
    world.routes_applied("eu", edge, &[], &[failure]).await;
    let failed = world.server(placed.typed_id()).await;
    assert_eq!((failed.state(), failed.reason.as_str()), (ServerState::Failed, "port_taken"));
    assert_consistent(&world).await;

    world.pass_time(backoff::FIRST_PAUSE_MS);
    world.fire_timers().await;
    world.settle().await;
    let ready = world.servers_in(ServerState::Ready).await;
    assert_eq!(ready.len(), 1);
    assert_ne!(ready[0].ports[0].edge_port, port, "in quarantine");
    world.apply_fleet("sha256:one", &[("eu", 2, 9)]).await;
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 1, "no port is left");
    world.pass_time(crate::state::ports::QUARANTINE_MS);
    world.fire_timers().await;
    world.settle().await;
    assert_eq!(world.servers_in(ServerState::Ready).await.len(), 2, "the quarantine is over");
    assert_consistent(&world).await;
}

#[tokio::test]
async fn a_new_build_replaces_unclaimed_servers_only() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 3, 9)]).await;
    world.settle().await;
    let game = claim(&world).await;
    world.settle().await;
    let second = world.apply_fleet("sha256:two", &[("eu", 3, 9)]).await;
    assert_eq!((second.version, second.pod_version), (2, 2));
    world.settle().await;
    let ready = world.servers_in(ServerState::Ready).await;
    assert_eq!(ready.len(), 3);
    assert!(ready.iter().all(|record| record.build_digest == "sha256:two"));
    let played = world.server(game).await;
    assert_eq!((played.state(), played.build_digest.as_str()), (ServerState::Allocated, "sha256:one"));
    let counts = world.apply_fleet("sha256:two", &[("eu", 3, 10)]).await;
    assert_eq!((counts.version, counts.pod_version), (3, 2), "another count is no other pod");
    assert_eq!(world.apply_fleet("sha256:two", &[("eu", 3, 10)]).await.version, 3, "the same is no change");
    assert_consistent(&world).await;
}

#[tokio::test]
async fn a_deleted_fleet_drains_its_games_and_goes() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 2, 9)]).await;
    world.settle().await;
    let game = claim(&world).await;
    world.settle().await;
    let now_ms = world.now_ms();
    let deleted =
        world.db.run("delete", async |mut tx| fleets::delete(&mut tx, NAMESPACE, FLEET, now_ms).await).await;
    assert!(deleted.expect("written"));
    world.settle().await;
    let draining = world.server(game).await;
    assert_eq!((draining.state(), draining.goal()), (ServerState::Draining, Goal::Drain));
    assert!(waiting_for(&world).await.contains("is being deleted"));
    world.pass_time(30_000);
    world.fire_timers().await;
    world.settle().await;
    assert_eq!(world.server(game).await.state(), ServerState::Stopped);
    assert!(waiting_for(&world).await.contains("does not exist"));
    assert_consistent(&world).await;
}

#[tokio::test]
async fn what_is_over_is_kept_for_a_while_and_then_removed() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    world.settle().await;
    let game = claim(&world).await;
    let match_id = world.server(game).await.match_id().expect("claimed");
    let node = world.server(game).await.node_id().expect("placed");
    world.report(node, &exited(&game.to_string(), 0)).await;
    assert_eq!(world.desired(node).await.forget, [game.to_string()]);
    world.fire_timers().await;
    world.pass_time(RETENTION_MS - 1);
    world.fire_timers().await;
    assert_eq!(world.server(game).await.state(), ServerState::Stopped);
    world.pass_time(1);
    world.fire_timers().await;
    let left = world
        .db
        .read("left", async |mut tx| {
            let server = servers::peek(&mut tx, game).await?;
            let pod = servers::pod(&mut tx, game).await?;
            Ok::<_, StateError>((server, pod, matches::peek(&mut tx, match_id).await?))
        })
        .await;
    assert_eq!(left.expect("read"), (None, None, None));
    assert!(world.desired(node).await.forget.is_empty());
    assert_consistent(&world).await;
}

#[tokio::test]
async fn stopping_by_hand_drains_games_unless_forced() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    world.settle().await;
    let game = claim(&world).await;
    let now_ms = world.now_ms();
    let stop = async |namespace, force| {
        lifecycle::stop_server(&world.db, namespace, game, "asked", force, now_ms).await.expect("written")
    };
    assert!(stop("other/test", true).await.is_none(), "not of that namespace");
    assert_eq!(stop(NAMESPACE, false).await.map(|record| record.goal()), Some(Goal::Drain));
    assert_eq!(stop(NAMESPACE, false).await.map(|record| record.goal()), Some(Goal::Drain));
    assert_eq!(stop(NAMESPACE, true).await.map(|record| record.goal()), Some(Goal::Stop));
}

async fn fleets_touched(world: &World) {
    let touch = world.db.run("touch", async |mut tx| {
        fleets::touch(&mut tx, NAMESPACE, FLEET);
        Ok::<_, StateError>(())
    });
    touch.await.expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_orchestrators_do_not_create_twice_what_is_missing() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 7, 100)]).await;
    let worker = || Engine::start(world.db.clone(), workflows::registry(RETENTION_MS), Options::default());
    let workers: Vec<_> = (0..4).map(|_| worker()).collect();
    let deadline = Instant::now() + Duration::from_mins(1);
    while world.servers().await.len() < 7 {
        assert!(Instant::now() < deadline, "{} of 7", world.servers().await.len());
        fleets_touched(&world).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for worker in workers {
        fleets_touched(&world).await;
        worker.stop().await;
    }
    assert_eq!(world.servers().await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loops_together_bring_players_to_servers() {
    let world = World::with_region().await;
    world.catch_up();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let worker = workflows::start(&world.db, replica(), true, RETENTION_MS, "test");
    workflows::nudge_all(&world.db).await.expect("nudged");
    spawn(&world.db, worker.shards(), Arc::new(SystemClock), &stop, &tasks);
    // More matches than warm servers: the rest is started for them.
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    world.apply_queue(2).await;
    let mut tickets = Vec::new();
    for player in 0..8 {
        tickets.push(world.ticket(&format!("player-{player}")).await);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        world.play_agents().await;
        world.play_edges().await;
        let mut assigned = 0;
        for ticket in &tickets {
            assigned += usize::from(world.see(*ticket).await.assignment.is_some());
        }
        if assigned == tickets.len() && world.servers_in(ServerState::Ready).await.len() == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{assigned} of {} assigned", tickets.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let allocated = world.servers_in(ServerState::Allocated).await;
    assert_eq!(allocated.len(), 4);
    worker.stop().await;
    stop.cancel();
    tasks.close();
    tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await.expect("the loops end");
}
