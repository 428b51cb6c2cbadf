//! Coming back on a real store, with a queue's matchmaker: who gets which seat again, and who does not.

use muster_protocol::agent::{ServerPhase, ServerReport};
use muster_protocol::api::{PartyMember, QueueSpec, TicketRequest};
use muster_protocol::id::{SeatId, TicketId};

use crate::asker::Asker;
use crate::matchmaking::Matchmaker;
use crate::records::{MatchRecord, MatchSeat, QueueMode, TicketRecord, TicketState};
use crate::state::{matches, queues};
use crate::world::{FLEET, NAMESPACE, QUEUE, World, report};
use crate::{check, lifecycle, tickets};

/// Four players on a running server, all of them there: ann and bob by one ticket, cat and dan alone.
struct Game {
    world: World,
    pair: TicketId,
    cat: TicketId,
}

/// Secrets of their tickets' tokens.
const OF_PAIR: u8 = 1;
const OF_CAT: u8 = 2;

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
        let pair = world.ticket_by(&pair(), &Asker::client(OF_PAIR, &[])).await;
        let cat = world.ticket_by(&TicketRequest::new(QUEUE, "cat"), &Asker::client(OF_CAT, &[])).await;
        world.ticket("dan").await;
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

    /// A backend asks, which knows the players.
    async fn asks(&self, request: &TicketRequest) -> TicketRecord {
        self.asks_by(request, &Asker::backend()).await
    }

    async fn asks_by(&self, request: &TicketRequest, asker: &Asker) -> TicketRecord {
        self.world.see(self.world.ticket_by(request, asker).await).await.record
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
async fn a_name_alone_neither_takes_a_seat_over_nor_gives_it_up() {
    let game = Game::new().await;
    let before = game.world.see(game.cat).await;
    let ask = |rejoin| TicketRequest { rejoin, ..TicketRequest::new(QUEUE, "cat") };
    // Nobody's token, that of other players, one with a wrong secret.
    for shown in [&[][..], &[(game.pair, OF_PAIR)], &[(game.cat, OF_PAIR)]] {
        for rejoin in [true, false] {
            let other = game.asks_by(&ask(rejoin), &Asker::client(9, shown)).await;
            assert_eq!(other.state(), TicketState::Searching);
            assert_eq!(game.world.see(game.cat).await, before, "it is as it was");
            let explained =
                tickets::explain(&game.world.db, NAMESPACE, other.typed_id(), game.world.now_ms());
            assert!(explained.await.expect("read").expect("there").is_seated, "who asks is told");
        }
    }
    let shows = Asker::client(3, &[(game.cat, OF_CAT)]);
    let back = game.asks_by(&ask(true), &shows).await;
    assert_eq!((back.state(), back.seat), (TicketState::Assigned, before.record.seat));
    // What was taken over is the newer ticket's: the older one's token moves it no more.
    let late = game.asks_by(&ask(false), &shows).await;
    assert_eq!((late.state(), game.record().await.seats.len()), (TicketState::Searching, 4));
    let gives_up = Asker::client(4, &[(back.typed_id(), 3)]);
    game.asks_by(&ask(false), &gives_up).await;
    assert_eq!(
        (game.record().await.seats.len(), game.world.see(back.typed_id()).await.record.reason.as_str()),
        (3, "left")
    );
    game.agrees().await;
}

#[tokio::test]
async fn one_of_a_party_comes_back_by_the_partys_token_and_before_anybody_has_been_there() {
    let game = Game::new().await;
    let before = game.world.see(game.pair).await.record;
    let bob = TicketRequest::new(QUEUE, "bob");
    let alone = game.asks_by(&bob, &Asker::client(3, &[(game.pair, OF_PAIR)])).await;
    assert_eq!((alone.state(), alone.seat), (TicketState::Assigned, before.members[1].seat));
    let request = TicketRequest { rejoin: false, ..bob };
    game.asks_by(&request, &Asker::client(4, &[(game.pair, OF_PAIR)])).await;
    assert_eq!(
        game.record().await.seats.len(),
        4,
        "his seat is not that ticket's any more, and hers is not his"
    );
    // A client that crashed on its way: no server has said of it that it was there, but its ticket says where it goes.
    let world = &game.world;
    let (eve, fay) = (TicketRequest::new("solo", "eve"), TicketRequest::new("solo", "fay"));
    world.apply_queue_spec(&QueueSpec::simple("solo", FLEET, 2)).await;
    let first = world.ticket_by(&eve, &Asker::client(5, &[])).await;
    world.ticket_of(&fay).await;
    let mut matchmaker = Matchmaker::new(world.db.clone(), NAMESPACE.into(), "solo".into());
    matchmaker.pass(world.now_ms()).await.expect("a pass").expect("a queue");
    let there = world.see(first).await.record;
    assert_eq!(there.state(), TicketState::Assigned);
    let again = game.asks_by(&eve, &Asker::client(6, &[(first, 5)])).await;
    assert_eq!((again.state(), again.seat), (TicketState::Assigned, there.seat));
    game.agrees().await;
}

#[tokio::test]
async fn an_older_ticket_that_waits_gives_way_to_one_that_shows_its_token() {
    let game = Game::new().await;
    let eve = TicketRequest::new(QUEUE, "eve");
    let first = game.asks_by(&eve, &Asker::client(5, &[])).await;
    let stranger = game.asks_by(&eve, &Asker::client(6, &[(first.typed_id(), 7)])).await;
    let reason = async |ticket: &TicketRecord| game.world.see(ticket.typed_id()).await.record.reason;
    assert_eq!(reason(&first).await, "", "it searches on");
    let second = game.asks_by(&eve, &Asker::client(8, &[(first.typed_id(), 5)])).await;
    assert_eq!(reason(&first).await, "replaced");
    for waits in [&stranger, &second] {
        assert_eq!(game.world.see(waits.typed_id()).await.record.state(), TicketState::Searching);
    }
    game.agrees().await;
}

#[tokio::test]
async fn a_player_whom_a_backend_names_is_in_one_ticket_of_a_queue_the_newest() {
    let game = Game::new().await;
    let reason = async |ticket: &TicketRecord| game.world.see(ticket.typed_id()).await.record.reason;
    let eve = TicketRequest::new(QUEUE, "eve");
    let (first, client) = (game.asks(&eve).await, game.asks_by(&eve, &Asker::client(5, &[])).await);
    let fay = PartyMember { player: "eve".into(), ..Default::default() };
    let party = TicketRequest { party: vec![fay], ..TicketRequest::new(QUEUE, "fay") };
    let second = game.asks(&party).await;
    assert_eq!((reason(&first).await.as_str(), reason(&second).await.as_str()), ("replaced", ""));
    let third = game.asks(&eve).await;
    assert_eq!(reason(&second).await, "replaced", "a party without one of it is none");
    assert_eq!(
        (reason(&client).await, reason(&third).await),
        <(String, String)>::default(),
        "that may be anybody"
    );
    game.agrees().await;
    tickets::cancel(&game.world.db, NAMESPACE, third.typed_id(), game.world.now_ms())
        .await
        .expect("withdrawn");
    game.agrees().await;

    // Of one that is matched and has yet to get there, nothing but its ticket is known.
    let world = &game.world;
    world.apply_queue_spec(&QueueSpec::simple("solo", FLEET, 1)).await;
    let gil = TicketRequest::new("solo", "gil");
    let matched = game.asks(&gil).await;
    let mut matchmaker = Matchmaker::new(world.db.clone(), NAMESPACE.into(), "solo".into());
    matchmaker.pass(world.now_ms()).await.expect("a pass").expect("a queue");
    let matched = world.see(matched.typed_id()).await.record;
    let again = game.asks(&gil).await;
    assert_eq!((again.state(), again.seat), (TicketState::Assigned, matched.seat));
    assert_eq!(reason(&matched).await, "replaced");
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
    let refused =
        tickets::create(db, NAMESPACE, &TicketRequest::new(QUEUE, "cat"), &Asker::backend(), now_ms).await;
    assert!(matches!(refused, Err(tickets::TicketError::Draining(_))), "{refused:?}");
}
