//! UDP through the edge.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use muster_edge_proxy::{Config, start};
use muster_protocol::agent::PortProtocol::Udp;
use muster_protocol::beacon;
use muster_protocol::edge::TokenMode::{Claim, Open, Preface};
use muster_protocol::edge::{DropCount, EdgeLimits, Route, RouteTable};
use muster_protocol::flow::FlowId;
use muster_protocol::id::{NodeId, SeatId, ServerId};
use muster_protocol::preface::{Answer, Refusal, decode_answer, encode_claim, encode_preface};
use muster_protocol::tunnel::{Fragment, Header, OpenTarget};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::agent::Agent;
use crate::authority::unix_ms;
use crate::world::{DEADLINE, World, address_of, loopback, within};

/// A player's socket. Not connected, so that a reply from anywhere else would show.
pub(crate) struct Player {
    socket: UdpSocket,
    edge: SocketAddr,
}

impl Player {
    pub(crate) async fn new(edge: SocketAddr) -> Self {
        Self::at([127, 0, 0, 1], edge).await
    }

    pub(crate) async fn at(ip: [u8; 4], edge: SocketAddr) -> Self {
        Self { socket: UdpSocket::bind(SocketAddr::from((ip, 0))).await.unwrap(), edge }
    }

    /// Where its packets come from.
    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    pub(crate) async fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.edge).await.unwrap();
    }

    /// The next packet, which must be from the port that was written to.
    pub(crate) async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let (length, from) =
            timeout(DEADLINE, self.socket.recv_from(&mut buffer)).await.expect("a packet").unwrap();
        assert_eq!(from, self.edge, "replies come from where the player wrote to");
        buffer.truncate(length);
        buffer
    }

    /// Sends until the echo comes, as a player does while a tunnel comes up. Echoes of earlier tries may follow.
    pub(crate) async fn until_echoed(&self, packet: &[u8]) {
        let mut buffer = vec![0; 65_536];
        for _ in 0..DEADLINE.as_millis() / 50 {
            self.send(packet).await;
            let heard = timeout(Duration::from_millis(50), self.socket.recv_from(&mut buffer)).await;
            if let Ok(Ok((length, _))) = heard
                && &buffer[..length] == packet
            {
                return;
            }
        }
        panic!("no echo within {} s", DEADLINE.as_secs());
    }

    /// Takes what is there, until an echo of `mark` is.
    pub(crate) async fn drain(&self, mark: &[u8]) {
        self.send(mark).await;
        while self.receive().await != mark {}
    }

    pub(crate) async fn ask(&self, token: &str) -> Answer {
        self.prove(&encode_preface(token)).await
    }

    pub(crate) async fn prove(&self, proof: &[u8]) -> Answer {
        self.send(proof).await;
        let answer = self.receive().await;
        assert!(answer.len() <= proof.len(), "an answer is no longer than what it answers");
        decode_answer(&answer).expect("an answer")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_port_carries_packets_both_ways() {
    let world = World::new().await;
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"hello").await;
    player.drain(b"mark").await;
    for packet in [&b""[..], b"x", &[7; 1_100], &[8; 1_200], &[9; 1_500]] {
        player.send(packet).await;
        assert_eq!(player.receive().await, packet);
    }
    let opens = world.agent.opens();
    let target = OpenTarget { server: world.server, port_index: 2, client: Some(player.address()) };
    assert!(opens.iter().all(|(_, to)| *to == target), "{opens:?}");
    assert_eq!(world.agent.packets().len(), 1, "one client is one flow");
    within("a report of the traffic", || async {
        let report = world.orchestrator.report().unwrap_or_default();
        report.servers.first().is_some_and(|server| {
            server.server_id == world.server.to_string()
                && server.flows == 1
                && server.packets_to_server >= 7
                && server.bytes_to_clients >= 3_800
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orchestrator_hears_of_drops_and_tunnels() {
    let world = World::new().await;
    let token = world.authority.token(world.server, "game", SeatId::new());
    let player = Player::new(world.serve(Udp, Preface).await).await;
    player.send(b"let me in").await;
    within("a report of the drop", || async {
        let report = world.orchestrator.report().unwrap_or_default();
        report.drops.iter().any(|drops| drops.reason == "unproven" && drops.count == 1)
            && report.servers.iter().all(|server| server.drops == report.drops)
    })
    .await;
    assert_eq!(player.ask(&token).await, Answer::Accepted);
    player.until_echoed(b"hello").await;
    within("a report of the tunnel", || async {
        let report = world.orchestrator.report().unwrap_or_default();
        report.added_p50_us > 0
            && report.tunnels.iter().any(|tunnel| {
                tunnel.node_id == world.agent.node.to_string()
                    && tunnel.rtt_us > 0
                    // Loopback carries jumbo frames.
                    && tunnel.mtu > 6_000
                    && tunnel.packets_sent > 0
                    // All that was given to the tunnel was sent.
                    && tunnel.datagrams_dropped == 0
                    && tunnel.added_p99_us >= tunnel.added_p50_us
                    && tunnel.added_p50_us > 0
            })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_on_the_way_back_is_told_of_its_server_where_that_is_known() {
    let world = World::new().await;
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"hello").await;
    let flow = *world.agent.packets().keys().next().unwrap();
    let target = OpenTarget { server: world.server, port_index: 2, client: None };
    // What only edges say; a packet whose rest never comes; and a packet of nobody's.
    world.agent.say(Header::Data { flow, open: Some(target), fragment: None }, b"");
    let part = Fragment { packet: 1, index: 0, count: 2 };
    world.agent.say(Header::Data { flow, open: None, fragment: Some(part) }, b"half");
    world.agent.say(Header::Data { flow: FlowId(!flow.0), open: None, fragment: None }, b"");
    let count = |drops: &[DropCount], reason: &str| {
        drops.iter().find(|drops| drops.reason == reason).map_or(0, |drops| drops.count)
    };
    within("a report of the drops", || async {
        let report = world.orchestrator.report().unwrap_or_default();
        let [server] = &report.servers[..] else { return false };
        ["tunnel_malformed", "parts_missing", "unknown_flow"].map(|reason| count(&report.drops, reason))
            == [1; 3]
            && ["tunnel_malformed", "parts_missing"].map(|reason| count(&server.drops, reason)) == [1; 2]
            && count(&server.drops, "unknown_flow") == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_packets_pass_in_parts() {
    let world = World::new().await;
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"hello").await;
    player.drain(b"mark").await;
    for length in [2_000, 9_000, 60_000, 65_507] {
        let packet: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
        player.send(&packet).await;
        assert_eq!(player.receive().await, packet, "{length} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_forwarded_or_said_before_a_proof() {
    let world = World::new().await;
    let edge = world.serve(Udp, Preface).await;
    let player = Player::new(edge).await;
    for packet in [&b""[..], b"hello", b"MSTR", b"MSTR\x01\x01", &[0; 1_400], &[b'M'; 3_000]] {
        player.send(packet).await;
    }
    let seat = SeatId::new();
    let refused = [
        ("v4.public.nonsense".to_owned(), Refusal::Malformed),
        (crate::authority::Authority::new().token(world.server, "game", seat), Refusal::Untrusted),
        (world.authority.token_until(world.server, "game", seat, unix_ms() - 1_000), Refusal::Expired),
        (world.authority.token(ServerId::new(), "game", seat), Refusal::WrongPort),
        (world.authority.token(world.server, "voice", seat), Refusal::WrongPort),
    ];
    for (token, refusal) in refused {
        // The first thing heard is the answer to this: the packets before it were answered by nothing.
        assert_eq!(player.ask(&token).await, Answer::Refused(refusal));
    }
    player.send(b"still not").await;
    assert_eq!(player.ask(&world.authority.token(world.server, "game", seat)).await, Answer::Accepted);
    player.until_echoed(b"now").await;
    let packets: Vec<_> = world.agent.packets().into_values().collect();
    assert_eq!(packets.len(), 1);
    assert!(packets[0].iter().all(|packet| &packet[..] == b"now"), "{packets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_from_another_socket_lets_the_games_own_in() {
    let world = World::new().await;
    let edge = world.serve(Udp, Claim).await;
    let (proving, playing) = (Player::new(edge).await, Player::new(edge).await);
    playing.send(b"too early").await;
    let token = world.authority.token(world.server, "game", SeatId::new());
    assert_eq!(proving.prove(&encode_claim(&token)).await, Answer::Accepted);
    playing.until_echoed(b"now").await;
    proving.send(b"not this one").await;
    playing.until_echoed(b"again").await;
    let heard: HashSet<_> = world.agent.packets().into_values().flatten().collect();
    assert_eq!(heard, HashSet::from([b"now".as_slice().into(), b"again".as_slice().into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_preface_from_a_new_address_moves_the_flow() {
    let world = World::new().await;
    let edge = world.serve(Udp, Preface).await;
    let token = world.authority.token(world.server, "game", SeatId::new());
    let (before, after) = (Player::new(edge).await, Player::new(edge).await);
    assert_eq!(before.ask(&token).await, Answer::Accepted);
    before.until_echoed(b"one").await;
    assert_eq!(after.ask(&token).await, Answer::Accepted);
    before.send(b"from the old address").await;
    after.until_echoed(b"two").await;
    let packets = world.agent.packets();
    assert_eq!(packets.len(), 1, "the server sees one peer");
    let heard: HashSet<_> = packets.into_values().flatten().collect();
    assert_eq!(heard, HashSet::from([b"one".as_slice().into(), b"two".as_slice().into()]));
    after.drain(b"mark").await;
    assert_eq!(
        after.ask(&token).await,
        Answer::Accepted,
        "a preface on a flow that stands is answered again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_are_never_mixed() {
    const CLIENTS: usize = 200;
    const PACKETS: usize = 20;
    let world = World::new().await;
    let edge = world.serve(Udp, Open).await;
    Player::new(edge).await.until_echoed(b"warm").await;
    let mut playing = Vec::new();
    for client in 0..CLIENTS {
        let player = Player::new(edge).await;
        playing.push(tokio::spawn(async move {
            for number in 0..PACKETS {
                let packet = format!("client {client} packet {number}").into_bytes();
                player.send(&packet).await;
                assert_eq!(player.receive().await, packet);
            }
        }));
    }
    for one in playing {
        one.await.unwrap();
    }
    let packets = world.agent.packets();
    assert_eq!(packets.len(), CLIENTS + 1);
    for packets in packets.values() {
        let clients: HashSet<_> =
            packets.iter().map(|packet| packet.split(|b| *b == b'p').next().unwrap()).collect();
        assert_eq!(clients.len(), 1, "one flow is one client's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_forgot_its_flows_is_told_again() {
    let world = World::new().await;
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"before").await;
    player.drain(b"mark").await;
    let opens = world.agent.opens().len();
    player.send(b"short header by now").await;
    player.receive().await;
    assert_eq!(world.agent.opens().len(), opens, "OPENED was heard, so OPEN is no longer said");
    world.agent.forget_flows();
    player.until_echoed(b"after").await;
    assert_eq!(world.agent.packets().len(), 1, "it is the same flow");
    assert!(world.agent.opens().len() > opens);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_is_found_again() {
    let mut world = World::new().await;
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"before").await;
    let flow = world.agent.packets().into_keys().next().unwrap();
    let (node, address) = world.agent.kill().await;
    world.agent = Agent::start(&world.authority, node, address);
    player.until_echoed(b"after").await;
    assert_eq!(world.agent.packets().into_keys().collect::<Vec<_>>(), [flow]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fell_silent_is_found_again() {
    let mut world = World::new().await;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mortal = {
        let _its_own = runtime.enter();
        Agent::start(&world.authority, NodeId::new(), loopback(0))
    };
    let (node, address) = (mortal.node, mortal.address);
    let spare = std::mem::replace(&mut world.agent, mortal);
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"before").await;
    // Without its runtime it says no farewell.
    runtime.shutdown_background();
    drop(std::mem::replace(&mut world.agent, spare));
    within("the agent's port to be free", || async { std::net::UdpSocket::bind(address).is_ok() }).await;
    world.agent = Agent::start(&world.authority, node, address);
    player.until_echoed(b"after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_players_stay_with_it_however_many_workers_there_are() {
    let world = World::with(|config| config.udp_workers = 3).await;
    let routes: Vec<_> = (0..6)
        .map(|_| Route { server_id: ServerId::new().to_string(), ..world.route(Udp, Preface) })
        .collect();
    let table = RouteTable { revision: 1, full: true, routes: routes.clone(), remove: vec![] };
    assert_eq!(world.orchestrator.apply(table).await.failures, []);
    let mut players = Vec::new();
    for route in &routes {
        let player = Player::new(address_of(route)).await;
        let server = route.server_id.parse().unwrap();
        let token = world.authority.token(server, "game", SeatId::new());
        assert_eq!(player.ask(&token).await, Answer::Accepted);
        player.until_echoed(server.to_string().as_bytes()).await;
        players.push(player);
    }
    let flows = world.agent.packets().len();
    assert_eq!(flows, routes.len());
    // Fewer workers go on with all of them, and nobody has to say their token again.
    let left = world.what_a_kill_leaves();
    let config = Config { state_dir: left.path().to_owned(), udp_workers: 2, ..world.config.clone() };
    world.edge.shutdown().await;
    let edge = start(config).await.unwrap();
    for player in &players {
        player.until_echoed(b"after").await;
    }
    assert_eq!(world.agent.packets().len(), flows, "the servers see the same peers");
    edge.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn games_go_on_without_the_orchestrator_even_through_a_restart_of_the_edge() {
    let world = World::new().await;
    let edge = world.serve(Udp, Open).await;
    let player = Player::new(edge).await;
    player.until_echoed(b"with").await;
    let flow = world.agent.packets().into_keys().next().unwrap();
    world.orchestrator.kill().await;
    player.until_echoed(b"without").await;
    world.edge.shutdown().await;
    let edge = start(world.config.clone()).await.unwrap();
    player.until_echoed(b"restarted").await;
    assert_eq!(
        world.agent.packets().into_keys().collect::<Vec<_>>(),
        [flow],
        "the server sees the same peer"
    );
    edge.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_edge_knows_its_proven_players_without_another_proof() {
    let world = World::new().await;
    let edge = world.serve(Udp, Preface).await;
    let (player, stranger) = (Player::new(edge).await, Player::new(edge).await);
    let token = world.authority.token(world.server, "game", SeatId::new());
    assert_eq!(player.ask(&token).await, Answer::Accepted);
    // What a kill would leave at the moment at which the player has heard that its flow stands.
    let left = world.what_a_kill_leaves();
    player.until_echoed(b"before").await;
    let flow = world.agent.packets().into_keys().next().unwrap();
    world.orchestrator.kill().await;
    world.edge.shutdown().await;
    let edge = start(Config { state_dir: left.path().to_owned(), ..world.config.clone() }).await.unwrap();
    stranger.send(b"not proven").await;
    player.until_echoed(b"after").await;
    let packets = world.agent.packets();
    assert_eq!(packets.keys().collect::<Vec<_>>(), [&flow], "the server sees the same peer, and nobody else");
    edge.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_flow_is_closed_at_the_agent() {
    let world = World::with(|config| config.udp_idle_timeout_s = 1).await;
    let player = Player::new(world.serve(Udp, Open).await).await;
    player.until_echoed(b"hello").await;
    let flow = world.agent.packets().into_keys().next().unwrap();
    within("the flow to be closed", || async { world.agent.closed().contains(&flow) }).await;
    player.until_echoed(b"back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beacon_echoes_and_never_says_more_than_it_heard() {
    let world = World::new().await;
    let player = Player::new(world.edge.beacon_address()).await;
    for junk in [&b""[..], b"MSTB", b"MSTB\x01abc", b"MSTB\x02abcd", b"hello there", &[b'M'; 1_400]] {
        player.send(junk).await;
    }
    let request = beacon::encode_request(b"nonce-01");
    player.send(&request).await;
    let answer = player.receive().await;
    assert_eq!(
        beacon::decode_answer(&answer),
        Some(&b"nonce-01"[..]),
        "junk before it was answered by nothing"
    );
    assert_eq!(answer.len(), request.len());
    within("a report of the junk", || async {
        let report = world.orchestrator.report().unwrap_or_default();
        report.drops == [DropCount { reason: "beacon_malformed".into(), count: 6 }]
    })
    .await;
    assert_eq!(world.orchestrator.hello().await.beacon_port, u32::from(world.edge.beacon_address().port()));
}

/// Whether a packet of `one` comes back, as one that `other` sends after it does.
async fn comes_back(one: &Player, other: &Player, packet: &[u8]) -> bool {
    one.send(packet).await;
    other.send(packet).await;
    other.receive().await;
    let mut buffer = [0; 64];
    one.socket.try_recv_from(&mut buffer).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_without_a_restart_and_outlive_one() {
    let world = World::new().await;
    let edge = world.serve(Udp, Open).await;
    let (one, other) = (Player::at([127, 0, 0, 2], edge).await, Player::new(edge).await);
    other.until_echoed(b"warm").await;
    one.until_echoed(b"before").await;
    other.drain(b"mark").await;
    one.drain(b"mark").await;
    let denied = EdgeLimits { deny: vec!["127.0.0.2".into()], ..Default::default() };
    world.orchestrator.limit(denied.clone());
    within("it to be denied", || async { !comes_back(&one, &other, b"x").await }).await;
    world.orchestrator.limit(EdgeLimits::default());
    within("it to be let in again", || async { comes_back(&one, &other, b"y").await }).await;
    world.orchestrator.limit(denied);
    within("it to be denied again", || async { !comes_back(&one, &other, b"z").await }).await;
    world.orchestrator.kill().await;
    world.edge.shutdown().await;
    let restarted = start(world.config.clone()).await.unwrap();
    let beacon = restarted.beacon_address();
    let (one, other) = (Player::at([127, 0, 0, 2], beacon).await, Player::new(beacon).await);
    assert!(!comes_back(&one, &other, &beacon::encode_request(b"nonce-01")).await);
    restarted.shutdown().await;
}
