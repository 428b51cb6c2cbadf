//! Matches whose players are asked first.

use muster_protocol::api::{QueueSpec, TicketRequest};
use muster_protocol::id::TicketId;

use super::{Answer, Matchmaker, Pass};
use crate::records::{TicketRecord, TicketState};
use crate::tickets;
use crate::world::{FLEET, NAMESPACE, QUEUE, World};

/// How long they have, in milliseconds.
const ACCEPT_MS: u64 = 10_000;

async fn world(warm: u32) -> (World, Matchmaker) {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", warm, 9)]).await;
    let spec = QueueSpec { accept_s: 10, ticket_ttl_s: 60, ..QueueSpec::simple(QUEUE, FLEET, 2) };
    world.apply_queue_spec(&spec).await;
    world.settle().await;
    let matchmaker = Matchmaker::new(world.db.clone(), NAMESPACE.into(), QUEUE.into());
    (world, matchmaker)
}

async fn pass(world: &World, matchmaker: &mut Matchmaker) -> Pass {
    matchmaker.pass(world.now_ms()).await.expect("a pass").expect("a queue").0
}

async fn answer(world: &World, ticket: TicketId, answer: Answer) -> Option<TicketState> {
    let answered = tickets::answer(&world.db, NAMESPACE, ticket, answer, world.now_ms()).await;
    answered.expect("written").map(|record| record.state())
}

async fn record(world: &World, ticket: TicketId) -> TicketRecord {
    world.see(ticket).await.record
}

/// Two tickets whose match waits for them.
async fn proposed(world: &World, matchmaker: &mut Matchmaker) -> [TicketId; 2] {
    let pair = [world.ticket("ann").await, world.ticket("bob").await];
    assert_eq!(pass(world, matchmaker).await, Pass { waiting: 1, ..Pass::default() });
    for ticket in pair {
        let view = world.see(ticket).await;
        let proposal = view.proposal.expect("asked");
        assert_eq!((proposal.accepted, proposal.have, proposal.of), (false, 0, 2));
        assert_eq!(proposal.until_ms, world.now_ms() + ACCEPT_MS);
        assert!(view.explanation.contains("0 of 2 tickets have accepted"), "{}", view.explanation);
    }
    pair
}

#[tokio::test]
async fn a_match_gets_its_server_once_all_have_accepted() {
    let (world, mut matchmaker) = world(1).await;
    let [ann, bob] = proposed(&world, &mut matchmaker).await;
    assert_eq!(answer(&world, ann, Answer::Accept).await, Some(TicketState::Matched));
    assert_eq!(answer(&world, ann, Answer::Accept).await, Some(TicketState::Matched), "again is the same");
    assert!(world.see(ann).await.proposal.expect("asked").accepted);
    assert_eq!(answer(&world, bob, Answer::Accept).await, Some(TicketState::Assigned));
    assert_eq!(record(&world, ann).await.server, record(&world, bob).await.server);
    // An answer that comes late is told so, and an accepter's is not held against it.
    assert_eq!(answer(&world, bob, Answer::Decline).await, None);
    world.pass_time(ACCEPT_MS);
    world.fire_timers().await;
    assert_eq!(record(&world, ann).await.state(), TicketState::Assigned);
    assert_eq!(answer(&world, TicketId::new(), Answer::Accept).await, None);
}

#[tokio::test]
async fn without_a_warm_server_it_waits_for_one_and_not_for_the_answers_deadline() {
    let (world, mut matchmaker) = world(0).await;
    let [ann, bob] = proposed(&world, &mut matchmaker).await;
    for ticket in [ann, bob] {
        assert_eq!(answer(&world, ticket, Answer::Accept).await, Some(TicketState::Matched));
    }
    assert!(world.see(ann).await.proposal.is_none());
    world.pass_time(ACCEPT_MS + 1);
    world.fire_timers().await;
    // The fleet starts a server for it, and it is served.
    world.settle().await;
    pass(&world, &mut matchmaker).await;
    for ticket in [ann, bob] {
        assert_eq!(record(&world, ticket).await.state(), TicketState::Assigned);
    }
}

#[tokio::test]
async fn one_who_declines_is_out_and_the_others_keep_their_wait() {
    let (world, mut matchmaker) = world(1).await;
    let [ann, bob] = proposed(&world, &mut matchmaker).await;
    let came_ms = record(&world, ann).await.created_at_ms;
    world.pass_time(2_000);
    assert_eq!(answer(&world, ann, Answer::Accept).await, Some(TicketState::Matched));
    assert_eq!(answer(&world, bob, Answer::Decline).await, Some(TicketState::Cancelled));
    assert_eq!(record(&world, bob).await.reason, "declined");
    let kept = record(&world, ann).await;
    assert_eq!((kept.state(), kept.created_at_ms, kept.r#match), (TicketState::Searching, came_ms, None));
    world.ticket_of(&TicketRequest::new(QUEUE, "cat")).await;
    assert_eq!(pass(&world, &mut matchmaker).await.waiting, 1);
    assert!(!world.see(ann).await.proposal.expect("asked again").accepted, "each match is accepted anew");
}

#[tokio::test]
async fn one_who_does_not_answer_in_time_is_out() {
    let (world, mut matchmaker) = world(1).await;
    let [ann, bob] = proposed(&world, &mut matchmaker).await;
    answer(&world, ann, Answer::Accept).await;
    world.pass_time(ACCEPT_MS - 1);
    world.fire_timers().await;
    assert_eq!(record(&world, bob).await.state(), TicketState::Matched);
    world.pass_time(1);
    world.fire_timers().await;
    let out = world.see(bob).await;
    assert_eq!((out.record.state(), out.record.reason.as_str()), (TicketState::Cancelled, "not_accepted"));
    assert!(out.explanation.contains("not accepted in time"), "{}", out.explanation);
    assert_eq!(record(&world, ann).await.state(), TicketState::Searching);
}

#[tokio::test]
async fn withdrawing_is_declining() {
    let (world, mut matchmaker) = world(1).await;
    let [ann, bob] = proposed(&world, &mut matchmaker).await;
    tickets::cancel(&world.db, NAMESPACE, ann, world.now_ms()).await.expect("withdrawn");
    assert_eq!(record(&world, ann).await.state(), TicketState::Cancelled);
    assert_eq!(record(&world, bob).await.state(), TicketState::Searching);
}
