//! TCP through the edge.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use muster_protocol::agent::PortProtocol::Tcp;
use muster_protocol::edge::TokenMode::{Open, Preface};
use muster_protocol::id::SeatId;
use muster_protocol::preface::{Answer, Refusal, encode_answer, encode_tcp_preface};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{DEADLINE, World, connect_from, connect_tls};

pub(crate) async fn read_exactly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(DEADLINE, stream.read_exact(&mut bytes)).await.expect("bytes in time").unwrap();
    bytes
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an end in time").unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_end_leaves_the_servers_way_open() {
    let mut world = World::new().await;
    let mut client = TcpStream::connect(world.serve(Tcp, Open).await).await.unwrap();
    let asked = world.agent.asked().await;
    assert_eq!(asked.open.server_id, world.server.to_string());
    assert_eq!((asked.open.port_index, asked.open.seat_id.as_str()), (2, ""));
    assert_eq!(asked.open.client_address, client.local_addr().unwrap().to_string());
    let mut server = asked.accept().await;
    client.write_all(b"all I have to say").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(server.read_to_end().await, b"all I have to say");
    server.send.write_all(b"and the answer").await.unwrap();
    server.send.finish().unwrap();
    assert_eq!(read_to_end(&mut client).await, b"and the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_end_leaves_the_clients_way_open() {
    let mut world = World::new().await;
    let mut client = TcpStream::connect(world.serve(Tcp, Open).await).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    server.send.write_all(b"goodbye").await.unwrap();
    server.send.finish().unwrap();
    assert_eq!(read_to_end(&mut client).await, b"goodbye");
    client.write_all(b"one more thing").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(server.read_to_end().await, b"one more thing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_each_way_arrives_whole() {
    let mut world = World::new().await;
    let mut client = TcpStream::connect(world.serve(Tcp, Open).await).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    let bulk: Vec<u8> = (0..1_000_000u32).map(|i| (i / 11) as u8).collect();
    let echo = tokio::spawn(async move {
        let heard = server.read(1_000_000).await;
        server.send.write_all(&heard).await.unwrap();
        server.send.finish().unwrap();
        server.receive.read_to_end(0).await.unwrap();
    });
    client.write_all(&bulk).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, bulk);
    echo.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_passed_on_as_one() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Open).await;
    let mut client = TcpStream::connect(edge).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    client.write_all(b"half a mess").await.unwrap();
    assert_eq!(server.read(11).await, b"half a mess");
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert!(server.breaks().await);

    let mut client = TcpStream::connect(edge).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    server.send.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&mut client, 1).await, b"x");
    server.send.reset(7u32.into()).unwrap();
    let end = timeout(DEADLINE, client.read_u8()).await.expect("an end in time").unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_opens_the_seat_and_the_games_bytes_follow() {
    let mut world = World::new().await;
    let mut client = TcpStream::connect(world.serve(Tcp, Preface).await).await.unwrap();
    let seat = SeatId::new();
    let preface = encode_tcp_preface(&world.authority.token(world.server, "game", seat));
    // The game does not wait for the answer.
    client.write_all(&[&preface[..], b"hello"].concat()).await.unwrap();
    let asked = world.agent.asked().await;
    assert_eq!(asked.open.seat_id, seat.to_string());
    let mut server = asked.accept().await;
    assert_eq!(server.read(5).await, b"hello");
    let accepted = encode_answer(Answer::Accepted);
    assert_eq!(read_exactly(&mut client, accepted.len()).await, accepted);
    server.send.write_all(b"welcome").await.unwrap();
    assert_eq!(read_exactly(&mut client, 7).await, b"welcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_preface_is_refused_before_the_agent_hears_of_it() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Preface).await;
    let refusals = [
        (encode_tcp_preface("v4.public.nonsense"), encode_answer(Answer::Refused(Refusal::Malformed))),
        (
            encode_tcp_preface(&world.authority.token(world.server, "voice", SeatId::new())),
            encode_answer(Answer::Refused(Refusal::WrongPort)),
        ),
        (b"\x00\x0aGET / HTTP".to_vec(), vec![]),
        (b"\xff\xff".to_vec(), vec![]),
    ];
    for (said, heard) in refusals {
        let mut client = TcpStream::connect(edge).await.unwrap();
        client.write_all(&said).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, heard, "{said:?}");
    }
    // The first stream the agent is asked for is this one's.
    let mut client = TcpStream::connect(edge).await.unwrap();
    let seat = SeatId::new();
    let good = encode_tcp_preface(&world.authority.token(world.server, "game", seat));
    client.write_all(&good).await.unwrap();
    let asked = world.agent.asked().await;
    assert_eq!(asked.open.seat_id, seat.to_string());
    asked.refuse().await;
    assert_eq!(read_to_end(&mut client).await, encode_answer(Answer::Refused(Refusal::Unavailable)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_answers_nonsense_costs_those_it_answered_and_nobody_else() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Preface).await;
    let preface = encode_tcp_preface(&world.authority.token(world.server, "game", SeatId::new()));
    let unavailable = encode_answer(Answer::Refused(Refusal::Unavailable));
    // A frame longer than any, one that is no message, one that ends early, and none at all.
    let nonsense = [&[0xff; 64][..], &[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 9, 1], &[]];
    for said in nonsense {
        let mut client = TcpStream::connect(edge).await.unwrap();
        client.write_all(&preface).await.unwrap();
        world.agent.asked().await.babble(said).await;
        assert_eq!(read_to_end(&mut client).await, unavailable, "{said:?}");
    }
    world.counted("agent_unreachable", nonsense.len() as u64).await;
    let mut client = TcpStream::connect(edge).await.unwrap();
    client.write_all(&[&preface[..], b"hello"].concat()).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    assert_eq!(server.read(5).await, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_shown_out() {
    let world = World::new().await;
    let mut client = TcpStream::connect(world.serve(Tcp, Preface).await).await.unwrap();
    let begun = Instant::now();
    client.write_all(b"\x00").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, b"");
    assert!(begun.elapsed().as_secs() >= 4, "slow networks get their time");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_per_source_and_idle_ones_end() {
    let mut world = World::with(|config| {
        config.max_connections_per_address = 2;
        config.stream_idle_timeout_s = 1;
    })
    .await;
    let edge = world.serve(Tcp, Open).await;
    let mut first = TcpStream::connect(edge).await.unwrap();
    let _server = world.agent.asked().await.accept().await;
    let _second = TcpStream::connect(edge).await.unwrap();
    let _server = world.agent.asked().await.accept().await;
    let mut third = TcpStream::connect(edge).await.unwrap();
    let refused = timeout(DEADLINE, third.read_u8()).await.expect("an end in time");
    assert!(refused.is_err());
    let idle = timeout(DEADLINE, first.read_u8()).await.expect("an end in time");
    assert!(idle.is_err());
    let _fourth = TcpStream::connect(edge).await.unwrap();
    world.agent.asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_route_ends_its_connections() {
    let mut world = World::new().await;
    let mut client = TcpStream::connect(world.serve(Tcp, Open).await).await.unwrap();
    let _server = world.agent.asked().await.accept().await;
    let none = muster_protocol::edge::RouteTable { revision: 2, full: true, ..Default::default() };
    world.orchestrator.apply(none).await;
    assert!(timeout(DEADLINE, client.read_u8()).await.expect("an end in time").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_a_preface_opens_the_seat_and_the_server_is_told_the_players_address() {
    let mut world = World::new().await;
    let mut route = world.route(Tcp, Preface);
    (route.tls, route.proxy_protocol) = (true, true);
    let edge = world.serve_route(route).await;
    let mut client = connect_tls(&world.authority, edge).await;
    let player = client.get_ref().0.local_addr().unwrap();
    let preface = encode_tcp_preface(&world.authority.token(world.server, "game", SeatId::new()));
    client.write_all(&[&preface[..], b"hello"].concat()).await.unwrap();
    client.flush().await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    let header = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[127, 0, 0, 1, 127, 0, 0, 1],
        &player.port().to_be_bytes(),
        &edge.port().to_be_bytes(),
    ]
    .concat();
    assert_eq!(server.read(header.len() + 5).await, [&header[..], b"hello"].concat());
    let mut answer = [0; 6];
    timeout(DEADLINE, client.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(answer[..], encode_answer(Answer::Accepted));
    server.send.write_all(b"goodbye").await.unwrap();
    server.send.finish().unwrap();
    let mut rest = Vec::new();
    timeout(DEADLINE, client.read_to_end(&mut rest)).await.expect("an end in time").unwrap();
    assert_eq!(rest, b"goodbye");
    client.write_all(b"and on").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(server.read_to_end().await, b"and on", "TLS has half-close, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_connections_and_says_nothing_is_in_the_way_of_nobody_who_plays() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Preface).await;
    let preface = encode_tcp_preface(&world.authority.token(world.server, "game", SeatId::new()));
    let mut player = TcpStream::connect(edge).await.unwrap();
    player.write_all(&preface).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    let mut silent = Vec::new();
    let mut refused = TcpStream::connect(edge).await.unwrap();
    // The bound is somewhere below the port's own.
    while timeout(Duration::from_millis(20), refused.read_u8()).await.is_err() {
        silent.push(std::mem::replace(&mut refused, TcpStream::connect(edge).await.unwrap()));
        assert!(silent.len() < 1_000, "handshakes are bounded");
    }
    server.send.write_all(b"still there").await.unwrap();
    let accepted = encode_answer(Answer::Accepted);
    assert_eq!(read_exactly(&mut player, accepted.len() + 11).await[accepted.len()..], *b"still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_client_that_closes_only_tcp_has_ended_and_still_hears_the_answer() {
    let mut world = World::new().await;
    let mut route = world.route(Tcp, Open);
    route.tls = true;
    let mut client = connect_tls(&world.authority, world.serve_route(route).await).await;
    let mut server = world.agent.asked().await.accept().await;
    client.write_all(b"all I have to say").await.unwrap();
    client.flush().await.unwrap();
    SockRef::from(client.get_ref().0).shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read_to_end().await, b"all I have to say");
    server.send.write_all(b"and the answer").await.unwrap();
    server.send.finish().unwrap();
    let mut heard = Vec::new();
    timeout(DEADLINE, client.read_to_end(&mut heard)).await.expect("an end in time").unwrap();
    assert_eq!(heard, b"and the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_bad_tokens_is_not_listened_to_for_a_while() {
    let mut world = World::new().await;
    let edge = world.serve(Tcp, Preface).await;
    let (malformed, unavailable) =
        [Refusal::Malformed, Refusal::Unavailable].map(|why| encode_answer(Answer::Refused(why))).into();
    let mut looked_at = 0;
    loop {
        let mut client = connect_from([127, 0, 0, 2], edge).await;
        client.write_all(&encode_tcp_preface("v4.public.nonsense")).await.unwrap();
        let heard = read_to_end(&mut client).await;
        if heard == unavailable {
            break;
        }
        assert_eq!(heard, malformed);
        looked_at += 1;
        assert!(looked_at < 1_000, "it is still listened to");
    }
    let mut client = TcpStream::connect(edge).await.unwrap();
    let good = encode_tcp_preface(&world.authority.token(world.server, "game", SeatId::new()));
    client.write_all(&good).await.unwrap();
    let _server = world.agent.asked().await.accept().await;
    let accepted = encode_answer(Answer::Accepted);
    assert_eq!(read_exactly(&mut client, accepted.len()).await, accepted, "another is listened to");
    world.counted("source_limited", 1).await;
    world.counted("token_malformed", looked_at).await;
}
