//! A player drops out of a running match and comes back, or leaves it, and another has the seat.

use std::time::Duration;

use muster_loadtest::exchange::Exchange;
use muster_loadtest::harness::docker::{NODE_LABEL, containers};
use muster_loadtest::harness::specs::{arena_fleet, queue};
use muster_loadtest::harness::stack::{REGION, Stack};
use muster_loadtest::harness::wait::{Look, until, when};
use muster_loadtest::link::{self, Incoming, Outgoing};
use muster_protocol::api::{Assignment, PortProtocol, Seat, Ticket, TicketRequest, TicketState};
use muster_protocol::id::ServerId;

use crate::support::{BUILD, FLEET, QUEUE, options, printed, stack};

/// How long anything here may take.
const DEADLINE: Duration = Duration::from_mins(2);
/// How long a seat is kept in the first part, in seconds: longer than anything in it may take.
const KEPT_S: u32 = 600;
/// Longest wait of one long poll, in seconds.
const POLL_S: u32 = 10;

async fn ask(stack: &Stack, player: &str) -> Ticket {
    stack.player.create_ticket(&TicketRequest::new(QUEUE, player)).await.expect("taken")
}

/// As [`ask`], showing the token of a ticket from before.
async fn ask_again(stack: &Stack, player: &str, token: &str) -> Ticket {
    let request =
        TicketRequest { previous_tokens: vec![token.to_owned()], ..TicketRequest::new(QUEUE, player) };
    stack.player.create_ticket(&request).await.expect("taken")
}

async fn assigned(stack: &Stack, mut ticket: Ticket) -> Assignment {
    while !ticket.state.is_final() {
        let waited = stack.player.wait_ticket(&ticket.id, ticket.state, POLL_S);
        ticket = tokio::time::timeout(DEADLINE, waited).await.expect("in time").expect("followed");
    }
    ticket.assignment.unwrap_or_else(|| panic!("no assignment: {}", ticket.explanation))
}

/// Connects and plays a move; the connection stays with the caller.
async fn join(player: &str, at: &Assignment) -> (Outgoing, Incoming) {
    let endpoint = at.endpoints.iter().find(|endpoint| endpoint.protocol == PortProtocol::Tcp);
    let (mut outgoing, mut incoming) = link::open(endpoint.expect("a TCP port"), None).await.expect("let in");
    let seat = Some(at.seat_id.to_string());
    let mut exchange = Exchange::new(player, seat, rand::random(), String::new());
    outgoing.send(&exchange.next(0).encode()).await.expect("sent");
    let mut message = Vec::new();
    incoming.receive(&mut message).await.expect("answered");
    exchange.receive(&message, 1);
    assert_eq!((exchange.missing(), exchange.mixed()), (0, 0), "{:?}", exchange.last_mix());
    (outgoing, incoming)
}

/// Waits until the server's seats are as `holds` says.
async fn seats(stack: &Stack, server: &ServerId, what: &str, holds: impl Fn(&[Seat]) -> bool) {
    let looked = until(what, DEADLINE, async || {
        let seats = stack.studio.server(server).await?.seats;
        Ok(when(holds(&seats), || format!("{seats:?}")))
    });
    looked.await.expect("it comes to that");
}

