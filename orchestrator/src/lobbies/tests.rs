//! Lobbies on a real store: made, found, joined, left, and the race for the last seat.

use std::collections::BTreeMap;

use muster_protocol::agent::{LobbyWish, ServerPhase, ServerReport};
use muster_protocol::api::{
    FindLobbyRequest, JoinRequest, LobbyRequest, LobbySpec, PartyMember, Visibility, lobby_code,
};
use muster_protocol::id::{MatchId, TicketId};

use super::{LobbyError, LobbyKey, Search};
use crate::asker::Asker;
use crate::matchmaking::MATCH_WAIT_MS;
use crate::records::{Lobby, MatchRecord, MatchState, ServerState, TicketRecord, TicketState};
use crate::state::{matches, servers};
use crate::world::{FLEET, NAMESPACE, World, report};
use crate::{allocate, check, lifecycle, lobbies, tickets};

/// The fleet's bound in [`World`].
const MAX_PLAYERS: u32 = 4;

type Outcome = Result<TicketRecord, LobbyError>;

/// A world with `warm` servers in `eu`, of at most `max`.
async fn world(warm: u32, max: u32) -> World {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", warm, max)]).await;
    world.settle().await;
    world
}

fn party(names: &[&str]) -> Vec<PartyMember> {
    names.iter().map(|name| PartyMember { player: (*name).into(), ..PartyMember::default() }).collect()
}

async fn make(world: &World, player: &str, lobby: LobbySpec) -> Outcome {
    let request = LobbyRequest { fleet: FLEET.into(), player: player.into(), lobby, ..Default::default() };
    lobbies::create(&world.db, NAMESPACE, &request, &Asker::default(), world.now_ms()).await
}

async fn join(world: &World, key: &LobbyKey, player: &str, with: &[&str]) -> Outcome {
    join_by(world, key, player, with, &Asker::default()).await
}

async fn join_by(world: &World, key: &LobbyKey, player: &str, with: &[&str], asker: &Asker) -> Outcome {
    let request = JoinRequest { party: party(with), ..JoinRequest::new(player) };
    lobbies::join(&world.db, NAMESPACE, key, &request, asker, world.now_ms()).await
}

async fn find(world: &World, player: &str, change: impl FnOnce(&mut FindLobbyRequest)) -> Outcome {
    let mut request =
        FindLobbyRequest { fleet: FLEET.into(), player: player.into(), ..FindLobbyRequest::default() };
    change(&mut request);
    lobbies::find(&world.db, NAMESPACE, &request, &Asker::default(), world.now_ms()).await
}

async fn record(world: &World, match_id: MatchId) -> MatchRecord {
    let read = world.db.read("match", async |mut tx| matches::peek(&mut tx, match_id).await).await;
    read.expect("read").expect("there")
}

fn in_match(ticket: &TicketRecord) -> MatchId {
    ticket.match_id().expect("in a match")
}

async fn key_of(world: &World, ticket: &TicketRecord) -> LobbyKey {
    let lobby = record(world, in_match(ticket)).await.lobby.expect("a lobby");
    LobbyKey::Code(lobby.code)
}

async fn leave(world: &World, ticket: &TicketRecord) -> TicketRecord {
    let left = tickets::cancel(&world.db, NAMESPACE, ticket.typed_id(), world.now_ms()).await;
    left.expect("written").expect("there")
}

async fn state(world: &World, ticket: TicketId) -> TicketState {
    world.see(ticket).await.record.state()
}

async fn assert_sound(world: &World) {
    let report = check::check(&world.db).await.expect("read");
    assert_eq!(report.findings, []);
}

async fn listed(world: &World, search: Search) -> Vec<MatchId> {
    let listed = lobbies::list(&world.db, NAMESPACE, &search, None, 100).await.expect("read");
    assert_eq!(listed.next, None);
    listed.lobbies.iter().map(MatchRecord::typed_id).collect()
}

