//! Matchmaking on a real store: races, waiting matches, cancellation, expiry, words.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::api::{PartyMember, TicketRequest, Value};
use muster_protocol::id::TicketId;

use super::{MATCH_WAIT_MS, Matchmaker, Pass};
use crate::asker::Asker;
use crate::records::{MatchState, ServerState, TicketState};
use crate::state::{matches, queues, tickets as ticket_records};
use crate::tickets;
use crate::world::{NAMESPACE, QUEUE, World};

fn matchmaker(world: &World) -> Matchmaker {
    Matchmaker::new(world.db.clone(), NAMESPACE.into(), QUEUE.into())
}

async fn run_pass(world: &World) -> Pass {
    matchmaker(world).pass(world.now_ms()).await.expect("a pass").expect("a queue").0
}

async fn states(world: &World, tickets: &[TicketId]) -> Vec<TicketState> {
    let mut states = Vec::new();
    for ticket in tickets {
        states.push(world.see(*ticket).await.record.state());
    }
    states
}

async fn counted(world: &World) -> BTreeMap<TicketState, u32> {
    let totals =
        world.db.read("totals", async |mut tx| ticket_records::totals(&mut tx, Some(NAMESPACE)).await).await;
    totals.expect("read")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_matchmakers_race_and_no_ticket_is_in_two_matches() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 12, 60)]).await;
    world.apply_queue(3).await;
    world.settle().await;
    let mut all = Vec::new();
    for player in 0..61 {
        all.push(world.ticket(&format!("player-{player}")).await);
    }
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let (mut matchmaker, now_ms) = (matchmaker(&world), world.now_ms());
            tokio::spawn(async move {
                let mut all = Pass::default();
                loop {
                    let (did, _) = matchmaker.pass(now_ms).await?.expect("a queue");
                    all.assigned += did.assigned;
                    all.waiting += did.waiting;
                    // What another spoilt is tried again.
                    if did.stale == 0 {
                        return Ok::<_, crate::state::StateError>(all);
                    }
                }
            })
        })
        .collect();
    let mut made = 0;
    for racer in racers {
        let did = racer.await.expect("no panic").expect("a pass");
        made += did.assigned + did.waiting;
    }
    // A match that waited may have been counted again when another pass served it.
    assert!(made >= 20, "{made}");

    let (mut members, mut seats, mut servers) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut searching = 0;
    for ticket in &all {
        let view = world.see(*ticket).await;
        match view.record.match_id() {
            Some(match_id) => {
                members.entry(match_id.uuid()).or_insert_with(|| (match_id, Vec::new())).1.push(*ticket);
                assert!(seats.insert(view.record.seat_id().expect("a seat").uuid()), "a seat was sold twice");
            }
            None => searching += 1,
        }
    }
    assert_eq!((members.len(), searching), (20, 1));
    for (match_id, tickets) in members.into_values() {
        assert_eq!(tickets.len(), 3);
        let record = world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await).await;
        let record = record.expect("read").expect("there");
        assert_eq!(record.seats.len(), 3);
        for seat in &record.seats {
            let ticket = seat.ticket.map(crate::records::Id::typed).expect("a ticket");
            assert!(tickets.contains(&ticket));
        }
        if let Some(server) = record.server_id() {
            assert!(servers.insert(server.uuid()), "a server has two matches");
            assert_eq!(world.server(server).await.match_id(), Some(match_id));
        }
    }
    assert_eq!(servers.len(), 12, "every warm server was used");
    assert_eq!(
        counted(&world).await,
        [(TicketState::Searching, 1), (TicketState::Matched, 24), (TicketState::Assigned, 36)].into()
    );

    // The rest get the servers that are started for them.
    world.settle().await;
    run_pass(&world).await;
    let assigned = states(&world, &all).await.iter().filter(|state| **state == TicketState::Assigned).count();
    assert_eq!(assigned, 60);
}

