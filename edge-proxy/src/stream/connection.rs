//! One client's connection, from its first byte to its last: proof, tunnel stream, bytes both ways.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use muster_protocol::flow::FlowOwner;
use muster_protocol::id::SeatId;
use muster_protocol::preface::{Answer, Refusal};
use muster_protocol::stream::StreamOpen;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use super::frames::{FrameError, Frames};
use super::limits::HandshakePermit;
use super::listener::StreamSetup;
use super::proof::Declined;
use super::splice::{SpliceError, splice};
use super::throttle::Throttled;
use super::{proxy_protocol, tcp, websocket};
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
    #[error(transparent)]
    Declined(#[from] Declined),
    #[error(transparent)]
    Tunnel(#[from] OpenError),
    #[error("the client went away: {0}")]
    Client(#[from] io::Error),
    #[error("the client's WebSocket: {0}")]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Splice(#[from] SpliceError),
}

impl Ended {
    /// What the end is counted under; `None` for what players and servers do every day.
    pub(super) fn drop_reason(&self) -> Option<DropReason> {
        match self {
            Self::TooSlow => Some(DropReason::HandshakeTimeout),
            Self::Malformed(_) | Self::Tls(_) => Some(DropReason::HandshakeMalformed),
            Self::Declined(declined) => Some(declined.counted),
            Self::Splice(SpliceError::Denied) => Some(DropReason::Denied),
            Self::Tunnel(OpenError::Refused { .. }) => Some(DropReason::AgentRefused),
            Self::Tunnel(_) => Some(DropReason::AgentUnreachable),
            Self::Frame(_) | Self::Splice(SpliceError::Frame(_)) => Some(DropReason::WebSocketFrame),
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
    /// Where it is in its WebSocket's frames, if it speaks in such.
    pub(super) frames: Option<Frames>,
}

/// Serves one connection to its end. `handshake` is its place among those that have not proven themselves yet.
///
/// # Errors
/// [`Ended`]; the client has been told what its protocol has words for.
pub(super) async fn serve(
    setup: &StreamSetup,
    route: &Route,
    counters: &Counters,
    mut stream: TcpStream,
    client: SocketAddr,
    handshake: HandshakePermit,
) -> Result<(), Ended> {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let edge = stream.local_addr()?;
    let newcomer = Newcomer { setup, route, counters, client, edge, deadline, handshake };
    if route.tls {
        let accepting = timeout_at(deadline, setup.tls.acceptor(route.key.protocol).accept(stream)).await;
        let mut stream = accepting.map_err(|_| Ended::TooSlow)?.map_err(Ended::Tls)?;
        newcomer.serve(&mut stream).await
    } else {
        newcomer.serve(&mut stream).await
    }
}

/// A connection that has yet to say what it wants.
struct Newcomer<'a> {
    setup: &'a StreamSetup,
    route: &'a Route,
    counters: &'a Counters,
    client: SocketAddr,
    /// The edge's own address that the client wrote to.
    edge: SocketAddr,
    deadline: Instant,
    handshake: HandshakePermit,
}

impl Newcomer<'_> {
    async fn serve<S: ClientStream>(self, stream: &mut S) -> Result<(), Ended> {
        let Newcomer { setup, route, counters, client, edge, deadline, handshake } = self;
        let is_websocket = route.key.protocol == Protocol::WebSocket;
        let introduction = if is_websocket {
            websocket::introduce(setup, route, stream, client.ip(), deadline).await?
        } else {
            tcp::introduce(setup, route, stream, client.ip(), deadline).await?
        };
        drop(handshake);
        let throttled = match begin(setup, route, &introduction, client) {
            Ok(throttled) => throttled,
            Err(declined) => {
                if is_websocket {
                    websocket::tell_declined(stream, declined.told).await?;
                } else {
                    tcp::answer(route, stream, Answer::Refused(declined.told)).await?;
                }
                return Err(declined.into());
            }
        };
        let opened = open(setup, route, &introduction, client).await;
        match &opened {
            Err(error) if is_websocket => websocket::tell_unreachable(stream, error).await?,
            _ if is_websocket => {}
            Ok(_) => tcp::answer(route, stream, Answer::Accepted).await?,
            Err(_) => tcp::answer(route, stream, Answer::Refused(Refusal::Unavailable)).await?,
        }
        let mut first = introduction.first;
        if route.proxy_protocol {
            first.splice(0..0, proxy_protocol::header(client, edge));
        }
        let said = (&first[..], introduction.frames);
        let outcome = splice(stream, opened?, said, &throttled, setup.idle, counters).await;
        if outcome.is_err() {
            reset_on_close(stream.tcp());
        }
        Ok(outcome?)
    }
}

/// Takes what beginning costs from the limits of the client's token and of the server.
fn begin<'a>(
    setup: &'a StreamSetup,
    route: &Route,
    introduction: &Introduction,
    client: SocketAddr,
) -> Result<Throttled<'a>, Declined> {
    let owner = introduction.seat.map_or(FlowOwner::Address(client), FlowOwner::Seat);
    let flow = setup.proofs.flow(route, owner);
    let now = std::time::Instant::now();
    Ok(setup.throttle.begin(now, client.ip(), flow, route.server)?)
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
