//! Running matches that their queue fills, on a real store: who is seated where, who is told, and who is not taken.

use muster_protocol::agent::{self as wire, ServerPhase, ServerReport};
use muster_protocol::api::QueueSpec;
use muster_protocol::id::{MatchId, TicketId};

use super::{Matchmaker, Pass};
use crate::records::{MatchRecord, TicketState};
use crate::state::{StateError, matches};
use crate::world::{FLEET, NAMESPACE, QUEUE, World, report};
use crate::{check, lifecycle, tickets};

/// A world with a match of two players, in which two more have room.
struct Stand {
    world: World,
    first: [TicketId; 2],
}

impl Stand {
    /// With a fleet that wants its matches filled, or not.
    async fn new(backfill: bool) -> Self {
        let mut world = World::with_region().await;
        world.backfill = backfill;
        world.apply_fleet("sha256:one", &[("eu", 1, 9)]).await;
        let text = format!(
            "name = \"{QUEUE}\"\nfleet = \"{FLEET}\"\nticket_ttl_s = 600\n\
             [[teams]]\nname = \"side\"\ncount = 2\nmin = 1\nmax = 2"
        );
        let spec: QueueSpec = toml::from_str(&text).expect("a queue");
        world.apply_queue_spec(&spec).await;
        world.settle().await;
        let first = [world.ticket("ann").await, world.ticket("bob").await];
        let stand = Self { world, first };
        assert_eq!(stand.pass(&mut stand.matchmaker()).await, Pass { assigned: 1, ..Pass::default() });
        stand
    }

    fn matchmaker(&self) -> Matchmaker {
        Matchmaker::new(self.world.db.clone(), NAMESPACE.into(), QUEUE.into())
    }

    async fn pass(&self, matchmaker: &mut Matchmaker) -> Pass {
        matchmaker.pass(self.world.now_ms()).await.expect("a pass").expect("a queue").0
    }

    /// A pass of a matchmaker that reads everything anew.
    async fn first_pass(&self) -> Pass {
        self.pass(&mut self.matchmaker()).await
    }

    async fn match_id(&self) -> MatchId {
        self.world.see(self.first[0]).await.record.match_id().expect("matched")
    }