#[tokio::test]
async fn a_match_waits_for_its_server_and_says_so() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 0, 1)]).await;
    world.apply_queue(2).await;
    let first = [world.ticket("ada").await, world.ticket("bob").await];
    assert_eq!(run_pass(&world).await, Pass { waiting: 1, ..Pass::default() });
    let view = world.see(first[0]).await;
    assert_eq!(view.record.state(), TicketState::Matched);
    assert!(view.explanation.contains("a server is being started in region eu"), "{}", view.explanation);

    // The fleet's only server is spoken for: the next two search on and hear why.
    let second = [world.ticket("cyd").await, world.ticket("dan").await];
    assert_eq!(run_pass(&world).await, Pass::default());
    let view = world.see(second[0]).await;
    assert_eq!(view.record.state(), TicketState::Searching);
    assert!(view.explanation.contains("raise regions.eu.max"), "{}", view.explanation);

    world.settle().await;
    assert_eq!(states(&world, &first).await, [TicketState::Assigned; 2]);
    let view = world.see(first[1]).await;
    let assignment = view.assignment.expect("assigned");
    assert_eq!(assignment.server.state(), ServerState::Allocated);
    assert_eq!(assignment.edges.len(), 1);
    assert!(
        assignment.match_record.seats.iter().any(|seat| seat.player == "bob" && seat.id == view.record.seat)
    );
    assert_eq!(world.servers().await.len(), 1);
}

#[tokio::test]
async fn a_match_that_never_gets_a_server_fails_with_the_reason() {
    let mut world = World::with_region().await;
    world.containers = crate::world::Containers::Exit(3);
    world.apply_fleet("sha256:bad", &[("eu", 0, 1)]).await;
    world.apply_queue(1).await;
    let ticket = world.ticket("ada").await;
    run_pass(&world).await;
    world.settle().await;
    let words = world.see(ticket).await.explanation;
    assert!(words.contains("servers fail in region eu") && words.contains("code 3"), "{words}");
    world.pass_time(MATCH_WAIT_MS);
    world.fire_timers().await;
    let failed = world.see(ticket).await.record;
    assert_eq!((failed.state(), failed.reason.as_str()), (TicketState::Failed, "no_server"));
}

#[tokio::test]
async fn who_searches_hears_that_the_fleet_fails() {
    let mut world = World::with_region().await;
    world.containers = crate::world::Containers::Exit(3);
    world.apply_fleet("sha256:bad", &[("eu", 1, 1)]).await;
    world.settle().await;
    world.apply_queue(2).await;
    let ticket = world.ticket("ada").await;
    run_pass(&world).await;
    let words = world.see(ticket).await.explanation;
    assert!(words.contains("1 ticket in the queue, and a match needs 2 players"), "{words}");
    assert!(words.contains("servers fail in region eu") && words.contains("code 3"), "{words}");
}

#[tokio::test]
async fn cancelling_sends_the_others_back_to_their_place() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 0, 5)]).await;
    world.apply_queue(2).await;
    let [ada, bob] = [world.ticket("ada").await, world.ticket("bob").await];
    assert_eq!(run_pass(&world).await.waiting, 1);
    let match_id = world.see(ada).await.record.match_id().expect("matched");
    let cancelled = tickets::cancel(&world.db, NAMESPACE, bob, world.now_ms()).await.expect("written");
    assert_eq!(cancelled.map(|record| record.state()), Some(TicketState::Cancelled));
    assert_eq!(states(&world, &[ada]).await, [TicketState::Searching]);
    let dissolved = world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await).await;
    assert_eq!(dissolved.expect("read").expect("there").state(), MatchState::Dissolved);
    assert!(tickets::cancel(&world.db, "other/test", ada, world.now_ms()).await.expect("read").is_none());

    let cyd = world.ticket("cyd").await;
    assert_eq!(run_pass(&world).await.waiting, 1);
    world.settle().await;
    assert_eq!(
        states(&world, &[ada, bob, cyd]).await,
        [TicketState::Assigned, TicketState::Cancelled, TicketState::Assigned]
    );
    let late = tickets::cancel(&world.db, NAMESPACE, ada, world.now_ms()).await.expect("written");
    assert_eq!(late.map(|record| record.state()), Some(TicketState::Cancelled), "left the match");
    assert_eq!(states(&world, &[cyd]).await, [TicketState::Assigned], "which goes on");
    assert_eq!(counted(&world).await, [(TicketState::Assigned, 1), (TicketState::Cancelled, 2)].into());
}

