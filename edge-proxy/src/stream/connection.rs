//! One client's connection, from its first byte to its last: proof, tunnel stream, bytes both ways.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use muster_protocol::id::SeatId;
use muster_protocol::preface::Refusal;
use muster_protocol::stream::StreamOpen;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use super::listener::StreamSetup;
use super::splice::{SpliceError, splice};
use super::{tcp, websocket};
use crate::drops::DropReason;
use crate::routes::{Protocol, Route};
use crate::sockets::reset_on_close;
use crate::traffic::Counters;
use crate::tunnel::{OpenError, TunnelStream};

/// How long a client may take for its preface, or for its TLS handshake and its HTTP head together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client's connection, with TLS or without.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// The TCP connection beneath.
    fn tcp(&self) -> &TcpStream;
}

impl ClientStream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl ClientStream for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Why a connection ended other than by both sides' will.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("preface, TLS handshake or HTTP head took longer than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TooSlow,
    #[error("its first bytes are not what the port speaks: {0}")]
    Malformed(&'static str),
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("token refused: {}", .0.as_str())]
    Refused(Refusal),
    #[error(transparent)]
    Tunnel(#[from] OpenError),
    #[error("the client went away: {0}")]
    Client(#[from] io::Error),
    #[error(transparent)]
    Splice(#[from] SpliceError),
}

impl Ended {
    /// What the end is counted under; `None` for what players and servers do every day.
    pub(super) fn drop_reason(&self) -> Option<DropReason> {
        match self {
            Self::TooSlow => Some(DropReason::HandshakeTimeout),
            Self::Malformed(_) | Self::Tls(_) => Some(DropReason::HandshakeMalformed),
            Self::Refused(refusal) => Some((*refusal).into()),
            Self::Tunnel(OpenError::Refused { .. }) => Some(DropReason::AgentRefused),
            Self::Tunnel(_) => Some(DropReason::AgentUnreachable),
            Self::Client(_) | Self::Splice(_) => None,
        }
    }
}

/// What a client said before its own bytes began.
pub(super) struct Introduction {
    /// The seat it proved, if the port asks for one.
    pub(super) seat: Option<SeatId>,
    /// Bytes it sent that are the server's.
    pub(super) first: Vec<u8>,
}

/// Serves one connection to its end.
///
/// # Errors
/// [`Ended`]; the client has been told what its protocol has words for.
pub(super) async fn serve(
    setup: &StreamSetup,
    route: &Route,
    counters: &Counters,
    mut stream: TcpStream,
    client: SocketAddr,
) -> Result<(), Ended> {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    match route.key.protocol {
        Protocol::WebSocket if route.tls => {
            let accepting = timeout_at(deadline, setup.tls.accept(stream)).await;
            let mut stream = accepting.map_err(|_| Ended::TooSlow)?.map_err(Ended::Tls)?;
            serve_websocket(setup, route, counters, &mut stream, client, deadline).await
        }
        Protocol::WebSocket => serve_websocket(setup, route, counters, &mut stream, client, deadline).await,
        Protocol::Tcp | Protocol::Udp => {
            serve_tcp(setup, route, counters, &mut stream, client, deadline).await
        }
    }
}

async fn serve_tcp(
    setup: &StreamSetup,
    route: &Route,
    counters: &Counters,
    stream: &mut TcpStream,
    client: SocketAddr,
    deadline: Instant,
) -> Result<(), Ended> {
    let introduction = tcp::introduce(setup, route, stream, deadline).await?;
    let opened = open(setup, route, &introduction, client).await;
    tcp::answer(route, stream, opened.is_ok()).await?;
    carry(setup, counters, stream, opened?, &introduction.first).await
}

async fn serve_websocket<S: ClientStream>(
    setup: &StreamSetup,
    route: &Route,
    counters: &Counters,
    stream: &mut S,
    client: SocketAddr,
    deadline: Instant,
) -> Result<(), Ended> {
    let introduction = websocket::introduce(setup, route, stream, deadline).await?;
    let opened = open(setup, route, &introduction, client).await;
    if let Err(error) = &opened {
        websocket::tell_unreachable(stream, error).await?;
    }
    carry(setup, counters, stream, opened?, &introduction.first).await
}

async fn open(
    setup: &StreamSetup,
    route: &Route,
    introduction: &Introduction,
    client: SocketAddr,
) -> Result<TunnelStream, OpenError> {
    let open = StreamOpen {
        server_id: route.server.to_string(),
        port_index: u32::from(route.port_index),
        client_address: SocketAddr::new(client.ip().to_canonical(), client.port()).to_string(),
        seat_id: introduction.seat.map(|seat| seat.to_string()).unwrap_or_default(),
    };
    setup.tunnels.open(route.node, &open).await
}

async fn carry<S: ClientStream>(
    setup: &StreamSetup,
    counters: &Counters,
    stream: &mut S,
    tunnel: TunnelStream,
    first: &[u8],
) -> Result<(), Ended> {
    let outcome = splice(stream, tunnel, first, setup.idle, counters).await;
    if outcome.is_err() {
        reset_on_close(stream.tcp());
    }
    Ok(outcome?)
}
