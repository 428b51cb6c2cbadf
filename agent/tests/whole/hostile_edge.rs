//! An edge that has a certificate and means harm: what it sends is dropped and counted, and other edges' players notice nothing.
//!
//! The tunnel's end is the agent's own; the game server is a socket of the test, so that nothing here needs Docker.

use std::time::Instant;

use bytes::Bytes;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{MAX_PACKET_BYTES, MAX_PARTIAL_PACKETS};
use muster_protocol::tunnel::{Fragment, Header, MAX_HEADER_BYTES, RefuseReason};
use muster_transport::Profile;

use crate::orchestrator::PATIENCE;
use crate::world::World;

/// Bytes of a part where all that there may be are more than a packet has.
const PART_BYTES: usize = 1_000;
/// How often such parts come to more than a packet: from each time on they are another packet's.
const TOO_LARGE: u64 = (u8::MAX as usize / (MAX_PACKET_BYTES / PART_BYTES + 1)) as u64;

/// Whether `datagram` is one that an edge may send.
fn is_an_edges(datagram: &Bytes) -> bool {
    matches!(Header::decode(&mut datagram.clone()), Ok(Header::Data { .. } | Header::Close(_)))
}

/// The header of a packet's part of a number and place, of so many.
fn part(flow: FlowId, packet: u16, (index, count): (u8, u8)) -> Header {
    Header::Data { flow, open: None, fragment: Some(Fragment { packet, index, count }) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_not_an_edges_to_say_changes_nothing() {
    let world = World::new().await;
    let (mut player, mut hostile) = (world.edge().await, world.edge().await);
    let (flow, own) = (FlowId(1), FlowId(2));
    player.echo(flow, Some(world.open), b"before").await;
    hostile.echo(own, Some(world.open), b"it has players too").await;

    let mut malformed = 0;
    // Each kind and flag there is and is not, cut at each length that a header can have.
    for kind in 0..=u8::MAX {
        for length in 0..=MAX_HEADER_BYTES {
            let id = if length % 2 == 0 { own } else { FlowId(999) };
            let bytes = [&[kind][..], &id.0.to_be_bytes(), &[kind; MAX_HEADER_BYTES]].concat();
            let datagram = Bytes::copy_from_slice(&bytes[..length]);
            malformed += u64::from(!is_an_edges(&datagram));
            hostile.connection.send_datagram_wait(datagram).await.expect("the agent stays connected");
        }
        // None is lost because too many are on their way.
        hostile.echo(own, Some(world.open), format!("{kind} has been read").as_bytes()).await;
    }
    // What only agents say.
    for header in
        [Header::Opened(flow), Header::Unknown(flow), Header::Refused(flow, RefuseReason::UnknownServer)]
    {
        hostile.datagram(header, b"");
        malformed += 1;
    }
    // Nor does an edge end a flow that another carries.
    hostile.datagram(Header::Close(flow), b"");
    hostile.echo(own, Some(world.open), b"all of it has been read").await;
    player.echo(flow, None, b"after").await;
    assert_eq!(world.dropped("malformed", malformed).await, malformed);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_never_become_packets_cost_no_other_edge_its_own() {
    let world = World::new().await;
    let (mut player, mut hostile) = (world.edge().await, world.edge().await);
    let (flow, own) = (FlowId(1), FlowId(2));
    player.echo(flow, Some(world.open), b"hello").await;
    hostile.echo(own, Some(world.open), b"hello").await;
    let began = Instant::now();
    for number in 0.. {
        player.datagram(part(flow, number, (0, 2)), b"first ");
        // More than are kept of one edge.
        for packet in 0..=MAX_PARTIAL_PACKETS {
            hostile.datagram(part(own, packet as u16, (0, 2)), b"never whole");
        }
        hostile.echo(own, None, b"all of it has been read").await;
        player.datagram(part(flow, number, (1, 2)), b"second");
        if player.packet(flow).await.as_deref() == Some(b"first second") {
            break;
        }
        // Parts wait for a second only, which a busy machine may need for this.
        assert!(began.elapsed() < PATIENCE, "the player's packet never came");
    }
    world.dropped("fragment", MAX_PARTIAL_PACKETS as u64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_contradictory_and_oversize_parts_are_no_packets() {
    let world = World::new().await;
    let mut edge = world.edge().await;
    let flow = FlowId(1);
    edge.echo(flow, Some(world.open), b"hello").await;
    let (began, mut heard) = (Instant::now(), Vec::new());
    for attempt in 0..u8::MAX {
        let number = |of: u16| u16::from(attempt) * 3 + of;
        // Each part twice, the second one first.
        for index in [1, 1, 0, 0] {
            edge.datagram(part(flow, number(0), (index, 2)), &[attempt, index]);
        }
        // A packet whose parts do not agree how many they are.
        edge.datagram(part(flow, number(1), (0, 2)), b"a");
        edge.datagram(part(flow, number(1), (1, 3)), b"b");
        edge.datagram(part(flow, number(1), (1, 2)), b"c");
        // More bytes than a packet can have.
        for index in 0..u8::MAX {
            edge.datagram(part(flow, number(2), (index, u8::MAX)), &[0; PART_BYTES]);
        }
        edge.datagram(Header::Data { flow, open: None, fragment: None }, b"end");
        while let Some(packet) = edge.packet(flow).await {
            if packet == b"end"[..] {
                break;
            }
            let of = packet[0];
            assert!(of <= attempt && packet[..] == [of, 0, of, 1], "{packet:?} was never sent");
            assert!(!heard.contains(&of), "a replay became a packet");
            heard.push(of);
        }
        if heard.contains(&attempt) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the packet that was replayed never came");
    }
    // The part that came twice, the one that contradicts, and each that was one too many.
    world.dropped("malformed", 1 + 1 + TOO_LARGE).await;
    // What they were of, and the replay of what had been whole.
    world.dropped("fragment", 1 + 1 + TOO_LARGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_a_stream_wrongly_ends_that_stream_alone() {
    let world = World::new().await;
    let connection = world.tunnel(world.config(Profile::TunnelStreams)).await;
    // A frame longer than any, one that is no message, and one that ends before it is whole.
    for bytes in [&[0xff_u8; 64][..], &[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 9, 1]] {
        let (mut send, mut receive) = connection.open_bi().await.expect("opens");
        send.write_all(bytes).await.expect("sends");
        send.finish().expect("open");
        let answer = tokio::time::timeout(PATIENCE, receive.read_to_end(64)).await.expect("ends in time");
        assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes.is_empty()), "{bytes:?} was answered");
    }
    assert!(connection.close_reason().is_none(), "the other streams go on");
}
