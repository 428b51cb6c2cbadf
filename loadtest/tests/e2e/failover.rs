//! One of two edges dies under a player: through the other one the player is, for the game server, the same peer.
//!
//! Edges, orchestrator and the agent's end of the tunnel are the real ones. The rest of the agent is stood in for, so that the
//! game server can be a socket of this test, which sees its peers' addresses; no container runs here.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_agent::TunnelAlone;
use muster_agent::reconcile::RoutePort;
use muster_loadtest::bench::stand_in;
use muster_loadtest::harness::ports;
use muster_loadtest::harness::stack::{REGION, Stack};
use muster_loadtest::harness::steps::Steps;
use muster_protocol::agent::PortProtocol::Udp;
use muster_protocol::api::{AllocateRequest, Endpoint};
use muster_protocol::preface::{Answer, decode_answer, encode_preface};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use crate::support::{FLEET, options};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Pause before a packet that was not answered is sent again, as a client does.
const AGAIN: Duration = Duration::from_millis(200);

/// A game server that sends every packet back, and the peers it has seen.
async fn game() -> (SocketAddr, Arc<Mutex<BTreeSet<SocketAddr>>>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let (address, peers) = (socket.local_addr().expect("bound"), Arc::default());
    let seen: Arc<Mutex<BTreeSet<SocketAddr>>> = Arc::clone(&peers);
    tokio::spawn(async move {
        let mut packet = vec![0; 2_048];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            seen.lock().expect("nobody panics with it").insert(from);
            // One that the system does not take is asked for again.
            let _ = socket.send_to(&packet[..length], from).await;
        }
    });
    (address, peers)
}

/// Sends `packet` to `edge` again and again, until an answer `is` what is waited for.
async fn ask(player: &UdpSocket, edge: &Endpoint, packet: &[u8], is: impl Fn(&[u8]) -> bool) {
    let (end, mut answer) = (Instant::now() + DEADLINE, vec![0; 2_048]);
    while Instant::now() < end {
        player.send_to(packet, (edge.host.as_str(), edge.port)).await.expect("sent");
        while let Ok(Ok((length, _))) = timeout(AGAIN, player.recv_from(&mut answer)).await {
            if is(&answer[..length]) {
                return;
            }
        }
    }
    panic!("no answer from port {} in time", edge.port);
}

/// Shows the seat's token at `edge`, and plays a move.
async fn play(player: &UdpSocket, edge: &Endpoint, packet: &[u8]) {
    let preface = encode_preface(edge.token.as_deref().expect("the port asks for one"));
    ask(player, edge, &preface, |answer| decode_answer(answer) == Some(Answer::Accepted)).await;
    ask(player, edge, packet, |answer| answer == packet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_sees_the_same_peer_through_another_edge() {
    let mut stack =
        Stack::start_orchestrator(options("failover"), &mut Steps::silent()).await.expect("starts");
    let tunnel = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_udp().expect("a port")));
    let (link, address) = (stack.link_address(), tunnel.to_string());
    let joined = stand_in::agent_with_tunnel(&stack.admin, &link, REGION, "node-1", &address);
    let (_node, identity) = joined.await.expect("the node joins");
    stack.start_edge().await.expect("the first edge starts");
    let mut second = stack.start_second_edge().await.expect("the second edge starts");

    stack.studio.create_build(&stand_in::build()).await.expect("a reference is taken as it is");
    stack.apply_fleet(&stand_in::fleet(FLEET, &[REGION], 1, 1)).await.expect("the fleet becomes warm");
    let players = vec!["ann".to_owned(), "bob".to_owned()];
    let request = AllocateRequest { regions: Vec::new(), players, data: None };
    let claimed = stack.studio.allocate(FLEET, &request).await.expect("claimed");
    let (game, peers) = game().await;
    let port = RoutePort { protocol: Udp, address: game };
    let tunnel = TunnelAlone::start(tunnel, identity, [(claimed.server_id, vec![port])]).expect("listens");
    let tunnel = tokio::spawn(tunnel.run());
    let peers = || peers.lock().expect("nobody panics with it").clone();

    let (mut sockets, mut endpoints) = (Vec::new(), Vec::new());
    for seat in claimed.seats {
        assert_eq!(seat.endpoints.len(), 2, "one at each edge: {:?}", seat.endpoints);
        let player = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        play(&player, &seat.endpoints[0], b"at the first").await;
        sockets.push(player);
        endpoints.push(seat.endpoints);
    }
    let before = peers();
    assert_eq!(before.len(), 2, "each player is a peer of its own");

    // The endpoints are of the edges in no order that is told here: the one that dies is the one they play at.
    let dies = stack.admin.edges(None).await.expect("listed").items;
    let first = dies.iter().find(|edge| edge.name == "edge-1").expect("it has joined");
    let at_first = (first.port_first..=first.port_last).contains(&endpoints[0][0].port);
    let victim = if at_first { stack.edge.as_mut().expect("it runs") } else { &mut second };
    victim.kill9().await.expect("killed");

    // One goes on from the socket it had, the other comes with a new one.
    sockets[1] = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    for (player, endpoints) in sockets.iter().zip(&endpoints) {
        play(player, &endpoints[1], b"at the second").await;
    }
    assert_eq!(peers(), before, "the server sees the peers that it had");

    // And back, once it runs again.
    victim.restart().expect("started again");
    for (player, endpoints) in sockets.iter().zip(&endpoints) {
        play(player, &endpoints[0], b"at the first again").await;
    }
    assert_eq!(peers(), before, "and still does");
    tunnel.abort();
}
