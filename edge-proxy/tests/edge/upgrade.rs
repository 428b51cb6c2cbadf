//! Planned upgrades: the next edge takes over from one that runs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use bytes::BytesMut;
use muster_edge_proxy::{Config, Edge, HandoverError, StartError, start};
use muster_protocol::agent::PortProtocol::{Tcp, Udp};
use muster_protocol::edge::TokenMode::{Claim, Open, Preface};
use muster_protocol::edge::{Route, RouteTable};
use muster_protocol::framing;
use muster_protocol::handover::{FromNext, Serving, Take, from_next::Body};
use muster_protocol::id::{SeatId, ServerId};
use muster_protocol::preface::{Answer, encode_claim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::udp::Player;
use crate::world::{DEADLINE, World, address_of, loopback, within};

/// Idle time of flows in these tests: for so long an edge that was taken over goes on at least.
const IDLE_S: u32 = 2;
/// Pause between two packets of a player who counts them.
const PACE: Duration = Duration::from_millis(2);

async fn world() -> World {
    World::with(|config| config.udp_idle_timeout_s = IDLE_S).await
}

/// Starts an edge in the place of the world's, and waits until that one has let go.
async fn upgrade(world: &mut World) -> Edge {
    let config = world.config.clone();
    upgrade_to(world, config).await
}

/// As [`upgrade`], by an edge of `config`.
async fn upgrade_to(world: &mut World, config: Config) -> Edge {
    let config = Config { take_over: true, ..config };
    let both = async { tokio::join!(world.edge.handed_over(), start(config)) };
    let ((), next) = timeout(DEADLINE, both).await.expect("it is handed over in time");
    next.expect("the next edge starts")
}

/// Sends numbered packets until told to stop, and hears their echoes; those that never came.
async fn count_losses(player: &Player, mut stop: watch::Receiver<bool>) -> BTreeSet<u32> {
    let mut missing = BTreeSet::new();
    let mut number = 0_u32;
    while !*stop.borrow_and_update() {
        number += 1;
        player.send(&number.to_be_bytes()).await;
        missing.insert(number);
        let _ = timeout(PACE, async {
            loop {
                let echo = player.receive().await;
                missing.remove(&u32::from_be_bytes(echo.try_into().expect("an echo of ours")));
            }
        })
        .await;
    }
    let _ = timeout(DEADLINE, async {
        while !missing.is_empty() {
            let echo = player.receive().await;
            missing.remove(&u32::from_be_bytes(echo.try_into().expect("an echo of ours")));
        }
    })
    .await;
    missing
}

#[tokio::test(flavor = "multi_thread")]
async fn no_player_is_lost_and_no_packet_either() {
    let mut world = world().await;
    let routes = [(Udp, Open), (Udp, Preface), (Udp, Claim), (Tcp, Open)];
    let routes: Vec<_> = routes.into_iter().map(|(protocol, mode)| world.route(protocol, mode)).collect();
    let [open, preface, claim, tcp] = [0, 1, 2, 3].map(|at| address_of(&routes[at]));
    let table = RouteTable { revision: 1, full: true, routes, remove: vec![] };
    assert_eq!(world.orchestrator.apply(table).await.failures, []);

    let (anybody, proven) = (Player::new(open).await, Player::new(preface).await);
    let token = |seat| world.authority.token(world.server, "game", seat);
    assert_eq!(proven.ask(&token(SeatId::new())).await, Answer::Accepted);
    for player in [&anybody, &proven] {
        player.until_echoed(b"up!!").await;
        player.drain(b"mark").await;
    }
    let claimed = Player::new(claim).await;
    assert_eq!(claimed.prove(&encode_claim(&token(SeatId::new()))).await, Answer::Accepted);
    let mut connected = TcpStream::connect(tcp).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    let flows: BTreeSet<_> = world.agent.packets().into_keys().collect();

    let (stop, stopped) = watch::channel(false);
    let upgrading = async {
        let next = upgrade(&mut world).await;
        // Some more through the next one.
        tokio::time::sleep(50 * PACE).await;
        stop.send_replace(true);
        next
    };
    let (next, lost, lost_too) =
        tokio::join!(upgrading, count_losses(&anybody, stopped.clone()), count_losses(&proven, stopped));
    assert_eq!((lost.len(), lost_too.len()), (0, 0), "packets of players who did nothing");
    let game = Player::new(claim).await;
    game.send(b"first").await;
    assert_eq!(game.receive().await, b"first", "the claim holds");
    assert!(flows.is_subset(&world.agent.packets().into_keys().collect()), "the server sees the same peers");

    // What stands goes on where it was, and is reported; what comes is the next edge's.
    connected.write_all(b"still here").await.unwrap();
    assert_eq!(server.read(10).await, b"still here");
    let _newcomer = TcpStream::connect(tcp).await.unwrap();
    let _accepted = world.agent.asked().await.accept().await;
    let (orchestrator, mut edge) = (&world.orchestrator, world.edge);
    let flows =
        || orchestrator.report().map_or(0, |report| report.servers.iter().map(|s| s.flows).sum::<u32>());
    let leaving = async {
        // Three UDP flows, the connection that came, and the one that is at the edge before.
        within("all to be reported", || async { flows() == 5 }).await;
        server.send.write_all(b"goodbye").await.unwrap();
        server.send.finish().unwrap();
        let mut heard = Vec::new();
        connected.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"goodbye");
        drop(connected);
        assert_eq!(server.read_to_end().await, b"");
    };
    let players = [&anybody, &proven, &game];
    let ending = async {
        let drained = async { tokio::join!(edge.drain(), leaving) };
        timeout(DEADLINE, drained).await.expect("the edge before has nothing to do any more");
        edge.shutdown().await;
        within("the edge before to be forgotten", || async { flows() == 4 }).await;
    };
    tokio::select! {
        () = ending => {}
        () = play_on(&players) => {}
    }
    for player in players {
        player.until_echoed(b"alone").await;
    }
    next.shutdown().await;
}