#[tokio::test]
async fn players_join_by_code_and_by_id_until_it_is_full_and_leave_again() {
    let world = world(1, 4).await;
    let ann =
        make(&world, "ann", LobbySpec { name: "Ann's".into(), ..Default::default() }).await.expect("made");
    assert_eq!(ann.state(), TicketState::Assigned);
    let made = record(&world, in_match(&ann)).await;
    let lobby: Lobby = made.lobby.clone().expect("a lobby");
    assert_eq!(lobby_code(&lobby.code), Some(lobby.code.clone()));
    assert_eq!((lobby.owner.as_str(), made.max_players, made.queue.as_str()), ("ann", MAX_PLAYERS, ""));
    let server = made.server_id().expect("a warm one");
    let generation = world.server(server).await.generation;
    let (code, id) = (LobbyKey::Code(lobby.code), LobbyKey::Id(in_match(&ann)));
    let bob = join(&world, &code, "bob", &["cat"]).await.expect("joined");
    assert_eq!((bob.state(), bob.server_id(), bob.members.len()), (TicketState::Assigned, Some(server), 2));
    assert!(world.server(server).await.generation > generation, "the server is told");
    assert_sound(&world).await;

    // A party gets in whole or not at all.
    let full = LobbyError::Full { wanted: 2, free: 1, most: MAX_PLAYERS };
    assert_eq!(join(&world, &id, "dan", &["eve"]).await, Err(full));
    let dan = join(&world, &id, "dan", &[]).await.expect("the last seat");
    let full = LobbyError::Full { wanted: 1, free: 0, most: MAX_PLAYERS };
    assert_eq!(join(&world, &id, "eve", &[]).await, Err(full));
    let seen = world.see(dan.typed_id()).await;
    assert_eq!(seen.lobby.map(|record| record.seats.len()), Some(4));

    // Who leaves makes room, and the ticket is over.
    let left = leave(&world, &bob).await;
    assert_eq!(left.state(), TicketState::Cancelled);
    join(&world, &code, "eve", &["fay"]).await.expect("two have left");
    assert_sound(&world).await;
    let nowhere = LobbyKey::Code("ZZZZZZ".into());
    assert_eq!(join(&world, &nowhere, "gil", &[]).await, Err(LobbyError::Unknown(nowhere.clone())));
    let elsewhere = lobbies::get(&world.db, "other/test", &code).await;
    assert_eq!(elsewhere, Ok(None), "a namespace's lobbies are its own");
}

#[tokio::test]
async fn who_is_in_comes_back_to_the_same_seat() {
    let world = world(1, 4).await;
    let host = make(&world, "host", LobbySpec { max_players: Some(2), ..Default::default() }).await;
    let key = key_of(&world, &host.expect("made")).await;
    let ann = join_by(&world, &key, "ann", &[], &Asker::client(1, &[])).await.expect("joined");
    // A name is nobody's proof, nor is another's ticket: the seat stays as it is.
    let held = Err(LobbyError::Held("ann".into()));
    assert_eq!(join(&world, &key, "ann", &[]).await, held);
    let wrong = Asker::client(2, &[(ann.typed_id(), 9)]);
    assert_eq!(join_by(&world, &key, "ann", &[], &wrong).await, held);
    assert_eq!(state(&world, ann.typed_id()).await, TicketState::Assigned);

    let shows = Asker::client(3, &[(ann.typed_id(), 1)]);
    let again = join_by(&world, &key, "ann", &[], &shows).await.expect("it is full, but she is in it");
    assert_eq!((again.seat, again.server), (ann.seat, ann.server));
    assert_eq!(state(&world, ann.typed_id()).await, TicketState::Cancelled, "the older ticket gives way");
    let vouched = join_by(&world, &key, "ann", &[], &Asker::backend()).await.expect("a backend knows her");
    assert_eq!(vouched.seat, ann.seat);
    let both = join_by(&world, &key, "ann", &["bob"], &Asker::backend()).await;
    assert_eq!(both, Err(LobbyError::Seated("ann".into())));
    assert_sound(&world).await;
}

