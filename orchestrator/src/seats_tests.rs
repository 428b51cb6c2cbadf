//! Seats of running matches on a real store: sold, kept, given up, and who is told.

use muster_protocol::agent::{ServerPhase, ServerReport};
use muster_protocol::api::{MAX_PLAYER_BYTES, TicketRequest};
use muster_protocol::id::{MatchId, SeatId, ServerId, TicketId};

use crate::allocate::{MAX_DATA_BYTES, MAX_PLAYERS, allocate};
use crate::records::{Id, MatchRecord, MatchSeat, ServerRecord, TicketRecord, TicketState};
use crate::seats::{self, Newcomer, SellError};
use crate::state::{StateError, matches, tickets as stored};
use crate::world::{FLEET, NAMESPACE, QUEUE, RETENTION_MS, World, report};
use crate::{check, lifecycle, tickets};

/// How long the fleet keeps a dropped player's seat, in milliseconds.
const KEPT_MS: u64 = 60_000;

/// How long it holds that of one who has not come, once others are there.
const COMING_MS: u64 = 90_000;

/// A world with a match of one, claimed by request, that has room for `room` in all.
struct Stand {
    world: World,
    match_id: MatchId,
    server: ServerId,
}

impl Stand {
    async fn new(room: u32) -> Self {
        let world = World::with_region().await;
        world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
        world.apply_queue(2).await;
        world.settle().await;
        let players = ["ann".to_owned()];
        let claimed = allocate(&world.db, NAMESPACE, FLEET, &[], &players, "", world.now_ms()).await;
        let claimed = claimed.expect("a warm server");
        let stand =
            Self { match_id: claimed.match_record.typed_id(), server: claimed.server.typed_id(), world };
        let widened = stand.world.db.run("widen", async |mut tx| {
            let before = matches::load(&mut tx, stand.match_id).await?.expect("there");
            matches::save(&mut tx, Some(&before), &MatchRecord { max_players: room, ..before.clone() });
            Ok::<_, StateError>(())
        });
        widened.await.expect("written");
        stand
    }

    async fn record(&self) -> MatchRecord {
        let read = self.world.db.read("match", async |mut tx| matches::peek(&mut tx, self.match_id).await);
        read.await.expect("read").expect("there")
    }

    async fn server(&self) -> ServerRecord {
        self.world.server(self.server).await
    }

    async fn ticket(&self, ticket: TicketId) -> TicketRecord {
        self.world.see(ticket).await.record
    }

    /// Seats a searching ticket.
    async fn sell(&self, ticket: TicketId) -> Result<Vec<TicketRecord>, SellError> {
        let sold = self.world.db.run("sell", async |mut tx| {
            let before = matches::load(&mut tx, self.match_id).await?.expect("there");
            let ticket = stored::load(&mut tx, ticket).await?.expect("there");
            let newcomer = Newcomer { before: Some(ticket.clone()), ticket, team: "red".into() };
            seats::sell(&mut tx, &before, vec![newcomer], self.world.now_ms()).await
        });
        sold.await
    }

    async fn seat_of(&self, player: &str) -> SeatId {
        let record = self.record().await;
        record.seats.iter().find(|seat| seat.player == player).expect("seated").typed_id()
    }

    /// The server says who is there, and whom it gave up.
    async fn says(&self, connected: &[SeatId], released: &[SeatId]) {
        let text = |seats: &[SeatId]| seats.iter().map(SeatId::to_string).collect();
        let said = ServerReport {
            uses_sdk: true,
            connected_seats: text(connected),
            released_seats: text(released),
            ..report(&self.server.to_string(), ServerPhase::Ready)
        };
        self.world.report(self.world.node(0), &said).await;
    }

    /// Seats that the agent is told of.
    async fn told(&self) -> Vec<String> {
        let desired = self.world.desired(self.world.node(0)).await;
        let spec = desired.servers.into_iter().find(|spec| spec.server_id == self.server.to_string());
        let seats = spec.expect("asked").allocation.expect("claimed").seats;
        seats.into_iter().map(|seat| seat.player).collect()
    }

