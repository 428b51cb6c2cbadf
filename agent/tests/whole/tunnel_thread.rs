//! The thread of players' packets: what leaves together, and what does not run on it.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::flow::FlowId;
use muster_protocol::fragment::MAX_PACKET_BYTES;
use muster_protocol::stream::stream_opened::Outcome;
use muster_protocol::tunnel::Header;
use muster_transport::Profile;
use quinn::ConnectionId;
use tokio::time::timeout;

use crate::orchestrator::PATIENCE;
use crate::tunnel::open_stream;
use crate::world::{TCP_PORT, World};

/// Flows that are answered at once.
const FLOWS: u64 = 64;
/// Of the QUIC packets that one for each answer would be, this part is to be enough.
const SHARED_BY: u64 = 4;
/// How long a game server that waits for a packet gives way to others.
const LOOK: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn answers_on_many_flows_at_once_share_quic_packets() {
    let game = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    game.set_read_timeout(Some(LOOK)).expect("can be set");
    let world = World::around(game.local_addr().expect("bound")).await;
    let edge = world.edge().await;
    let began = Instant::now();

    // The address of each flow, as the server sees it.
    let mut peers: HashMap<u64, SocketAddr> = HashMap::new();
    while peers.len() < FLOWS as usize {
        assert!(began.elapsed() < PATIENCE, "{} flows reached the server", peers.len());
        for flow in (0..FLOWS).filter(|flow| !peers.contains_key(flow)) {
            edge.send(FlowId(flow), Some(world.open), &flow.to_be_bytes());
        }
        peers.extend(tokio::task::block_in_place(|| whoever_speaks(&game)));
    }

    // The thread may have its turn between any two of the answers, but not always between all of them.
    loop {
        assert!(began.elapsed() < PATIENCE, "answers never shared packets");
        while edge.next().await.is_some() {}
        let before = edge.connection.stats().udp_rx.datagrams;
        for peer in peers.values() {
            game.send_to(b"the state of the world, as of this tick", peer).expect("sent");
        }
        let mut answered = 0;
        while answered < FLOWS
            && let Some((header, _)) = edge.next().await
        {
            answered += u64::from(matches!(header, Header::Data { .. }));
        }
        let packets = edge.connection.stats().udp_rx.datagrams - before;
        if answered == FLOWS && packets <= FLOWS / SHARED_BY {
            return;
        }
    }
}

/// What has come to the game server until nothing more does: each packet's number, and who sent it.
fn whoever_speaks(game: &UdpSocket) -> Vec<(u64, SocketAddr)> {
    let mut packet = [0; 8];
    std::iter::from_fn(|| {
        game.recv_from(&mut packet).ok().map(|(_, from)| (u64::from_be_bytes(packet), from))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chatty_servers_packets_all_come_whole_and_in_order() {
    let game = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    game.set_read_timeout(Some(LOOK)).expect("can be set");
    let world = World::around(game.local_addr().expect("bound")).await;
    let mut edge = world.edge().await;
    let (flow, began) = (FlowId(1), Instant::now());
    let peer = loop {
        assert!(began.elapsed() < PATIENCE, "the server heard nothing");
        edge.send(flow, Some(world.open), &[0; 8]);
        if let Some((_, peer)) = tokio::task::block_in_place(|| whoever_speaks(&game)).pop() {
            break peer;
        }
    };
    while edge.next().await.is_some() {}
    // More than one receive takes, an empty one and the largest among them.
    let sizes = (0..20).chain([MAX_PACKET_BYTES]).chain(1_090..1_110);
    let sent: Vec<Vec<u8>> = sizes.enumerate().map(|(index, size)| vec![index as u8; size]).collect();
    for packet in &sent {
        game.send_to(packet, peer).expect("sent");
    }
    for packet in &sent {
        let next = async {
            loop {
                if let Some(packet) = edge.packet(flow).await {
                    return packet;
                }
            }
        };
        let next = timeout(PATIENCE, next).await.expect("it was lost");
        assert!(next == packet[..], "{} bytes came instead of {}", next.len(), packet.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_and_packets_go_on_side_by_side() {
    let world = World::new().await;
    let mut edge = world.edge().await;
    let streams = world.tunnel(world.config(Profile::TunnelStreams)).await;
    let (outcome, writer, reader) = open_stream(&streams, &world.open.server.to_string(), TCP_PORT).await;
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    let (mut send, (mut receive, _)) = (writer.into_inner(), reader.into_inner());
    // As long as the test lasts, and without an end of its own.
    let upload = tokio::spawn(async move { while send.write_all(&vec![7; 64 * 1024]).await.is_ok() {} });
    let mut came = 0;
    for number in 0..50_u8 {
        edge.echo(FlowId(1), Some(world.open), &[number]).await;
        let chunk = timeout(PATIENCE, receive.read_chunk(usize::MAX, true)).await.expect("in time");
        came += chunk.expect("whole").expect("no end").bytes.len();
    }
    assert!(came > 0);
    upload.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_what_it_announces_and_streams_if_it_announces_nothing() {
    let world = World::new().await;
    let mut edge = world.edge().await;
    edge.echo(FlowId(1), Some(world.open), b"a packet").await;
    let opening = timeout(LOOK, edge.connection.open_bi()).await;
    assert!(opening.is_err(), "a connection of packets has no streams");

    // The shortest id there may be, without a mark; and the longest.
    let picked = |id: &'static [u8]| {
        let mut config = world.config(Profile::TunnelStreams);
        config.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(id)));
        config
    };
    for config in [world.config(Profile::TunnelStreams), picked(&[0; 8]), picked(&[0xff; 20])] {
        let connection = world.tunnel(config).await;
        assert_eq!(connection.max_datagram_size(), None, "a connection of streams has no packets");
        let server = world.open.server.to_string();
        let (outcome, writer, reader) = open_stream(&connection, &server, TCP_PORT).await;
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        let mut send = writer.into_inner();
        send.write_all(b"a stream").await.expect("sends");
        send.finish().expect("open");
        let mut receive = reader.into_inner().0;
        let back = timeout(PATIENCE, receive.read_to_end(64)).await.expect("in time").expect("whole");
        assert_eq!(back, b"a stream");
    }
}