#[tokio::test]
async fn a_lobby_waits_for_its_server_with_whoever_joins_and_says_so() {
    let world = world(0, 1).await;
    let ann = make(&world, "ann", LobbySpec::default()).await.expect("made");
    let key = key_of(&world, &ann).await;
    let bob = join(&world, &key, "bob", &[]).await.expect("joined");
    for ticket in [&ann, &bob] {
        let seen = world.see(ticket.typed_id()).await;
        assert_eq!(seen.record.state(), TicketState::Matched);
        assert!(seen.explanation.contains("a server is being started in region eu"), "{}", seen.explanation);
    }
    // The fleet's only server is spoken for.
    let other = make(&world, "cat", LobbySpec::default()).await.expect_err("there is none to come");
    assert!(
        matches!(&other, LobbyError::NoCapacity { why, .. } if why.contains("raise regions.eu.max")),
        "{other}"
    );
    // One of them does not want to wait, and the other is not bothered.
    assert_eq!(leave(&world, &ann).await.state(), TicketState::Cancelled);
    assert_eq!(state(&world, bob.typed_id()).await, TicketState::Matched);
    assert_sound(&world).await;
    world.settle().await;
    let seen = world.see(bob.typed_id()).await;
    assert_eq!(seen.record.state(), TicketState::Assigned);
    assert_eq!(seen.assignment.expect("assigned").match_record.seats.len(), 1);
    assert_sound(&world).await;
}

#[tokio::test]
async fn a_lobby_that_nobody_waits_in_is_over_and_so_is_one_that_gets_no_server() {
    let mut world = World::with_region().await;
    world.containers = crate::world::Containers::Exit(3);
    world.apply_fleet("sha256:bad", &[("eu", 0, 2)]).await;
    let ann = make(&world, "ann", LobbySpec::default()).await.expect("made");
    let key = key_of(&world, &ann).await;
    leave(&world, &ann).await;
    assert_eq!(record(&world, in_match(&ann)).await.state(), MatchState::Dissolved);
    assert_eq!(join(&world, &key, "bob", &[]).await, Err(LobbyError::Unknown(key.clone())));
    let cat = make(&world, "cat", LobbySpec::default()).await.expect("made");
    world.pass_time(MATCH_WAIT_MS);
    world.fire_timers().await;
    let failed = world.see(cat.typed_id()).await.record;
    assert_eq!((failed.state(), failed.reason.as_str()), (TicketState::Failed, "no_server"));
    assert_eq!(listed(&world, Search::default()).await, []);
    assert_sound(&world).await;
}

#[tokio::test]
async fn who_waits_in_a_lobby_of_a_fleet_that_is_deleted_is_told() {
    let world = world(0, 2).await;
    let ann = make(&world, "ann", LobbySpec::default()).await.expect("made");
    let deleted = world.db.run("delete", async |mut tx| {
        crate::state::fleets::delete(&mut tx, NAMESPACE, FLEET, world.now_ms()).await
    });
    assert_eq!(deleted.await, Ok(true));
    world.settle().await;
    let over = world.see(ann.typed_id()).await;
    assert_eq!(over.record.state(), TicketState::Failed);
    assert!(over.explanation.contains("make or find another"), "{}", over.explanation);
    assert_sound(&world).await;
}