#[tokio::test]
async fn a_ticket_expires_at_its_time_and_not_before() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 5)]).await;
    world.apply_queue(2).await;
    world.settle().await;
    let alone = world.ticket("ada").await;
    run_pass(&world).await;
    world.pass_time(59_999);
    world.fire_timers().await;
    assert_eq!(states(&world, &[alone]).await, [TicketState::Searching]);
    world.pass_time(1);
    world.fire_timers().await;
    assert_eq!(states(&world, &[alone]).await, [TicketState::Expired]);
    let late = world.ticket("bob").await;
    assert_eq!(run_pass(&world).await, Pass::default(), "nobody is matched with a ticket that is over");
    assert_eq!(states(&world, &[late]).await, [TicketState::Searching]);
}

#[tokio::test]
async fn a_region_nobody_serves_keeps_the_ticket_and_names_the_way_out() {
    let mut world = World::new();
    world.apply_fleet("sha256:one", &[("eu", 1, 5)]).await;
    world.apply_queue(1).await;
    let ticket = world.ticket("ada").await;
    assert_eq!(run_pass(&world).await, Pass::default());
    let view = world.see(ticket).await;
    assert_eq!(view.record.state(), TicketState::Searching);
    assert!(view.explanation.contains("region eu has no node; join an agent"), "{}", view.explanation);
    let status =
        world.db.read("status", async |mut tx| queues::status(&mut tx, NAMESPACE, QUEUE).await).await;
    assert!(status.expect("read").waiting_for[0].contains("region eu has no node"));

    world.add_node("eu").await;
    world.add_edge("eu", (7_000, 7_999)).await;
    world.settle().await;
    assert_eq!(run_pass(&world).await.assigned, 1);
    let status =
        world.db.read("status", async |mut tx| queues::status(&mut tx, NAMESPACE, QUEUE).await).await;
    assert!(status.expect("read").waiting_for.is_empty());
}

#[tokio::test]
async fn bad_tickets_are_refused_with_the_reason() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 5)]).await;
    let create = async |request: TicketRequest| {
        let created =
            tickets::create(&world.db, NAMESPACE, &request, &Asker::default(), world.now_ms()).await;
        created.map(drop).map_err(|error| error.to_string())
    };
    let ann = || TicketRequest::new(QUEUE, "ann");
    assert!(create(ann()).await.expect_err("no queue").contains("apply it first"));
    world.apply_queue(2).await;
    let party = |names: &[&str]| {
        names.iter().map(|name| PartyMember { player: (*name).into(), ..PartyMember::default() }).collect()
    };
    for (request, part) in [
        (TicketRequest { party: party(&["bob", "cat"]), ..ann() }, "a party of 3 fits into no team"),
        (TicketRequest { party: party(&["ann"]), ..ann() }, "is in the party twice"),
        (
            TicketRequest { attributes: [("rank".to_owned(), Value::Number(1.0))].into(), ..ann() },
            "declares no attribute \"rank\"",
        ),
        (TicketRequest { filter: "rank > 3".into(), ..ann() }, "filter: "),
    ] {
        let error = create(request).await.expect_err(part);
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(create(ann()).await, Ok(()));
    assert_eq!(counted(&world).await, [(TicketState::Searching, 1)].into());
}
