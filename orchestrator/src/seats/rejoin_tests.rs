//! Coming back on a real store, with a queue's matchmaker: who gets which seat again, and who does not.

use muster_protocol::agent::{ServerPhase, ServerReport};
use muster_protocol::api::{PartyMember, TicketRequest};
use muster_protocol::id::{SeatId, TicketId};

use crate::matchmaking::Matchmaker;
use crate::records::{MatchRecord, MatchSeat, QueueMode, TicketRecord, TicketState};
use crate::state::{matches, queues};
use crate::world::{NAMESPACE, QUEUE, World, report};
use crate::{check, lifecycle, tickets};

/// Four players on a running server, all of them there: ann and bob by one ticket, cat and dan alone.
struct Game {
    world: World,
    pair: TicketId,
    cat: TicketId,
}

fn pair() -> TicketRequest {
    let bob = PartyMember { player: "bob".into(), ..Default::default() };
    TicketRequest { party: vec![bob], ..TicketRequest::new(QUEUE, "ann") }
}

impl Game {
    async fn new() -> Self {
        let world = World::with_region().await;
        world.apply_fleet("sha256:one", &[("eu", 2, 9)]).await;
        world.apply_queue(4).await;
        world.settle().await;
        let pair = world.ticket_of(&pair()).await;
        let (cat, _) = (world.ticket("cat").await, world.ticket("dan").await);
        let mut matchmaker = Matchmaker::new(world.db.clone(), NAMESPACE.into(), QUEUE.into());
        matchmaker.pass(world.now_ms()).await.expect("a pass").expect("a queue");
        let game = Self { world, pair, cat };
        let all: Vec<SeatId> = game.record().await.seats.iter().map(MatchSeat::typed_id).collect();
        game.there(&all).await;
        game
    }

    async fn record(&self) -> MatchRecord {
        let match_id = self.world.see(self.cat).await.record.match_id().expect("matched");
        let read = self.world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await);
        read.await.expect("read").expect("there")
    }

    /// The server says who is there.
    async fn there(&self, seats: &[SeatId]) {
        let server = self.world.see(self.cat).await.record.server_id().expect("assigned");
        let said = ServerReport {
            uses_sdk: true,
            connected_seats: seats.iter().map(SeatId::to_string).collect(),
            ..report(&server.to_string(), ServerPhase::Ready)
        };
        self.world.report(self.world.node(0), &said).await;
    }

    /// Everyone but these is there.
    async fn gone(&self, players: &[&str]) {
        let seats = self.record().await.seats;
        let left = seats.iter().filter(|seat| !players.contains(&seat.player.as_str()));
        self.there(&left.map(MatchSeat::typed_id).collect::<Vec<_>>()).await;
    }

    async fn asks(&self, request: &TicketRequest) -> TicketRecord {
        self.world.see(self.world.ticket_of(request).await).await.record
    }

    async fn agrees(&self) {
        let report = check::check(&self.world.db).await.expect("read");
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

#[tokio::test]
async fn who_asks_again_has_the_same_seat_and_the_older_ticket_gives_way() {
    let game = Game::new().await;
    let before = game.world.see(game.cat).await.record;
    game.gone(&["cat"]).await;
    game.world.pass_time(59_000);
    game.world.fire_timers().await;
    let back = game.asks(&TicketRequest::new(QUEUE, "cat")).await;
    assert_eq!(back.state(), TicketState::Assigned);
    assert_eq!((back.seat, back.server, back.r#match), (before.seat, before.server, before.r#match));
    assert_eq!(back.team, before.team);
    let older = game.world.see(game.cat).await;
    assert_eq!((older.record.state(), older.record.reason.as_str()), (TicketState::Cancelled, "replaced"));
    assert!(older.assignment.is_none());
    // They are on the way: what was left of the time is not all they have.
    game.world.pass_time(59_000);
    game.world.fire_timers().await;
    assert_eq!(game.record().await.seats.len(), 4);
    game.agrees().await;
    game.world.pass_time(1_000);
    game.world.fire_timers().await;
    assert_eq!(game.record().await.seats.len(), 3);
    let late = game.asks(&TicketRequest::new(QUEUE, "cat")).await;
    assert_eq!(late.state(), TicketState::Searching);
    game.agrees().await;
}

#[tokio::test]
async fn a_crash_that_the_server_has_not_noticed_is_no_hindrance() {
    let game = Game::new().await;
    let before = game.world.see(game.cat).await.record;
    let back = game.asks(&TicketRequest::new(QUEUE, "cat")).await;
    assert_eq!((back.state(), back.seat), (TicketState::Assigned, before.seat));
    game.agrees().await;
}

#[tokio::test]
async fn a_party_comes_back_whole_or_one_of_it_alone() {
    let game = Game::new().await;
    let before = game.world.see(game.pair).await.record;
    game.gone(&["ann", "bob"]).await;
    let back = game.asks(&pair()).await;
    let seats = |record: &TicketRecord| record.members.iter().map(|member| member.seat).collect::<Vec<_>>();
    assert_eq!((back.state(), seats(&back)), (TicketState::Assigned, seats(&before)));
    // Bob alone: his seat goes with his ticket, hers stays with theirs.
    let alone = game.asks(&TicketRequest::new(QUEUE, "bob")).await;
    assert_eq!((alone.state(), alone.seat), (TicketState::Assigned, before.members[1].seat));
    let hers = game.world.see(back.typed_id()).await;
    let at = hers.assignment.expect("she still has hers");
    assert!(at.match_record.holds(back.id, back.seat));
    assert!(!at.match_record.holds(back.id, before.members[1].seat));
    // With somebody who has no seat there, they search together.
    let eve = PartyMember { player: "eve".into(), ..Default::default() };
    let mixed = game.asks(&TicketRequest { party: vec![eve], ..TicketRequest::new(QUEUE, "dan") }).await;
    assert_eq!(mixed.state(), TicketState::Searching);
    game.agrees().await;
}

#[tokio::test]
async fn who_wants_another_match_gives_the_seat_up() {
    let game = Game::new().await;
    game.gone(&["cat"]).await;
    let elsewhere = TicketRequest { rejoin: false, ..TicketRequest::new(QUEUE, "cat") };
    assert_eq!(game.asks(&elsewhere).await.state(), TicketState::Searching);
    assert_eq!(game.record().await.seats.len(), 3);
    assert_eq!(game.world.see(game.cat).await.record.reason, "left");
    game.agrees().await;
}

#[tokio::test]
async fn a_queue_that_takes_nobody_new_lets_players_back_but_a_server_that_ends_does_not() {
    let game = Game::new().await;
    let drained = game
        .world
        .db
        .run("drain", async |mut tx| queues::set_mode(&mut tx, NAMESPACE, QUEUE, QueueMode::Draining).await);
    drained.await.expect("written");
    let back = game.asks(&TicketRequest::new(QUEUE, "cat")).await;
    assert_eq!(back.state(), TicketState::Assigned);
    let server = back.server_id().expect("assigned");
    let (db, now_ms) = (&game.world.db, game.world.now_ms());
    lifecycle::stop_server(db, NAMESPACE, server, "operator", false, now_ms).await.expect("drained");
    let refused = tickets::create(db, NAMESPACE, &TicketRequest::new(QUEUE, "cat"), b"", now_ms).await;
    assert!(matches!(refused, Err(tickets::TicketError::Draining(_))), "{refused:?}");
}
