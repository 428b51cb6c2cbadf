//! Matchmaking with rules over the store: what a matchmaker that keeps its tickets in memory makes of what happens.

use std::collections::BTreeSet;

use muster_protocol::api::{PartyMember, QueueSpec, TicketRequest, Value};
use muster_protocol::id::TicketId;

use super::{Matchmaker, Pass};
use crate::asker::Asker;
use crate::records::{MatchSeat, QueueMode, TicketState};
use crate::state::{matches, queues, tickets as ticket_records};
use crate::tickets::{self, TicketError};
use crate::world::{FLEET, NAMESPACE, QUEUE, World};

/// Two teams of two, near in skill, more loosely after 10 s.
const TEAMS: &str = r#"
    ticket_ttl_s = 60
    [attributes]
    skill = { kind = "number", default = 1000 }
    [[teams]]
    name = "side"
    count = 2
    min = 2
    max = 2
    [[rules]]
    name = "near in skill"
    kind = "spread"
    attribute = "skill"
    most = 100
    expand = [{ after_s = 10, to = 500 }]
"#;

fn spec(text: &str) -> QueueSpec {
    toml::from_str(&format!("name = {QUEUE:?}\nfleet = {FLEET:?}\n{text}")).expect("a queue")
}

async fn world(text: &str) -> (World, Matchmaker) {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 4, 9)]).await;
    world.apply_queue_spec(&spec(text)).await;
    world.settle().await;
    let matchmaker = Matchmaker::new(world.db.clone(), NAMESPACE.into(), QUEUE.into());
    (world, matchmaker)
}

async fn pass(world: &World, matchmaker: &mut Matchmaker) -> Pass {
    matchmaker.pass(world.now_ms()).await.expect("a pass").expect("a queue").0
}

fn of_skill(player: &str, skill: f64) -> TicketRequest {
    let attributes = [("skill".to_owned(), Value::Number(skill))].into();
    TicketRequest { attributes, ..TicketRequest::new(QUEUE, player) }
}

fn party(players: &[(&str, f64)]) -> TicketRequest {
    let mut request = of_skill(players[0].0, players[0].1);
    request.party = players[1..]
        .iter()
        .map(|(player, skill)| PartyMember {
            player: (*player).into(),
            attributes: [("skill".to_owned(), Value::Number(*skill))].into(),
        })
        .collect();
    request
}

async fn state(world: &World, ticket: TicketId) -> TicketState {
    world.see(ticket).await.record.state()
}

#[tokio::test]
async fn what_happens_to_tickets_reaches_a_matchmaker_by_the_news() {
    let (world, mut matchmaker) = world(TEAMS).await;
    let early = world.ticket_of(&of_skill("early", 1_000.0)).await;
    assert_eq!(pass(&world, &mut matchmaker).await, Pass::default());
    // After the whole was read: one that goes, one that is too far, and a party that fits.
    let gone = world.ticket_of(&of_skill("gone", 1_000.0)).await;
    let far = world.ticket_of(&of_skill("far", 1_400.0)).await;
    let pair = world.ticket_of(&party(&[("ann", 990.0), ("bob", 1_050.0)])).await;
    tickets::cancel(&world.db, NAMESPACE, gone, world.now_ms()).await.expect("withdrawn");
    assert_eq!(pass(&world, &mut matchmaker).await, Pass::default());
    let late = world.ticket_of(&of_skill("late", 1_010.0)).await;
    assert_eq!(pass(&world, &mut matchmaker).await, Pass { assigned: 1, ..Pass::default() });
    assert_eq!(state(&world, far).await, TicketState::Searching);

    let view = world.see(pair).await;
    let record = view.record;
    assert_eq!(record.state(), TicketState::Assigned);
    let teams: Vec<String> =
        vec![world.see(early).await.record.team, world.see(late).await.record.team, record.team.clone()];
    assert_eq!(teams.iter().collect::<BTreeSet<_>>().len(), 2, "{teams:?}");
    assert!(teams[0] == teams[1] && teams[0] != teams[2], "a party has its team for itself: {teams:?}");
    let found = world
        .db
        .read("match", async |mut tx| matches::peek(&mut tx, record.match_id().expect("matched")).await)
        .await
        .expect("read")
        .expect("there");
    let seats: BTreeSet<_> = found.seats.iter().map(MatchSeat::typed_id).collect();
    let players: BTreeSet<&str> = found.seats.iter().map(|seat| seat.player.as_str()).collect();
    assert_eq!((seats.len(), players), (4, ["ann", "bob", "early", "late"].into()));
    for (member, player) in record.members.iter().zip(["ann", "bob"]) {
        let seat = found.seats.iter().find(|seat| seat.id == member.seat).expect("a seat for each");
        assert_eq!(
            (seat.player.as_str(), seat.ticket, seat.team.as_str()),
            (player, record.id, record.team.as_str())
        );
    }
}