    async fn agrees(&self) {
        let report = check::check(&self.world.db).await.expect("read");
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

#[tokio::test]
async fn a_seat_sold_on_a_running_server_is_the_tickets_and_the_server_is_told() {
    let stand = Stand::new(3).await;
    let bob = stand.world.ticket("bob").await;
    let before = stand.server().await.generation;
    let seated = stand.sell(bob).await.expect("room");
    assert_eq!((stand.record().await.free_seats(), seated[0].typed_id()), (1, bob));
    let view = stand.world.see(bob).await;
    assert_eq!((view.record.state(), view.record.team.as_str()), (TicketState::Assigned, "red"));
    assert_eq!(view.record.server_id(), Some(stand.server));
    let at = view.assignment.expect("assigned");
    assert!(at.match_record.holds(view.record.id, view.record.seat));
    assert!(stand.server().await.generation > before);
    assert_eq!(stand.told().await, ["ann", "bob"]);
    stand.agrees().await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_whole() {
    let stand = Stand::new(2).await;
    let party = TicketRequest {
        party: vec![muster_protocol::api::PartyMember { player: "cat".into(), ..Default::default() }],
        ..TicketRequest::new(QUEUE, "bob")
    };
    let two = stand.world.ticket_of(&TicketRequest { party: Vec::new(), ..party.clone() }).await;
    let again = stand.world.ticket("ann").await;
    assert_eq!(stand.sell(again).await.expect_err("twice"), SellError::Seated("ann".into()));
    stand.sell(two).await.expect("room for one");
    let late = stand.world.ticket("dan").await;
    assert_eq!(stand.sell(late).await.expect_err("full"), SellError::Full { wanted: 1, free: 0 });
    assert_eq!(stand.ticket(late).await.state(), TicketState::Searching);
    // A server on its way out takes nobody, whatever room there is.
    seats_freed(&stand, two).await;
    let (db, now_ms) = (&stand.world.db, stand.world.now_ms());
    lifecycle::stop_server(db, NAMESPACE, stand.server, "operator", false, now_ms).await.expect("drained");
    assert_eq!(stand.sell(late).await.expect_err("draining"), SellError::Over);
    stand.agrees().await;
}

async fn seats_freed(stand: &Stand, ticket: TicketId) {
    let withdrawn = tickets::cancel(&stand.world.db, NAMESPACE, ticket, stand.world.now_ms()).await;
    let withdrawn = withdrawn.expect("written").expect("there");
    assert_eq!((withdrawn.state(), withdrawn.reason.as_str()), (TicketState::Cancelled, "left"));
    assert!(withdrawn.ended_at_ms > 0);
}

#[tokio::test]
async fn who_withdraws_an_assigned_ticket_frees_its_seat() {
    let stand = Stand::new(2).await;
    let bob = stand.world.ticket("bob").await;
    stand.sell(bob).await.expect("room");
    seats_freed(&stand, bob).await;
    assert_eq!(stand.told().await, ["ann"]);
    assert!(stand.world.see(bob).await.assignment.is_none());
    let cat = stand.world.ticket("cat").await;
    stand.sell(cat).await.expect("room again");
    stand.agrees().await;
}

#[tokio::test]
async fn a_dropped_players_seat_is_kept_for_a_while_and_then_free() {
    let stand = Stand::new(2).await;
    let bob = stand.world.ticket("bob").await;
    stand.sell(bob).await.expect("room");
    let (ann, of_bob) = (stand.seat_of("ann").await, stand.seat_of("bob").await);
    stand.says(&[ann, of_bob], &[]).await;
    stand.agrees().await;
    stand.says(&[ann], &[]).await;
    let record = stand.record().await;
    let kept = record.seats.iter().find(|seat| seat.typed_id() == of_bob).expect("kept");
    assert_eq!(kept.kept_until_ms, stand.world.now_ms() + KEPT_MS);
    stand.agrees().await;
    // Back in time, and gone again: the time counts anew.
    stand.world.pass_time(KEPT_MS - 1);
    stand.world.fire_timers().await;
    stand.says(&[ann, of_bob], &[]).await;
    stand.world.pass_time(KEPT_MS);
    stand.world.fire_timers().await;
    stand.says(&[ann], &[]).await;
    stand.world.pass_time(KEPT_MS - 1);
    stand.world.fire_timers().await;
    assert_eq!(stand.record().await.seats.len(), 2);
    stand.world.pass_time(1);
    stand.world.fire_timers().await;
    assert_eq!(stand.told().await, ["ann"]);
    let over = stand.ticket(bob).await;
    assert_eq!((over.state(), over.reason.as_str()), (TicketState::Cancelled, "dropped"));
    let cat = stand.world.ticket("cat").await;
    stand.sell(cat).await.expect("the seat is free");
    stand.agrees().await;
}

#[tokio::test]
async fn the_seat_of_one_who_does_not_come_is_free_after_a_while_once_others_are_there() {
    let stand = Stand::new(4).await;
    let (bob, cat) = (stand.world.ticket("bob").await, stand.world.ticket("cat").await);
    for ticket in [bob, cat] {
        stand.sell(ticket).await.expect("room");
    }
    let (ann, of_bob) = (stand.seat_of("ann").await, stand.seat_of("bob").await);
    // Nobody is there: that the server says who is, is not known, and nobody is late.
    stand.says(&[], &[]).await;
    stand.world.pass_time(10 * COMING_MS);
    stand.world.fire_timers().await;
    assert_eq!(stand.record().await.seats.len(), 3);
    stand.says(&[ann], &[]).await;
    stand.agrees().await;
    stand.world.pass_time(COMING_MS - 1);
    stand.world.fire_timers().await;
    stand.says(&[ann, of_bob], &[]).await;
    // One who is sold a seat now is waited for from now on.
    let dan = stand.world.ticket("dan").await;
    stand.sell(dan).await.expect("room");
    stand.agrees().await;
    stand.world.pass_time(1);
    stand.world.fire_timers().await;
    assert_eq!(stand.told().await, ["ann", "bob", "dan"]);
    let over = stand.ticket(cat).await;
    assert_eq!((over.state(), over.reason.as_str()), (TicketState::Cancelled, "not_connected"));
    stand.world.pass_time(COMING_MS - 1);
    stand.world.fire_timers().await;
    assert_eq!(stand.told().await, ["ann", "bob"]);
    assert_eq!(stand.ticket(dan).await.reason, "not_connected");
    stand.agrees().await;
}

#[tokio::test]
async fn a_seat_that_was_claimed_by_request_is_held_for_whoever_is_to_come() {
    let stand = Stand::new(2).await;
    let bob = stand.world.ticket("bob").await;
    stand.sell(bob).await.expect("room");
    let of_bob = stand.seat_of("bob").await;
    stand.says(&[of_bob], &[]).await;
    stand.world.pass_time(10 * COMING_MS);
    stand.world.fire_timers().await;
    stand.says(&[of_bob], &[]).await;
    assert_eq!(stand.told().await, ["ann", "bob"]);
    stand.agrees().await;
}

#[tokio::test]
async fn a_seat_that_the_server_gives_up_is_free_at_once() {
    let stand = Stand::new(2).await;
    let bob = stand.world.ticket("bob").await;
    stand.sell(bob).await.expect("room");
    let of_bob = stand.seat_of("bob").await;
    stand.says(&[of_bob], &[]).await;
    stand.says(&[], &[of_bob, SeatId::new()]).await;
    assert_eq!(stand.told().await, ["ann"]);
    assert_eq!(stand.ticket(bob).await.reason, "released");
    // Said again, as a report says all there is: nothing more comes of it.
    let generation = stand.server().await.generation;
    stand.says(&[], &[of_bob]).await;
    assert_eq!(stand.server().await.generation, generation);
    stand.agrees().await;
}

#[tokio::test]
async fn what_was_kept_goes_with_its_match() {
    let stand = Stand::new(1).await;
    let ann = stand.seat_of("ann").await;
    stand.says(&[ann], &[]).await;
    stand.says(&[], &[]).await;
    let (db, now_ms) = (&stand.world.db, stand.world.now_ms());
    lifecycle::stop_server(db, NAMESPACE, stand.server, "operator", true, now_ms).await.expect("stopped");
    stand.world.play_agents().await;
    assert!(stand.record().await.ended_at_ms > 0);
    stand.agrees().await;
    stand.world.pass_time(KEPT_MS);
    stand.world.fire_timers().await;
    assert_eq!(stand.record().await.seats[0].id, Some(Id::from(ann)), "who played stays on record");
}

#[tokio::test]
async fn a_match_of_a_thousand_with_the_longest_names_is_kept_whole() {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
    world.settle().await;
    let players: Vec<String> =
        (0..MAX_PLAYERS).map(|number| format!("{number:0>MAX_PLAYER_BYTES$}")).collect();
    let data = "x".repeat(MAX_DATA_BYTES);
    let claimed = allocate(&world.db, NAMESPACE, FLEET, &[], &players, &data, world.now_ms()).await;
    let claimed = claimed.expect("a warm server");
    let match_id = claimed.match_record.typed_id();
    let stand = Stand { world, match_id, server: claimed.server.typed_id() };
    assert_eq!(stand.record().await, claimed.match_record);
    assert_eq!(stand.told().await.len(), MAX_PLAYERS);
    let seats: Vec<SeatId> = claimed.match_record.seats.iter().map(MatchSeat::typed_id).collect();
    stand.says(&seats, &[]).await;
    stand.agrees().await;
    stand.says(&[], &seats[..500]).await;
    assert_eq!(stand.record().await.seats.len(), MAX_PLAYERS - 500);
    stand.agrees().await;
    let (db, now_ms) = (&stand.world.db, stand.world.now_ms());
    lifecycle::stop_server(db, NAMESPACE, stand.server, "operator", true, now_ms).await.expect("stopped");
    stand.world.play_agents().await;
    stand.agrees().await;
    stand.world.pass_time(2 * RETENTION_MS);
    stand.world.fire_timers().await;
    let gone = stand.world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await).await;
    assert_eq!(gone, Ok(None));
    stand.agrees().await;
}
