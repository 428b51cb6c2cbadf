//! The agent's end of the tunnel: what edges send for this node's servers, and what servers answer.
//!
//! Edges dial, with a certificate of their role; a UDP packet is a DATAGRAM frame, a TCP or WebSocket
//! connection a stream, and each of the two has connections of its own. Who may play is the edge's to know: here a packet
//! is only put where it belongs. Packets have a thread of their own (`turns`); streams run beside everything else that
//! the agent does. There is one UDP socket for both: edges know one address of an agent.

mod alone;
mod edges;
mod flow;
mod flows;
mod socket;
mod stream_tunnels;
mod streams;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Poll;
use muster_transport::{
    ClientCertificate, Identity, Profile, Quic, TlsError, TunnelRate, alpn, server_config, spawn_vital,
};
use quinn::Endpoint;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::TunnelMetrics;
use crate::routes::Routes;
pub use alone::TunnelAlone;
use edges::Edges;
use flows::Flows;
pub(crate) use flows::fuzz_flows;
use streams::Streams;
use turns::{TUNNEL, Turns};

/// Time a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long ending connections get to say so.
const FAREWELL: Duration = Duration::from_millis(200);
/// Close code for a peer that is no edge.
const CLOSE_WRONG_ROLE: u32 = 1;
/// Close code at the agent's end.
const CLOSE_SHUTTING_DOWN: u32 = 2;

/// The tunnel's listening end, as the rest of the agent sees it. Dropping it ends it.
pub(crate) struct Tunnel {
    address: SocketAddr,
    streams: Endpoint,
    // Dropped with this, and the connections with it.
    _taking_in: AbortOnDropHandle<()>,
    stop: DropGuard,
    ended: oneshot::Receiver<()>,
}

/// Why the tunnel cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum TunnelBindError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be had.
    #[error(
        "the tunnel cannot listen on UDP {address}: {source}; free the port or set another `tunnel_listen`"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no thread for it.
    #[error("no thread for the tunnel: {0}; raise the limits on this user's threads and open files")]
    Thread(std::io::Error),
}

impl Tunnel {
    /// Takes edges in on `address` from now on. Streams are served on the runtime that this is called within.
    pub(crate) fn start(
        address: SocketAddr,
        identity: &Identity,
        rate: TunnelRate,
        routes: Arc<Routes>,
    ) -> Result<Self, TunnelBindError> {
        let config = |profile| server_config(identity, &[alpn::TUNNEL], ClientCertificate::Required, profile);
        let (mut for_datagrams, for_streams) =
            (config(Profile::TunnelDatagrams)?, config(Profile::TunnelStreams)?);
        for_datagrams.transport_config(Profile::TunnelDatagrams.transport(rate));
        let bound = |source| TunnelBindError::Bind { address, source };
        let poll = Poll::new().map_err(TunnelBindError::Thread)?;
        let registry = poll.registry().try_clone().map_err(TunnelBindError::Thread)?;
        let secret = identity.key.secret_der();
        let (quic, beside) =
            Quic::listening(poll.registry(), TUNNEL, address, for_datagrams, secret).map_err(bound)?;
        let endpoint = beside.endpoint(for_streams).map_err(bound)?;
        let address = endpoint.local_addr().map_err(bound)?;

        let metrics = Arc::new(TunnelMetrics::new());
        let streams = Arc::new(Streams::new(Arc::clone(&routes), Arc::clone(&metrics)));
        let taking_in = stream_tunnels::take_all_in(endpoint.clone(), streams, Arc::clone(&metrics));
        let taking_in = AbortOnDropHandle::new(tokio::spawn(taking_in));

        let (stop, (ending, ended)) = (CancellationToken::new(), oneshot::channel());
        let stopped = stop.clone();
        let work = move || {
            let flows = Flows::new(registry, routes, Arc::clone(&metrics));
            let turns = Turns::new(poll, Edges::new(quic), flows, metrics, Instant::now());
            let ran = turns.run(&stopped);
            // That nobody waits any more is fine.
            let _ = ending.send(());
            ran
        };
        spawn_vital("agent-udp".to_owned(), work).map_err(TunnelBindError::Thread)?;
        Ok(Self { address, streams: endpoint, _taking_in: taking_in, stop: stop.drop_guard(), ended })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lasts until `cancel`, and until edges have been told and the socket is closed.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        cancel.cancelled().await;
        let Self { streams, _taking_in: taking_in, stop, ended, .. } = self;
        // First these, whose packets come by the thread.
        streams.close(CLOSE_SHUTTING_DOWN.into(), b"agent is shutting down");
        // Edges that do not hear it notice by themselves.
        let _ = timeout(FAREWELL, streams.wait_idle()).await;
        drop((streams, taking_in));
        drop(stop);
        // An error says that the thread has gone already.
        let _ = ended.await;
    }
}