#[tokio::test]
async fn a_limit_relaxes_by_the_oldest_wait_and_newcomers_do_not_reset_it() {
    let (world, mut matchmaker) = world(TEAMS).await;
    for (player, skill) in [("a", 1_000.0), ("b", 1_200.0), ("c", 1_300.0)] {
        world.ticket_of(&of_skill(player, skill)).await;
    }
    assert_eq!(pass(&world, &mut matchmaker).await, Pass::default());
    world.pass_time(9_000);
    world.ticket_of(&of_skill("d", 1_400.0)).await;
    assert_eq!(pass(&world, &mut matchmaker).await, Pass::default());
    world.pass_time(1_000);
    assert_eq!(pass(&world, &mut matchmaker).await.assigned, 1);
}

#[tokio::test]
async fn another_definition_keeps_those_who_wait() {
    let (world, mut matchmaker) = world(TEAMS).await;
    let (ann, bob) =
        (world.ticket_of(&of_skill("ann", 1_000.0)).await, world.ticket_of(&of_skill("bob", 1_900.0)).await);
    let filter = "skill > 900".to_owned();
    let picky = world.ticket_of(&TicketRequest { filter, ..of_skill("picky", 1_000.0) }).await;
    assert_eq!(pass(&world, &mut matchmaker).await, Pass::default());
    // Without the attribute: those who named it play; the filter that asks for it is in the way of its owner, who is
    // told.
    world.apply_queue_spec(&spec("players = 2\nticket_ttl_s = 60")).await;
    assert_eq!(pass(&world, &mut matchmaker).await.assigned, 1);
    for ticket in [ann, bob] {
        assert_eq!(state(&world, ticket).await, TicketState::Assigned);
    }
    let told = world.see(picky).await;
    assert_eq!(told.record.state(), TicketState::Searching);
    assert!(told.explanation.contains("no attribute skill"), "{}", told.explanation);
    // And with it again it is served again.
    world.apply_queue_spec(&spec(TEAMS)).await;
    for player in ["d", "e", "f"] {
        world.ticket_of(&of_skill(player, 1_000.0)).await;
    }
    assert_eq!(pass(&world, &mut matchmaker).await.assigned, 1);
    assert_eq!(state(&world, picky).await, TicketState::Assigned);
}

#[tokio::test]
async fn a_paused_queue_makes_no_matches_and_a_draining_one_takes_no_tickets() {
    let (world, mut matchmaker) = world("players = 1\nticket_ttl_s = 60").await;
    let set = async |mode| {
        let set = world
            .db
            .run("mode", async |mut tx| queues::set_mode(&mut tx, NAMESPACE, QUEUE, mode).await)
            .await;
        assert!(set.expect("written").is_some());
    };
    set(QueueMode::Paused).await;
    let ann = world.ticket("ann").await;
    assert_eq!(pass(&world, &mut matchmaker).await, Pass::default());
    assert!(world.see(ann).await.explanation.contains("the queue is paused; `muster queue resume"));
    set(QueueMode::Draining).await;
    assert_eq!(pass(&world, &mut matchmaker).await.assigned, 1);
    let request = TicketRequest::new(QUEUE, "bob");
    let refused = tickets::create(&world.db, NAMESPACE, &request, &Asker::default(), world.now_ms()).await;
    assert_eq!(refused.map(drop), Err(TicketError::Draining(QUEUE.into())));
    set(QueueMode::Open).await;
    world.ticket("bob").await;
    assert_eq!(pass(&world, &mut matchmaker).await.assigned, 1);
}

#[tokio::test]
async fn the_same_request_again_is_the_same_ticket() {
    let (world, _) = world(TEAMS).await;
    let keyed = TicketRequest { idempotency_key: Some("4711".into()), ..TicketRequest::new(QUEUE, "ann") };
    let first = world.ticket_by(&keyed, &Asker::of_request(1)).await;
    assert_eq!(world.ticket_by(&keyed, &Asker::of_request(1)).await, first);
    // Whatever it is that differs: the hash is of the whole.
    let other = tickets::create(&world.db, NAMESPACE, &keyed, &Asker::of_request(2), world.now_ms()).await;
    assert_eq!(other.map(drop), Err(TicketError::KeyUsed("4711".into())));
    let searching = world.db.read("count", async |mut tx| {
        ticket_records::count(&mut tx, NAMESPACE, QUEUE, TicketState::Searching).await
    });
    assert_eq!(searching.await, Ok(1));
}

#[tokio::test]
async fn old_news_is_removed_once_nobody_needs_it() {
    let (world, mut matchmaker) = world("players = 2\nticket_ttl_s = 600").await;
    let kept = async || {
        let rows = world
            .db
            .read("news", async |mut tx| ticket_records::news(&mut tx, NAMESPACE, QUEUE, b"", 100).await);
        rows.await.expect("read").len()
    };
    let ann = world.ticket("ann").await;
    pass(&world, &mut matchmaker).await;
    assert_eq!(kept().await, 1);
    world.pass_time(super::memory::NEWS_KEPT_MS);
    // It has not looked for so long that it reads everything again.
    pass(&world, &mut matchmaker).await;
    for _ in 0..8 {
        world.pass_time(10_000);
        pass(&world, &mut matchmaker).await;
    }
    assert_eq!(kept().await, 0);
    let bob = world.ticket("bob").await;
    assert_eq!(pass(&world, &mut matchmaker).await.assigned, 1);
    for ticket in [ann, bob] {
        assert_eq!(state(&world, ticket).await, TicketState::Assigned);
    }
}
