//! The operator's limits, on TCP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use muster_protocol::agent::PortProtocol::Tcp;
use muster_protocol::edge::TokenMode::{Open, Preface};
use muster_protocol::edge::{EdgeLimits, Rates};
use muster_protocol::id::SeatId;
use muster_protocol::preface::{Answer, Refusal, encode_answer, encode_tcp_preface};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tcp::{read_exactly, read_to_end};
use crate::world::{DEADLINE, World, connect_from, within};

/// Longer than a thing takes that is not held up. Where it is too short, a test sees less than there is, and passes.
const A_MOMENT: Duration = Duration::from_millis(200);

/// Whether `edge` closes connections from 127.0.0.2 at once.
async fn shows_out(edge: SocketAddr) -> bool {
    let mut knocking = connect_from([127, 0, 0, 2], edge).await;
    matches!(timeout(A_MOMENT, knocking.read_u8()).await, Ok(Err(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_more_than_their_limit_waits_and_loses_nothing() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Open).await;
    let mut client = TcpStream::connect(edge).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    // Denied is another, by whom it is seen that the limits have come.
    let a_byte_a_second = Some(Rates { bytes_per_s: 1, ..Default::default() });
    let deny = vec!["127.0.0.2".into()];
    world.orchestrator.limit(EdgeLimits { token: a_byte_a_second, deny, ..Default::default() });
    within("the limits to hold", || shows_out(edge)).await;
    let bulk: Vec<u8> = (0..300_000u32).map(|i| (i / 11) as u8).collect();
    let (mut heard, said) = (Vec::new(), bulk.clone());
    let sending = tokio::spawn(async move {
        client.write_all(&said).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    while let Ok(chunk) = timeout(A_MOMENT, server.receive.read_chunk(64 * 1024, true)).await {
        heard.extend_from_slice(&chunk.unwrap().expect("there is more").bytes);
    }
    assert!((1..=65_507).contains(&heard.len()), "{} bytes passed", heard.len());
    world.orchestrator.limit(EdgeLimits::default());
    heard.extend(server.read_to_end().await);
    assert!(heard == bulk, "{} bytes came of {}", heard.len(), bulk.len());
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_begins_no_more_connections_than_its_limit() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Preface).await;
    let one = Some(Rates { new_flows_per_s: 1, ..Default::default() });
    let deny = vec!["127.0.0.2".into()];
    world.orchestrator.limit(EdgeLimits { token: one, deny, ..Default::default() });
    within("the limits to hold", || shows_out(edge)).await;
    let preface =
        |world: &World, seat| encode_tcp_preface(&world.authority.token(world.server, "game", seat));
    let of_one_seat = preface(&world, SeatId::new());
    let end = Instant::now() + DEADLINE;
    let heard = loop {
        let mut client = TcpStream::connect(edge).await.unwrap();
        client.write_all(&of_one_seat).await.unwrap();
        tokio::select! {
            asked = world.agent.asked() => drop(asked.accept().await),
            heard = read_to_end(&mut client) => break heard,
        }
        assert!(Instant::now() < end, "nothing is limited");
    };
    assert_eq!(heard, encode_answer(Answer::Refused(Refusal::Unavailable)));
    world.counted("token_new_flows", 1).await;
    let mut client = TcpStream::connect(edge).await.unwrap();
    client.write_all(&preface(&world, SeatId::new())).await.unwrap();
    let _server = world.agent.asked().await.accept().await;
    let accepted = encode_answer(Answer::Accepted);
    assert_eq!(read_exactly(&mut client, accepted.len()).await, accepted, "another seat has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_denied_is_shown_out_and_nobody_else() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Open).await;
    let mut players = Vec::new();
    for last in [1, 2, 3] {
        let client = connect_from([127, 0, 0, last], edge).await;
        players.push((client, world.agent.asked().await.accept().await));
    }
    let [(mut stays, mut server), (mut denied, mut of_denied), (mut allowed, mut of_allowed)] =
        players.try_into().map_err(|_| "three").unwrap();
    let limits = |deny: &[&str], allow: &[&str]| EdgeLimits {
        deny: deny.iter().map(ToString::to_string).collect(),
        allow: allow.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    world.orchestrator.limit(limits(&["127.0.0.2/31"], &["127.0.0.3"]));
    assert!(timeout(DEADLINE, denied.read_u8()).await.expect("an end in time").is_err());
    assert!(of_denied.breaks().await);
    allowed.write_all(b"still here").await.unwrap();
    assert_eq!(of_allowed.read(10).await, b"still here");
    world.orchestrator.limit(limits(&["127.0.0.2/31"], &[]));
    assert!(timeout(DEADLINE, allowed.read_u8()).await.expect("an end in time").is_err());
    assert!(of_allowed.breaks().await);
    stays.write_all(b"still here").await.unwrap();
    assert_eq!(server.read(10).await, b"still here");
    world.counted("denied", 2).await;
}
