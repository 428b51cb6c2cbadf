//! The agent's end of the tunnel: what edges send for this node's servers, and what servers answer.
//!
//! Edges dial, with a certificate of their role; a UDP packet is a DATAGRAM frame, a TCP or WebSocket
//! connection a stream. Who may play is the edge's to know: here a packet is only put where it belongs.

mod alone;
mod flow;
mod flows;
mod streams;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::fragment::Rejoiner;
use muster_transport::{
    ClientCertificate, Identity, Profile, Role, TlsError, alpn, listen, peer_identity, server_config,
};
use quinn::{Connection, Endpoint, Incoming};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::metrics::TunnelMetrics;
use crate::routes::Routes;
pub use alone::TunnelAlone;
use flows::Flows;

/// Connections from edges open at once: two per edge, and some that are being replaced.
const MAX_TUNNELS: usize = 1_024;
/// Time a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP and WebSocket connections open at once on this node.
const MAX_STREAMS: usize = 16_384;
/// How often idle flows and unfinished packets are looked for, and tunnels are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Close code for a peer that is no edge.
const CLOSE_WRONG_ROLE: u32 = 1;
/// Close code at the agent's end.
const CLOSE_SHUTTING_DOWN: u32 = 2;

/// What every connection works with.
struct Shared {
    routes: Arc<Routes>,
    flows: Arc<Flows>,
    streams: Arc<Semaphore>,
    metrics: Arc<TunnelMetrics>,
}

/// The tunnel's listening end.
pub(crate) struct Tunnel {
    endpoint: Endpoint,
    shared: Arc<Shared>,
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
}

impl Tunnel {
    /// Listens on `address`; nothing is taken in before [`Tunnel::run`].
    pub(crate) fn bind(
        address: SocketAddr,
        identity: &Identity,
        routes: Arc<Routes>,
    ) -> Result<Self, TunnelBindError> {
        let config =
            server_config(identity, &[alpn::TUNNEL], ClientCertificate::Required, Profile::TunnelDatagrams)?;
        let endpoint = listen(address, config, identity.key.secret_der())
            .map_err(|source| TunnelBindError::Bind { address, source })?;
        let metrics = Arc::new(TunnelMetrics::new());
        let shared = Shared {
            flows: Arc::new(Flows::new(Arc::clone(&routes), Arc::clone(&metrics))),
            routes,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            metrics,
        };
        Ok(Self { endpoint, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Takes edges in until dropped.
    pub(crate) async fn run(self) {
        // Dropped with this future, and every connection with it.
        let mut connections = JoinSet::new();
        let mut sweeps = interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let _closed = CloseOnDrop(self.endpoint.clone());
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => {
                    let Some(incoming) = incoming else { return };
                    if connections.len() >= MAX_TUNNELS {
                        incoming.refuse();
                        continue;
                    }
                    connections.spawn(take_in(incoming, Arc::clone(&self.shared)));
                }
                Some(_) = connections.join_next() => {
                    self.shared.metrics.tunnels.set(connections.len() as f64);
                }
                _ = sweeps.tick() => self.shared.flows.sweep(),
            }
        }
    }
}

struct CloseOnDrop(Endpoint);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(CLOSE_SHUTTING_DOWN.into(), b"agent is shutting down");
    }
}

async fn take_in(incoming: Incoming, shared: Arc<Shared>) {
    let connection = match timeout(HANDSHAKE_TIMEOUT, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a tunnel's handshake failed");
            return;
        }
        Err(_) => return,
    };
    let peer = peer_identity(&connection);
    let Some(edge) = peer.as_ref().filter(|peer| peer.role == Role::Edge) else {
        tracing::warn!(?peer, address = %connection.remote_address(), "refused a tunnel from a peer that is no edge");
        connection.close(CLOSE_WRONG_ROLE.into(), b"only edges may open tunnels");
        return;
    };
    tracing::info!(edge = edge.id, address = %connection.remote_address(), "tunnel is up");
    shared.metrics.tunnels.increment(1.0);
    let why = tokio::select! {
        why = datagrams(&connection, &shared) => why,
        why = streams::accept(&connection, &shared) => why,
        never = count_packets(&connection, &shared.metrics) => match never {},
    };
    tracing::info!(edge = edge.id, %why, "tunnel is down");
}

/// Counts what the connection sends, and what is lost of it.
async fn count_packets(connection: &Connection, metrics: &TunnelMetrics) -> Infallible {
    let mut looks = interval(SWEEP_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut lost) = (0, 0);
    loop {
        looks.tick().await;
        let path = connection.stats().path;
        metrics.quic_sent.increment(path.sent_packets.saturating_sub(sent));
        metrics.quic_lost.increment(path.lost_packets.saturating_sub(lost));
        (sent, lost) = (path.sent_packets, path.lost_packets);
    }
}

async fn datagrams(connection: &Connection, shared: &Shared) -> quinn::ConnectionError {
    // Of this edge alone: whatever parts it sends, those of others wait undisturbed.
    let mut rejoiner = Rejoiner::default();
    let mut sweeps = interval(SWEEP_EVERY);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            datagram = connection.read_datagram() => match datagram {
                Ok(datagram) => shared.flows.take_in(connection, &mut rejoiner, datagram),
                Err(error) => return error,
            },
            _ = sweeps.tick() => {
                rejoiner.expire(Instant::now());
                shared.metrics.dropped_fragment.increment(rejoiner.take_given_up());
            }
        }
    }
}