/// Sends now and then for all of `players`, so that their flows live.
async fn play_on(players: &[&Player]) {
    loop {
        for player in players {
            player.send(b"on").await;
        }
        tokio::time::sleep(10 * PACE).await;
    }
}

/// Asks as an edge does, up to a point, and is gone.
async fn breaks_off(config: &Config, says: Vec<Body>, hears: usize) {
    let mut stream = UnixStream::connect(config.state_dir.join("upgrade.sock")).await.unwrap();
    for body in says {
        let mut bytes = BytesMut::new();
        framing::encode(&FromNext { body: Some(body) }, &mut bytes).unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
    let mut heard = vec![0; hears];
    stream.read_exact(&mut heard).await.unwrap();
}

/// A player who has proven themselves on a UDP port, and a TCP port of the same server.
async fn player_and_tcp_port(world: &World) -> (Player, SocketAddr) {
    let routes = vec![world.route(Udp, Preface), world.route(Tcp, Open)];
    let (udp, tcp) = (address_of(&routes[0]), address_of(&routes[1]));
    let table = RouteTable { revision: 1, full: true, routes, remove: vec![] };
    assert_eq!(world.orchestrator.apply(table).await.failures, []);
    let player = Player::new(udp).await;
    let token = world.authority.token(world.server, "game", SeatId::new());
    assert_eq!(player.ask(&token).await, Answer::Accepted);
    player.until_echoed(b"up").await;
    (player, tcp)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_breaks_off_changes_nothing() {
    let mut world = world().await;
    let (player, tcp) = player_and_tcp_port(&world).await;
    let config = world.config.clone();
    let take = || Body::Take(Take::default());
    {
        let (edge, agent) = (&mut world.edge, &mut world.agent);
        let breaking = async {
            within("the door to open", || async { config.state_dir.join("upgrade.sock").exists() }).await;
            // One that says nothing of the kind, one that goes in the middle, and one that speaks out of turn.
            breaks_off(&config, vec![Body::Serving(Serving {})], 0).await;
            breaks_off(&config, vec![take()], 4).await;
            breaks_off(&config, vec![take(), take()], 4).await;
            player.until_echoed(b"as if nothing were").await;
            let _client = TcpStream::connect(tcp).await.unwrap();
            agent.asked().await.accept().await;
        };
        tokio::select! {
            () = edge.handed_over() => panic!("nobody took over"),
            () = breaking => {}
        }
    }
    let next = upgrade(&mut world).await;
    player.until_echoed(b"at the next").await;
    world.edge.shutdown().await;
    player.until_echoed(b"alone").await;
    next.shutdown().await;
}

/// A player on each of some servers, as many as it takes for each worker to have some; all have proven themselves.
async fn players_of_many_servers(world: &World) -> Vec<Player> {
    let server = |_| Route { server_id: ServerId::new().to_string(), ..world.route(Udp, Preface) };
    let routes: Vec<_> = (0..12).map(server).collect();
    let table = RouteTable { revision: 1, full: true, routes: routes.clone(), remove: vec![] };
    assert_eq!(world.orchestrator.apply(table).await.failures, []);
    let mut players = Vec::new();
    for route in &routes {
        let player = Player::new(address_of(route)).await;
        let token = world.authority.token(route.server_id.parse().unwrap(), "game", SeatId::new());
        assert_eq!(player.ask(&token).await, Answer::Accepted);
        player.until_echoed(b"up").await;
        players.push(player);
    }
    players
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_workers_takes_over_and_can_be_killed() {
    for (before, after) in [(1, 3), (3, 2)] {
        let mut world = World::with(|config| config.udp_workers = before).await;
        let players = players_of_many_servers(&world).await;
        let config = Config { udp_workers: after, ..world.config.clone() };
        let next = upgrade_to(&mut world, config).await;
        let left = world.what_a_kill_leaves();
        for player in &players {
            player.until_echoed(b"at the next").await;
        }
        world.edge.shutdown().await;
        next.shutdown().await;
        let config = Config { state_dir: left.path().to_owned(), udp_workers: 1, ..world.config };
        let edge = start(config).await.unwrap();
        for player in &players {
            player.until_echoed(b"after a kill").await;
        }
        assert_eq!(world.agent.packets().len(), players.len(), "the servers see the same peers");
        edge.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_workers_that_breaks_off_costs_nobody_their_seat() {
    for (before, other) in [(1, 3), (3, 2)] {
        let mut world = World::with(|config| config.udp_workers = before).await;
        let mut players = players_of_many_servers(&world).await;
        let config = world.config.clone();
        // It comes as far as to have everything, and then cannot have a port of its own.
        let taken = std::net::UdpSocket::bind(loopback(0)).unwrap();
        let beacon_port = taken.local_addr().unwrap().port();
        let broken = Config { take_over: true, udp_workers: other, beacon_port, ..config.clone() };
        let breaking = async {
            within("the door to open", || async { config.state_dir.join("upgrade.sock").exists() }).await;
            let error = start(broken).await.err().expect("its beacon has no port");
            assert!(matches!(error, StartError::Beacon(_)), "{error}");
            for player in &players {
                player.until_echoed(b"as if nothing were").await;
            }
        };
        tokio::select! {
            () = world.edge.handed_over() => panic!("nobody took over"),
            () = breaking => {}
        }
        // Whoever comes after that is kept, too.
        let route = world.route(Udp, Preface);
        let (port, routes) = (address_of(&route), vec![route]);
        let table = RouteTable { revision: 2, full: false, routes, remove: vec![] };
        assert_eq!(world.orchestrator.apply(table).await.failures, []);
        let newcomer = Player::new(port).await;
        let token = world.authority.token(world.server, "game", SeatId::new());
        assert_eq!(newcomer.ask(&token).await, Answer::Accepted);
        let left = world.what_a_kill_leaves();
        newcomer.until_echoed(b"up").await;
        players.push(newcomer);
        world.edge.shutdown().await;
        let edge = start(Config { state_dir: left.path().to_owned(), ..config }).await.unwrap();
        for player in &players {
            player.until_echoed(b"after a kill").await;
        }
        assert_eq!(world.agent.packets().len(), players.len(), "the servers see the same peers");
        edge.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_edge_before_it_starts_as_any() {
    let world = world().await;
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"before").await;
    world.edge.shutdown().await;
    // What an edge that was killed leaves.
    drop(UnixListener::bind(world.config.state_dir.join("upgrade.sock")).unwrap());
    let edge = start(Config { take_over: true, ..world.config.clone() }).await.unwrap();
    player.until_echoed(b"after").await;
    edge.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_at_the_door_is_told() {
    let world = world().await;
    let _somebody = UnixListener::bind(world.config.state_dir.join("upgrade.sock")).unwrap();
    let error = start(Config { take_over: true, beacon_port: 0, ..world.config.clone() }).await.err();
    let error = error.expect("it hands nothing over");
    assert!(matches!(error, StartError::Handover(_)), "{error}");
    world.edge.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_next_edge_dies_its_ports_are_free_while_the_one_before_drains() {
    // It has nothing to do for long, but for one connection.
    let mut world = World::with(|config| config.udp_idle_timeout_s = 600).await;
    let (player, tcp) = player_and_tcp_port(&world).await;
    let mut connected = TcpStream::connect(tcp).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    let beacon_port = world.edge.beacon_address().port();
    let config = Config { beacon_port, ..world.config.clone() };
    let next = upgrade_to(&mut world, config.clone()).await;
    player.until_echoed(b"at the next").await;
    let flows = world.agent.packets().len();

    let mut before = world.edge;
    let draining = tokio::spawn(async move {
        before.drain().await;
        before
    });
    next.shutdown().await;
    let again = async {
        loop {
            match start(config.clone()).await {
                Ok(edge) => return edge,
                // The one before has just let go of it.
                Err(StartError::Beacon(_)) => tokio::time::sleep(PACE).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let again = timeout(DEADLINE, again).await.expect("another starts in the same place");
    player.until_echoed(b"at the one after").await;
    assert_eq!(world.agent.packets().len(), flows, "the server sees the same peer");
    connected.write_all(b"still here").await.unwrap();
    assert_eq!(server.read(10).await, b"still here");
    drop((connected, server));
    let before = timeout(DEADLINE, draining).await.expect("it has nothing to do any more").unwrap();
    before.shutdown().await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_edges_do_not_run_in_one_place() {
    let world = world().await;
    let error = start(Config { beacon_port: 0, ..world.config.clone() }).await.err().expect("one is there");
    assert!(
        matches!(error, StartError::StateDir(_)) && error.to_string().contains("--take-over true"),
        "{error}"
    );
    world.edge.shutdown().await;
    start(world.config).await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_could_not_serve_all_players_does_not_take_over() {
    let mut world = world().await;
    let port = world.serve(Udp, Open).await;
    let player = Player::new(port).await;
    player.until_echoed(b"before").await;
    let config = world.config.clone();
    let narrower = Config { take_over: true, port_first: port.port() + 1, ..config.clone() };
    let refused = async {
        within("the door to open", || async { config.state_dir.join("upgrade.sock").exists() }).await;
        let error = start(narrower).await.err().expect("a player would be lost");
        assert!(matches!(error, StartError::Handover(HandoverError::Unserved(_))), "{error}");
        player.until_echoed(b"as if nothing were").await;
    };
    tokio::select! {
        () = world.edge.handed_over() => panic!("it took over"),
        () = refused => {}
    }
    world.edge.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_plays_through_the_edge_before_is_told_of_for_as_long_as_they_do() {
    let mut world = world().await;
    let tcp = world.serve(Tcp, Open).await;
    let connected = TcpStream::connect(tcp).await.unwrap();
    let server = world.agent.asked().await.accept().await;
    let next = upgrade(&mut world).await;
    let (orchestrator, mut before) = (&world.orchestrator, world.edge);
    let flows =
        || orchestrator.report().map_or(0, |report| report.servers.iter().map(|s| s.flows).sum::<u32>());
    let telling = async {
        within("the one connection to be reported", || async { flows() == 1 }).await;
        // Longer than it is between two reports.
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(flows(), 1, "it still stands");
        }
    };
    tokio::select! {
        () = before.drain() => panic!("a connection stands"),
        () = telling => {}
    }
    drop((connected, server));
    before.shutdown().await;
    next.shutdown().await;
}