    async fn record(&self) -> MatchRecord {
        let match_id = self.match_id().await;
        let read = self.world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await);
        read.await.expect("read").expect("there")
    }

    async fn open(&self) -> usize {
        let read = self.world.db.read("open", async |mut tx| {
            Ok::<_, StateError>(matches::open(&mut tx, NAMESPACE, QUEUE, None, 100).await?.len())
        });
        read.await.expect("read")
    }

    /// The server says whether others may join.
    async fn says(&self, backfill: wire::Backfill) {
        let server = self.record().await.server_id().expect("assigned").to_string();
        let said = ServerReport { backfill: backfill.into(), ..report(&server, ServerPhase::Ready) };
        self.world.report(self.world.node(0), &said).await;
    }

    async fn state(&self, ticket: TicketId) -> TicketState {
        self.world.see(ticket).await.record.state()
    }

    async fn agrees(&self) {
        let report = check::check(&self.world.db).await.expect("read");
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

const JOINED: Pass = Pass { assigned: 0, waiting: 0, joined: 1, stale: 0 };

#[tokio::test]
async fn who_comes_later_is_seated_on_the_server_that_runs_until_it_is_full() {
    let stand = Stand::new(true).await;
    assert_eq!(stand.open().await, 1);
    let (mut matchmaker, mut teams) = (stand.matchmaker(), Vec::new());
    for player in ["cat", "dan"] {
        let ticket = stand.world.ticket(player).await;
        assert_eq!(stand.pass(&mut matchmaker).await, JOINED);
        let view = stand.world.see(ticket).await;
        assert_eq!(view.record.state(), TicketState::Assigned);
        let at = view.assignment.expect("assigned");
        assert_eq!(at.match_record.typed_id(), stand.match_id().await);
        assert!(at.match_record.holds(view.record.id, view.record.seat));
        teams.push(view.record.team);
        stand.agrees().await;
    }
    teams.sort();
    assert_eq!(teams, ["side 1", "side 2"], "the side that is behind first");
    assert_eq!((stand.record().await.seats.len(), stand.open().await), (4, 0));
    let late = stand.world.ticket("eve").await;
    assert_eq!(stand.pass(&mut matchmaker).await, Pass::default());
    assert_eq!(stand.state(late).await, TicketState::Searching);
    // The server is told of all of them.
    let desired = stand.world.desired(stand.world.node(0)).await;
    let told = desired.servers.iter().filter_map(|spec| spec.allocation.as_ref()).map(|all| all.seats.len());
    assert_eq!(told.collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn a_seat_that_is_given_up_is_news_and_the_next_player_has_it() {
    let stand = Stand::new(true).await;
    let mut matchmaker = stand.matchmaker();
    for player in ["cat", "dan"] {
        stand.world.ticket(player).await;
    }
    assert_eq!(stand.pass(&mut matchmaker).await.joined, 2);
    let late = stand.world.ticket("eve").await;
    assert_eq!(stand.pass(&mut matchmaker).await, Pass::default());
    let (db, now_ms) = (&stand.world.db, stand.world.now_ms());
    tickets::cancel(db, NAMESPACE, stand.first[1], now_ms).await.expect("written");
    assert_eq!(stand.open().await, 1);
    assert_eq!(stand.pass(&mut matchmaker).await, JOINED);
    assert_eq!(stand.state(late).await, TicketState::Assigned);
    let players: Vec<String> = stand.record().await.seats.into_iter().map(|seat| seat.player).collect();
    assert!(players.contains(&"eve".into()) && !players.contains(&"bob".into()), "{players:?}");
    stand.agrees().await;
}

#[tokio::test]
async fn without_the_fleets_option_the_server_says_whether_others_may_join() {
    let stand = Stand::new(false).await;
    let cat = stand.world.ticket("cat").await;
    assert_eq!((stand.open().await, stand.first_pass().await), (0, Pass::default()));
    stand.says(wire::Backfill::High).await;
    assert_eq!((stand.open().await, stand.first_pass().await), (1, JOINED));
    assert_eq!(stand.state(cat).await, TicketState::Assigned);
    stand.says(wire::Backfill::Closed).await;
    let dan = stand.world.ticket("dan").await;
    assert_eq!((stand.open().await, stand.first_pass().await), (0, Pass::default()));
    assert_eq!(stand.state(dan).await, TicketState::Searching);
    stand.agrees().await;
}

#[tokio::test]
async fn a_server_on_its_way_out_takes_nobody() {
    let stand = Stand::new(true).await;
    let server = stand.record().await.server_id().expect("assigned");
    let (db, now_ms) = (&stand.world.db, stand.world.now_ms());
    lifecycle::stop_server(db, NAMESPACE, server, "operator", false, now_ms).await.expect("drained");
    assert_eq!(stand.open().await, 0);
    // What it says then does not open it again.
    stand.says(wire::Backfill::High).await;
    let cat = stand.world.ticket("cat").await;
    assert_eq!(stand.first_pass().await, Pass::default());
    assert_eq!(stand.state(cat).await, TicketState::Searching);
    stand.agrees().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_matchmakers_that_want_the_last_seats_sell_each_once() {
    let stand = Stand::new(true).await;
    for player in 0..10 {
        stand.world.ticket(&format!("late-{player}")).await;
    }
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let (mut matchmaker, now_ms) = (stand.matchmaker(), stand.world.now_ms());
            tokio::spawn(async move {
                let mut joined = 0;
                loop {
                    let (did, _) = matchmaker.pass(now_ms).await?.expect("a queue");
                    joined += did.joined;
                    if did.stale == 0 {
                        return Ok::<_, StateError>(joined);
                    }
                }
            })
        })
        .collect();
    let mut joined = 0;
    for racer in racers {
        joined += racer.await.expect("no panic").expect("a pass");
    }
    let record = stand.record().await;
    assert!(record.seats.len() == 4 && (1..=2).contains(&joined), "{joined} joined: {record:?}");
    stand.agrees().await;
}

#[tokio::test]
async fn a_ticket_is_told_of_running_matches_and_what_keeps_it_from_them() {
    let stand = Stand::new(true).await;
    let mut request = muster_protocol::api::TicketRequest::new(QUEUE, "cat");
    request.blocks = vec!["ann".into()];
    let cat = stand.world.ticket_of(&request).await;
    assert_eq!(stand.first_pass().await, Pass::default());
    let (db, now_ms) = (&stand.world.db, stand.world.now_ms());
    let explained = tickets::explain(db, NAMESPACE, cat, now_ms).await.expect("read").expect("there");
    let search = explained.search.expect("it searches");
    assert_eq!((search.openings.looked_at, search.openings.joinable), (1, 0));
    let words = search.words().join("\n");
    assert!(words.contains("1 running match with free seats, 1 is excluded by a block list"), "{words}");
}
