//! TCP connections through the tunnel's end, as their server sees them end. Nothing here needs Docker.

use std::io::ErrorKind;

use muster_protocol::stream::stream_opened::Outcome;
use muster_transport::{FrameReader, Profile};
use quinn::SendStream;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::orchestrator::PATIENCE;
use crate::tunnel::open_stream;
use crate::world::{TCP_PORT, World};

/// A connection that has brought four bytes: the edge's end, and the server's.
async fn connected(
    world: &World,
    tunnel: &quinn::Connection,
    tcp: &TcpListener,
) -> ((SendStream, FrameReader), TcpStream) {
    let server = world.open.server.to_string();
    let (outcome, writer, reader) = open_stream(tunnel, &server, TCP_PORT).await;
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    let mut send = writer.into_inner();
    send.write_all(b"half").await.expect("sends");
    let (mut server, _) = tcp.accept().await.expect("the agent connects");
    let mut heard = [0; 4];
    timeout(PATIENCE, server.read_exact(&mut heard)).await.expect("in time").expect("whole");
    assert_eq!(&heard, b"half");
    ((send, reader), server)
}

/// How the server sees its connection end: what more it reads, or why it reads no more.
async fn end(mut server: TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, server.read_to_end(&mut rest)).await.expect("it ends in time");
    read.map(|_| rest).map_err(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_take_a_cut_for_an_end() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = tcp.local_addr().expect("bound");
    let world = World::of(address, address);
    let tunnel = world.tunnel(world.config(Profile::TunnelStreams)).await;

    let ((mut send, _reader), server) = connected(&world, &tunnel, &tcp).await;
    send.write_all(b" and half").await.expect("sends");
    send.finish().expect("open");
    assert_eq!(end(server).await, Ok(b" and half".to_vec()), "its player has said all there was");

    let ((mut send, _reader), server) = connected(&world, &tunnel, &tcp).await;
    send.reset(1_u32.into()).expect("open");
    assert_eq!(end(server).await, Err(ErrorKind::ConnectionReset), "its player's connection broke");

    let ((_send, _reader), server) = connected(&world, &tunnel, &tcp).await;
    tunnel.close(0_u32.into(), b"");
    assert_eq!(end(server).await, Err(ErrorKind::ConnectionReset), "the tunnel broke");
}