fn of<'a>(seats: &'a [Seat], player: &str) -> &'a Seat {
    seats.iter().find(|seat| seat.player == player).expect("seated")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_player_comes_back_to_the_same_seat_until_it_is_free() {
    let stack = stack(options("dropped-player")).await;
    let mut fleet = arena_fleet(FLEET, BUILD, REGION, 1, 3);
    fleet.timeouts.reconnect_s = KEPT_S;
    stack.apply_fleet(&fleet).await.expect("the fleet becomes warm");
    stack.apply_queue(&queue(QUEUE, FLEET, 2)).await.expect("the queue is taken");
    let (ann, bob) = (ask(&stack, "ann").await, ask(&stack, "bob").await);
    let (first, token) = (bob.id, bob.token.clone().expect("told once"));
    let (of_ann, of_bob) = (assigned(&stack, ann).await, assigned(&stack, bob).await);
    let server = of_bob.server_id;
    assert_eq!(of_ann.server_id, server);
    let _stays = join("ann", &of_ann).await;
    let connection = join("bob", &of_bob).await;
    seats(&stack, &server, "both to be there", |seats| seats.iter().all(|seat| seat.connected)).await;

    // His client crashes; the server says so, and the seat is kept.
    drop(connection);
    let is_kept = |seats: &[Seat]| of(seats, "bob").kept_until_ms.is_some() && of(seats, "ann").connected;
    seats(&stack, &server, "bob's seat to be kept", is_kept).await;
    let shown = printed(&stack, &["server", "show", &server.to_string()]).await;
    assert!(shown.contains("ann (connected)") && shown.contains("bob (dropped out, kept for"), "{shown}");

    // Whoever calls themselves bob is not him. He shows his ticket's token, and the answer is at once where he was.
    let stranger = ask(&stack, "bob").await;
    assert_ne!(stranger.state, TicketState::Assigned, "{}", stranger.explanation);
    stack.player.cancel_ticket(&stranger.id).await.expect("withdrawn");
    let back = ask_again(&stack, "bob", &token).await;
    assert_eq!(back.state, TicketState::Assigned, "{}", back.explanation);
    let at = back.assignment.clone().expect("assigned");
    assert_eq!((at.server_id, at.seat_id), (server, of_bob.seat_id));
    assert_eq!((at.match_id, &at.team), (of_bob.match_id, &of_bob.team));
    let older = stack.player.ticket(&first).await.expect("on record");
    assert_eq!(older.state, TicketState::Cancelled);
    let connection = join("bob", &at).await;
    let all = |seats: &[Seat]| seats.iter().all(|seat| seat.connected && seat.kept_until_ms.is_none());
    seats(&stack, &server, "bob to be back", all).await;

    // Seats are kept for a moment only, from now on: the servers that run go by it without being replaced.
    let before = containers(NODE_LABEL, stack.node().expect("joined")).await.expect("Docker answers");
    fleet.timeouts.reconnect_s = 1;
    stack.apply_fleet(&fleet).await.expect("the fleet stays warm");
    drop(connection);
    seats(&stack, &server, "bob's seat to be free", |seats| seats.len() == 1).await;
    let after = containers(NODE_LABEL, stack.node().expect("joined")).await.expect("Docker answers");
    assert!(before.iter().all(|container| after.contains(container)), "{before:?} became {after:?}");
    let over = stack.player.ticket(&back.id).await.expect("on record");
    assert!(over.state == TicketState::Cancelled && over.assignment.is_none(), "{over:?}");
    let late = ask_again(&stack, "bob", back.token.as_deref().expect("told once")).await;
    assert_ne!(late.state, TicketState::Assigned, "the seat is not his any more: {}", late.explanation);
    stack.player.cancel_ticket(&late.id).await.expect("withdrawn");
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_has_the_seat_of_one_who_left_on_the_server_that_runs() {
    let stack = stack(options("backfill")).await;
    let mut fleet = arena_fleet(FLEET, BUILD, REGION, 1, 3);
    fleet.backfill = true;
    stack.apply_fleet(&fleet).await.expect("the fleet becomes warm");
    stack.apply_queue(&queue(QUEUE, FLEET, 2)).await.expect("the queue is taken");
    let (ann, bob) = (ask(&stack, "ann").await, ask(&stack, "bob").await);
    let leaves = bob.id;
    let (of_ann, of_bob) = (assigned(&stack, ann).await, assigned(&stack, bob).await);
    let server = of_ann.server_id;
    let _stays = join("ann", &of_ann).await;
    let connection = join("bob", &of_bob).await;
    seats(&stack, &server, "both to be there", |seats| seats.iter().all(|seat| seat.connected)).await;

    let cat = ask(&stack, "cat").await;
    let plays = cat.id;
    drop(connection);
    stack.player.cancel_ticket(&leaves).await.expect("he leaves for good");
    let at = assigned(&stack, cat).await;
    assert_eq!((at.server_id, at.match_id), (server, of_ann.match_id));
    assert_ne!(at.seat_id, of_bob.seat_id);
    let _plays = join("cat", &at).await;
    let both = |seats: &[Seat]| seats.len() == 2 && seats.iter().all(|seat| seat.connected);
    seats(&stack, &server, "ann and cat to play", both).await;

    // One who is seated beside others and does not come is not waited for.
    fleet.timeouts.connect_s = 1;
    stack.apply_fleet(&fleet).await.expect("the fleet stays warm");
    stack.player.cancel_ticket(&plays).await.expect("cat leaves for good");
    let dan = ask(&stack, "dan").await.id;
    let given_up = until("dan's seat to be given up", DEADLINE, async || {
        let ticket = stack.player.ticket(&dan).await?;
        let is_over = ticket.state == TicketState::Cancelled;
        Ok(if is_over { Look::Holds(ticket.explanation) } else { Look::NotYet(ticket.explanation) })
    });
    let why = given_up.await.expect("it comes to that");
    assert!(why.contains("did not come in time"), "{why}");
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}