#[tokio::test]
async fn the_fullest_that_fits_is_found_and_private_and_closed_ones_are_not() {
    let world = world(6, 8).await;
    let public = LobbySpec::default;
    let tagged = |map: &str| LobbySpec { tags: [("map".to_owned(), map.to_owned())].into(), ..public() };
    let empty = in_match(&make(&world, "a", public()).await.expect("made"));
    let fuller = make(&world, "b", public()).await.expect("made");
    join(&world, &key_of(&world, &fuller).await, "b2", &["b3"]).await.expect("joined");
    let hidden =
        make(&world, "c", LobbySpec { visibility: Visibility::Private, ..public() }).await.expect("made");
    join(&world, &key_of(&world, &hidden).await, "c2", &["c3"]).await.expect("by its code, it is joined");
    let dusty = in_match(&make(&world, "d", tagged("dust")).await.expect("made"));

    assert_eq!(listed(&world, Search::default()).await.len(), 3, "all but the private one");
    let with_dust = Search { tags: tagged("dust").tags, ..Search::default() };
    assert_eq!(listed(&world, with_dust).await, [dusty]);
    let one = find(&world, "e", |_| ()).await.expect("found");
    assert_eq!(in_match(&one), in_match(&fuller), "with three it is the fullest that is not private");
    let open =
        Search { fleet: Some(FLEET.into()), region: Some("eu".into()), open: true, ..Search::default() };
    assert_eq!(listed(&world, open).await.len(), 2, "and is full now");
    let next = find(&world, "f", |request| request.party = party(&["f2"])).await.expect("found");
    assert!([empty, dusty].contains(&in_match(&next)));
    let dust = |request: &mut FindLobbyRequest| request.tags = tagged("dust").tags;
    assert_eq!(in_match(&find(&world, "g", dust).await.expect("found")), dusty);

    // A party that is too large for what is left, and tags that nobody has.
    let four = |request: &mut FindLobbyRequest| request.party = party(&["h2", "h3", "h4"]);
    assert_eq!(find(&world, "h", four).await, Err(LobbyError::NoneFits(FLEET.into())));
    let ice = find(&world, "i", |request| {
        request.tags = tagged("ice").tags;
        request.create = Some(LobbySpec { name: "Ice".into(), ..LobbySpec::default() });
    });
    let made = record(&world, in_match(&ice.await.expect("made"))).await.lobby.expect("a lobby");
    assert_eq!((made.name.as_str(), &made.tags), ("Ice", &tagged("ice").tags));
    let near = find(&world, "j", |request| {
        request.latencies_ms = BTreeMap::from([("eu".to_owned(), 90)]);
        request.max_latency_ms = Some(80);
    });
    assert_eq!(near.await, Err(LobbyError::TooFar { fleet: FLEET.into(), max_latency_ms: 80 }));
    assert_sound(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_race_for_the_last_seat_and_one_wins() {
    let world = world(1, 4).await;
    let ann = make(&world, "ann", LobbySpec::default()).await.expect("made");
    let key = key_of(&world, &ann).await;
    let racers: Vec<_> = (0..12)
        .map(|number| {
            let (db, key, now_ms) = (world.db.clone(), key.clone(), world.now_ms());
            tokio::spawn(async move {
                let request = JoinRequest::new(format!("racer-{number}"));
                lobbies::join(&db, NAMESPACE, &key, &request, &Asker::default(), now_ms).await
            })
        })
        .collect();
    let (mut won, mut full) = (0, 0);
    for racer in racers {
        match racer.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(LobbyError::Full { free: 0, .. }) => full += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((won, full), (MAX_PLAYERS - 1, 12 - (MAX_PLAYERS - 1)));
    let seats = record(&world, in_match(&ann)).await.seats;
    let ids: std::collections::BTreeSet<_> = seats.iter().map(|seat| seat.typed_id().uuid()).collect();
    assert_eq!((seats.len(), ids.len()), (4, 4), "no seat is sold twice");
    assert_sound(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_searches_at_once_fills_lobbies_up_instead_of_making_one_each() {
    let world = world(12, 24).await;
    let searchers: Vec<_> = (0..16)
        .map(|number| {
            let (db, now_ms) = (world.db.clone(), world.now_ms());
            tokio::spawn(async move {
                let request = FindLobbyRequest {
                    fleet: FLEET.into(),
                    player: format!("p{number}"),
                    create: Some(LobbySpec::default()),
                    ..FindLobbyRequest::default()
                };
                lobbies::find(&db, NAMESPACE, &request, &Asker::default(), now_ms).await
            })
        })
        .collect();
    let mut players: BTreeMap<_, u32> = BTreeMap::new();
    for searcher in searchers {
        let ticket = searcher.await.expect("no panic").expect("found or made");
        *players.entry(in_match(&ticket).uuid()).or_default() += 1;
    }
    assert_eq!(players.values().sum::<u32>(), 16);
    assert!(players.values().all(|count| *count <= MAX_PLAYERS), "{players:?}");
    assert!(players.len() < 12, "most joined what others had made: {players:?}");
    assert_sound(&world).await;
}

#[tokio::test]
async fn the_game_changes_its_lobby_and_shuts_its_door() {
    let world = world(1, 4).await;
    let ann = make(&world, "ann", LobbySpec::default()).await.expect("made");
    let (key, server) = (key_of(&world, &ann).await, ann.server_id().expect("assigned"));
    let says = async |lobby: LobbyWish| {
        let said = ServerReport { lobby: Some(lobby), ..report(&server.to_string(), ServerPhase::Ready) };
        world.report(world.node(0), &said).await;
    };
    let shut = LobbyWish { open: Some(false), config: Some("{\"round\":2}".into()), ..Default::default() };
    says(shut.clone()).await;
    let generation = world.server(server).await.generation;
    says(shut).await;
    assert_eq!(world.server(server).await.generation, generation, "said again, it is no news");
    let told = world.desired(world.node(0)).await.servers.remove(0).allocation.expect("claimed");
    let told = told.lobby.expect("a lobby");
    assert_eq!((told.open, told.config.as_str(), told.max_players), (false, "{\"round\":2}", MAX_PLAYERS));
    assert!(matches!(join(&world, &key, "bob", &[]).await, Err(LobbyError::Closed(_))));
    assert_eq!(find(&world, "bob", |_| ()).await, Err(LobbyError::NoneFits(FLEET.into())));
    says(LobbyWish { open: Some(true), public: Some(false), ..Default::default() }).await;
    assert_eq!(listed(&world, Search::default()).await, [], "it is private now");
    join(&world, &key, "bob", &[]).await.expect("it is open again");
    assert_sound(&world).await;

    // Told to finish, it takes nobody, and it is over with its server.
    says(LobbyWish { public: Some(true), ..Default::default() }).await;
    assert_eq!(listed(&world, Search { open: true, ..Search::default() }).await.len(), 1);
    let now_ms = world.now_ms();
    lifecycle::stop_server(&world.db, NAMESPACE, server, "operator", false, now_ms).await.expect("told");
    assert_eq!(listed(&world, Search { open: true, ..Search::default() }).await, []);
    assert!(matches!(join(&world, &key, "cat", &[]).await, Err(LobbyError::Closed(_))));
    lifecycle::stop_server(&world.db, NAMESPACE, server, "operator", true, now_ms).await.expect("told");
    world.settle().await;
    assert_eq!(join(&world, &key, "cat", &[]).await, Err(LobbyError::Unknown(key.clone())));
    assert_sound(&world).await;
}

#[tokio::test]
async fn a_server_is_joined_by_its_id_while_it_has_room() {
    let world = world(2, 4).await;
    let all = world.servers_in(ServerState::Ready).await;
    let [first, second] = [all[0].typed_id(), all[1].typed_id()];
    let join = async |server, player: &str, with: &[&str]| {
        let request = JoinRequest { party: party(with), ..JoinRequest::new(player) };
        lobbies::join_server(&world.db, NAMESPACE, server, &request, &Asker::default(), world.now_ms()).await
    };
    let ann = join(first, "ann", &[]).await.expect("a ready one is claimed");
    let bob = join(first, "bob", &["cat"]).await.expect("of a running one free seats are taken");
    assert_eq!((ann.match_id(), ann.server_id()), (bob.match_id(), Some(first)));
    assert_eq!(record(&world, in_match(&ann)).await.lobby, None);
    let full = LobbyError::Full { wanted: 2, free: 1, most: MAX_PLAYERS };
    assert_eq!(join(first, "dan", &["eve"]).await, Err(full));
    leave(&world, &bob).await;
    join(first, "dan", &["eve"]).await.expect("there is room again");
    assert_eq!(join(first, "dan", &["eve"]).await, Err(LobbyError::Held("dan".into())));
    let request = JoinRequest { party: party(&["eve"]), ..JoinRequest::new("dan") };
    let backend = Asker::backend();
    let back = lobbies::join_server(&world.db, NAMESPACE, first, &request, &backend, world.now_ms());
    assert_eq!(back.await.expect("they are in").server_id(), Some(first));

    // One that a studio claimed is joined, too; one whose match a queue made is not.
    let host = ["host".to_owned()];
    let claimed = allocate::allocate(&world.db, NAMESPACE, FLEET, &[], &host, "", world.now_ms());
    assert_eq!(claimed.await.expect("claimed").server.typed_id(), second);
    join(second, "fay", &[]).await.expect("joined");
    world.settle().await;
    world.apply_queue(1).await;
    let ticket = world.ticket("gil").await;
    let mut matchmaker =
        crate::matchmaking::Matchmaker::new(world.db.clone(), NAMESPACE.into(), crate::world::QUEUE.into());
    matchmaker.pass(world.now_ms()).await.expect("a pass");
    let queued = world.see(ticket).await.record.server_id().expect("assigned");
    let refused = join(queued, "hal", &[]).await.expect_err("its rules are the queue's");
    assert!(refused.to_string().contains("made by queue duel"), "{refused}");
    let now_ms = world.now_ms();
    lifecycle::stop_server(&world.db, NAMESPACE, first, "operator", true, now_ms).await.expect("told");
    assert!(matches!(join(first, "ivy", &[]).await, Err(LobbyError::ServerState { .. })));
    assert_sound(&world).await;
}

#[tokio::test]
async fn what_a_fleet_does_not_allow_is_refused_with_the_way_out() {
    let world = world(1, 4).await;
    let of = async |fleet: &str, lobby: LobbySpec, regions: &[&str]| {
        let regions = regions.iter().map(|region| (*region).to_owned()).collect();
        let request = LobbyRequest {
            fleet: fleet.into(),
            player: "ann".into(),
            regions,
            lobby,
            ..LobbyRequest::default()
        };
        let made = lobbies::create(&world.db, NAMESPACE, &request, &Asker::default(), world.now_ms()).await;
        made.expect_err("refused").to_string()
    };
    assert!(of("none", LobbySpec::default(), &[]).await.contains("apply it first"));
    let large = LobbySpec { max_players: Some(MAX_PLAYERS + 1), ..LobbySpec::default() };
    assert!(of(FLEET, large, &[]).await.contains("5 players are more than the 4 that fleet arena allows"));
    assert!(of(FLEET, LobbySpec::default(), &["mars"]).await.contains("not in region mars"));
    let plain = world.db.run("plain", async |mut tx| {
        let before = crate::state::fleets::load(&mut tx, NAMESPACE, FLEET).await?.expect("there");
        let plain = crate::records::FleetRecord { lobbies: false, direct_connect: false, ..before };
        crate::state::fleets::apply(&mut tx, plain, world.now_ms()).await
    });
    plain.await.expect("applied");
    world.settle().await;
    assert!(of(FLEET, LobbySpec::default(), &[]).await.contains("set lobbies = true"));
    let server = world.servers_in(ServerState::Ready).await[0].typed_id();
    assert_eq!(world.servers().await.len(), 1, "a change of what players may do replaces no server");
    let request = JoinRequest::new("ann");
    let joined =
        lobbies::join_server(&world.db, NAMESPACE, server, &request, &Asker::default(), world.now_ms()).await;
    assert_eq!(joined, Err(LobbyError::NoDirectConnect(FLEET.into())));
    let untouched = world.db.read("server", async |mut tx| servers::peek(&mut tx, server).await).await;
    assert_eq!(untouched.expect("read").map(|record| record.state()), Some(ServerState::Ready));
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_the_same_ticket() {
    let world = world(2, 4).await;
    let request = LobbyRequest {
        fleet: FLEET.into(),
        player: "ann".into(),
        idempotency_key: Some("4711".into()),
        ..LobbyRequest::default()
    };
    let ask = async |hash: u8| {
        let asker = Asker::of_request(hash);
        lobbies::create(&world.db, NAMESPACE, &request, &asker, world.now_ms()).await
    };
    let made = ask(1).await.expect("made");
    assert_eq!(ask(1).await.as_ref().map(TicketRecord::typed_id), Ok(made.typed_id()));
    assert_eq!(ask(2).await, Err(LobbyError::KeyUsed("4711".into())));
    assert_eq!(listed(&world, Search::default()).await.len(), 1);
    assert_sound(&world).await;
}
