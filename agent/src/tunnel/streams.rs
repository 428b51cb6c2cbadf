//! TCP and WebSocket: one stream of the tunnel per connection, bytes both ways, each end of a direction
//! passed on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::Counter;
use muster_protocol::agent::PortProtocol;
use muster_protocol::stream::{
    StreamAccepted, StreamOpen, StreamOpened, StreamRefused, stream_opened::Outcome,
};
use muster_transport::{FrameReader, FrameWriter};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::metrics::{self as agent_metrics, TunnelMetrics};
use crate::routes::{Route, Routes, Slot};

/// Connections open at once on this node.
const MAX_STREAMS: usize = 16_384;
/// Connections open at once to one server.
const MAX_SERVER_STREAMS: u32 = 4_096;
/// Time the opening frame has to arrive.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time the server has to take the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes under way in one direction of one connection, beyond what the sockets hold.
const COPY_BYTES: usize = 16 * 1024;
/// Code of a stream whose connection broke.
const CODE_BROKEN: u32 = 1;

/// What every stream works with.
pub(super) struct Streams {
    routes: Arc<Routes>,
    places: Arc<Semaphore>,
    metrics: Arc<TunnelMetrics>,
}

impl Streams {
    pub(super) fn new(routes: Arc<Routes>, metrics: Arc<TunnelMetrics>) -> Self {
        Self { routes, places: Arc::new(Semaphore::new(MAX_STREAMS)), metrics }
    }
}

/// Serves every stream of one connection until it fails.
pub(super) async fn accept(connection: Connection, shared: Arc<Streams>) -> quinn::ConnectionError {
    // Dropped with this future: a lost tunnel ends its connections, so that clients and servers learn of it.
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => {
                    streams.spawn(serve(send, receive, Arc::clone(&shared)));
                }
                Err(error) => return error,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

struct Opened {
    tcp: TcpStream,
    route: Arc<Route>,
    _places: (OwnedSemaphorePermit, Slot),
}

async fn serve(send: SendStream, receive: RecvStream, shared: Arc<Streams>) {
    let mut reader = FrameReader::new(receive);
    let mut writer = FrameWriter::new(send);
    let request = match timeout(OPEN_TIMEOUT, reader.recv::<StreamOpen>()).await {
        Ok(Ok(Some(request))) => request,
        Ok(_) => return agent_metrics::tunnel_refused("malformed"),
        Err(_) => return agent_metrics::tunnel_refused("too_slow"),
    };
    let opened = match open(&request, &shared).await {
        Ok(opened) => opened,
        Err(refusal) => {
            agent_metrics::tunnel_refused(refusal.0);
            let refused = StreamRefused { code: refusal.0.to_owned(), detail: refusal.1 };
            if writer.send(&StreamOpened { outcome: Some(Outcome::Refused(refused)) }).await.is_ok() {
                writer.finish();
            }
            return;
        }
    };
    let accepted = StreamOpened { outcome: Some(Outcome::Accepted(StreamAccepted {})) };
    if writer.send(&accepted).await.is_err() {
        return;
    }
    shared.metrics.streams.increment(1.0);
    let (receive, first) = reader.into_inner();
    carry(opened, writer.into_inner(), receive, first, &shared).await;
    shared.metrics.streams.decrement(1.0);
}

/// A stable code, and what happened.
type Refusal = (&'static str, String);

async fn open(request: &StreamOpen, shared: &Streams) -> Result<Opened, Refusal> {
    let route = request
        .server_id
        .parse()
        .ok()
        .and_then(|server| shared.routes.get(&server))
        .ok_or_else(|| ("unknown_server", format!("{} does not run on this node", request.server_id)))?;
    let port = usize::try_from(request.port_index)
        .ok()
        .and_then(|index| route.ports.get(index))
        .filter(|port| port.protocol != PortProtocol::Udp)
        .copied()
        .ok_or_else(|| ("unknown_port", format!("the server has no TCP port {}", request.port_index)))?;
    let too_many = |of: &str| ("too_many", format!("{of} already has as many connections as it may"));
    let permit = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| too_many("this node"))?;
    let slot =
        route.take(|route| &route.streams, MAX_SERVER_STREAMS).ok_or_else(|| too_many("the server"))?;
    let tcp = match timeout(CONNECT_TIMEOUT, TcpStream::connect(port.address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(("connect_failed", format!("{}: {error}", port.address))),
        Err(_) => return Err(("connect_failed", format!("{} did not answer in time", port.address))),
    };
    // Game messages are small and wanted now.
    let _ = tcp.set_nodelay(true);
    // Whatever closes it before both directions have ended, the tunnel's loss included, is a reset for the server: it is not
    // to take a cut for an end. If that cannot be had it sees one.
    let _ = SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
    Ok(Opened { tcp, route, _places: (permit, slot) })
}

async fn carry(
    opened: Opened,
    mut send: SendStream,
    mut receive: RecvStream,
    first: Bytes,
    shared: &Streams,
) {
    let Opened { mut tcp, route, _places } = opened;
    // Not owned halves: those say an end when they are dropped.
    let (mut from_server, mut to_server) = tcp.split();
    let (to_count, from_count) = (&shared.metrics.stream_bytes_in, &shared.metrics.stream_bytes_out);
    let both = async {
        tokio::try_join!(
            edge_to_server(&mut receive, first, &mut to_server, to_count),
            server_to_edge(&mut from_server, &mut send, from_count),
        )
    };
    let result = tokio::select! {
        result = both => result.map(|_| ()),
        () = route.closed.cancelled() => Err(io::Error::other("the server is over")),
    };
    if result.is_ok() {
        let _ = SockRef::from(from_server.as_ref()).set_linger(None);
    } else {
        // Both directions at once: the other side of a broken connection is broken too.
        let _ = send.reset(VarInt::from_u32(CODE_BROKEN));
        let _ = receive.stop(VarInt::from_u32(CODE_BROKEN));
    }
}

async fn edge_to_server(
    receive: &mut RecvStream,
    first: Bytes,
    to_server: &mut WriteHalf<'_>,
    count: &Counter,
) -> io::Result<()> {
    let mut chunk = first;
    loop {
        to_server.write_all(&chunk).await?;
        count.increment(chunk.len() as u64);
        match receive.read_chunk(COPY_BYTES, true).await {
            Ok(Some(next)) => chunk = next.bytes,
            Ok(None) => return to_server.shutdown().await,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn server_to_edge(
    from_server: &mut ReadHalf<'_>,
    send: &mut SendStream,
    count: &Counter,
) -> io::Result<()> {
    let mut buffer = bytes::BytesMut::with_capacity(COPY_BYTES);
    loop {
        buffer.reserve(COPY_BYTES);
        if from_server.read_buf(&mut buffer).await? == 0 {
            // An error says that the edge has ended the stream already.
            let _ = send.finish();
            return Ok(());
        }
        let chunk = buffer.split().freeze();
        count.increment(chunk.len() as u64);
        send.write_chunk(chunk).await?;
    }
}
