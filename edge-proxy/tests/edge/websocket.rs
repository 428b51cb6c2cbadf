//! WebSocket through the edge, with and without TLS.

use std::net::SocketAddr;

use muster_protocol::agent::PortProtocol::Ws;
use muster_protocol::edge::TokenMode::{Open, Preface};
use muster_protocol::id::{SeatId, ServerId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::authority::{Authority, unix_ms};
use crate::world::{DEADLINE, PUBLIC_HOST, World, connect_tls, try_connect_tls, within};

fn request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

async fn say(edge: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(edge).await.unwrap();
    client.write_all(bytes).await.unwrap();
    client
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an end in time").unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Plays server and client once over: the server sees the request as it was sent, then both ways work.
async fn plays(
    world: &mut World,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sent: &str,
    seat: &str,
) {
    let asked = world.agent.asked().await;
    assert_eq!(asked.open.seat_id, seat);
    let mut server = asked.accept().await;
    assert_eq!(server.read(sent.len()).await, sent.as_bytes());
    let switching = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    server.send.write_all(switching).await.unwrap();
    let mut heard = vec![0; switching.len()];
    timeout(DEADLINE, client.read_exact(&mut heard)).await.expect("in time").unwrap();
    assert_eq!(heard, switching);
    client.write_all(b"\x81\x85frame").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.read(7).await, b"\x81\x85frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_opens_the_seat() {
    let mut world = World::new().await;
    let edge = world.serve(Ws, Preface).await;
    let seat = SeatId::new();
    let token = world.authority.token(world.server, "game", seat);
    let sent = request(&format!("/play?room=7&token={token}"));
    let mut client = say(edge, sent.as_bytes()).await;
    plays(&mut world, &mut client, &sent, &seat.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_port_asks_for_no_token_and_takes_the_head_in_pieces() {
    let mut world = World::new().await;
    let edge = world.serve(Ws, Open).await;
    let sent = request("/");
    let mut client = TcpStream::connect(edge).await.unwrap();
    for piece in sent.as_bytes().chunks(16) {
        client.write_all(piece).await.unwrap();
        client.flush().await.unwrap();
    }
    plays(&mut world, &mut client, &sent, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_shows_a_certificate_that_the_ca_signed_for_the_public_host() {
    let mut world = World::new().await;
    let mut route = world.route(Ws, Preface);
    route.tls = true;
    let edge = world.serve_route(route).await;
    let mut client = connect_tls(&world.authority, edge).await;
    let seat = SeatId::new();
    let token = world.authority.token(world.server, "game", seat);
    let sent = request(&format!("/?token={token}"));
    client.write_all(sent.as_bytes()).await.unwrap();
    plays(&mut world, &mut client, &sent, &seat.to_string()).await;
    // Somebody who speaks no TLS is no danger.
    let mut plain = say(edge, sent.as_bytes()).await;
    let mut heard = Vec::new();
    let _ = timeout(DEADLINE, plain.read_to_end(&mut heard)).await.expect("an end in time");
    assert!(!heard.starts_with(b"HTTP"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_is_shown_to_the_next_and_disturbs_nobody() {
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
    let write = |authority: &Authority| {
        let (chain, secret) = authority.pem_files(&[PUBLIC_HOST]);
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&key, secret).unwrap();
    };
    let (before, after) = (Authority::new(), Authority::new());
    write(&before);
    let mut world = World::with(|config| {
        (config.tls_certificate, config.tls_key) = (Some(certificate.clone()), Some(key.clone()));
    })
    .await;
    let mut route = world.route(Ws, Open);
    route.tls = true;
    let edge = world.serve_route(route).await;
    let mut client = connect_tls(&before, edge).await;
    let sent = request("/");
    client.write_all(sent.as_bytes()).await.unwrap();
    let mut server = world.agent.asked().await.accept().await;
    assert_eq!(server.read(sent.len()).await, sent.as_bytes());
    // Half written, it is not taken up.
    std::fs::write(&certificate, "nonsense").unwrap();
    write(&after);
    within("the new certificate to be shown", || async { try_connect_tls(&after, edge).await.is_some() })
        .await;
    assert!(try_connect_tls(&before, edge).await.is_none());
    client.write_all(b"\x81\x85frame").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.read(7).await, b"\x81\x85frame", "who was there plays on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_among_the_subprotocols_opens_the_seat_and_stays_at_the_edge() {
    let mut world = World::new().await;
    let edge = world.serve(Ws, Preface).await;
    let seat = SeatId::new();
    let token = world.authority.token(world.server, "game", seat);
    let offer = |offer: &str| {
        let field = format!("Sec-WebSocket-Protocol: {offer}\r\nUpgrade");
        request("/play").replacen("Upgrade", &field, 1)
    };
    let mut client = say(edge, offer(&format!("game.v1, muster.token.{token}")).as_bytes()).await;
    plays(&mut world, &mut client, &offer("game.v1"), &seat.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_claims_too_much_ends_its_connection() {
    let mut world = World::with(|config| config.max_websocket_frame_bytes = 1_000).await;
    let edge = world.serve(Ws, Open).await;
    let sent = request("/");
    let mut client = say(edge, sent.as_bytes()).await;
    plays(&mut world, &mut client, &sent, "").await;
    // The rest of the frame that `plays` began, and one of 65,535 bytes.
    client.write_all(b"1234\x82\xfe\xff\xffmask").await.unwrap();
    assert!(timeout(DEADLINE, client.read_u8()).await.expect("an end in time").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_http_errors_that_say_why() {
    let mut world = World::new().await;
    let edge = world.serve(Ws, Preface).await;
    let seat = SeatId::new();
    let token = |server, port| world.authority.token(server, port, seat);
    let with = |token: String| request(&format!("/?token={token}"));
    let cases = [
        (request("/"), "401", "token_missing"),
        (with("v4.public.nonsense".into()), "401", "token_malformed"),
        (with(Authority::new().token(world.server, "game", seat)), "401", "token_untrusted"),
        (
            with(world.authority.token_until(world.server, "game", seat, unix_ms() - 1_000)),
            "401",
            "token_expired",
        ),
        (with(token(ServerId::new(), "game")), "403", "token_wrong_port"),
        (with(token(world.server, "voice")), "403", "token_wrong_port"),
        ("GET / HTTP/1.1\r\nHost: edge\r\n\r\n".into(), "400", "websocket_expected"),
        ("what is this?\r\n\r\n".into(), "400", "websocket_expected"),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(9_000)), "431", "head_too_large"),
    ];
    for (said, status, code) in cases {
        let mut client = say(edge, said.as_bytes()).await;
        let heard = read_response(&mut client).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{said} -> {heard}");
        assert!(heard.contains(&format!(r#""code":"{code}""#)), "{said} -> {heard}");
    }
    let mut client = say(edge, with(token(world.server, "game")).as_bytes()).await;
    world.agent.asked().await.refuse().await;
    let heard = read_to_end(&mut client).await;
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("server_unavailable"), "{heard}");
}

/// Reads what comes; a reset after it is what happens to a client whose bytes were not all read.
async fn read_response(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(DEADLINE, client.read_to_end(&mut bytes)).await.expect("an end in time");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_there_is_a_bad_gateway() {
    let world = World::new().await;
    let mut route = world.route(Ws, Open);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    route.node_id = muster_protocol::id::NodeId::new().to_string();
    route.tunnel_addresses = vec![nobody.local_addr().unwrap().to_string()];
    let edge = world.serve_route(route).await;
    let mut client = say(edge, request("/").as_bytes()).await;
    let heard = read_to_end(&mut client).await;
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("agent_unreachable"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_its_head_drop_by_drop_is_shown_out() {
    let world = World::new().await;
    let edge = world.serve(Ws, Open).await;
    let (mut reader, mut writer) = TcpStream::connect(edge).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"G").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    });
    let mut heard = Vec::new();
    let _ = timeout(DEADLINE, reader.read_to_end(&mut heard)).await.expect("an end in time");
    assert_eq!(heard, b"");
    dripping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_bad_tokens_is_told_to_try_again_later() {
    let world = World::new().await;
    let edge = world.serve(Ws, Preface).await;
    let said = request("/?token=v4.public.nonsense");
    let mut looked_at = 0;
    loop {
        let heard = read_response(&mut say(edge, said.as_bytes()).await).await;
        if heard.starts_with("HTTP/1.1 503 ") {
            break;
        }
        assert!(heard.contains("token_malformed"), "{heard}");
        looked_at += 1;
        assert!(looked_at < 1_000, "it is still listened to");
    }
    world.counted("source_limited", 1).await;
}
