//! The thread of players' UDP packets: the tunnel's socket, connections of datagrams with their QUIC drivers, and
//! all flows, on a runtime of its own. Nothing of a packet's way is shared with other threads but counters and routes.
//!
//! What a connection of streams does is done elsewhere, on the agent's ordinary runtime: here its packets
//! are only taken off the socket, which is the same for all.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::metrics::Gauge;
use muster_protocol::fragment::Rejoiner;
use muster_transport::{
    ClientCertificate, Identity, Profile, Role, alpn, listen, peer_identity, server_config,
};
use quinn::{Connecting, Connection, ConnectionError, Endpoint, Incoming};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::TunnelBindError;
use super::flows::Flows;
use super::streams::{self, Streams};
use crate::metrics::TunnelMetrics;
use crate::routes::Routes;

/// Connections from edges open at once: of each edge one for streams and one per UDP worker, and twice as many while it is
/// replaced. Sixty edges of 64 cores.
const MAX_TUNNELS: usize = 8_192;
/// Time a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a part of the flows is looked over for idle ones.
const SWEEP_EVERY: Duration = Duration::from_millis(100);
/// How often unfinished packets are looked for, and tunnels are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long ending connections get to say so.
const FAREWELL: Duration = Duration::from_millis(200);
/// Close code for a peer that is no edge.
const CLOSE_WRONG_ROLE: u32 = 1;
/// Close code at the agent's end.
const CLOSE_SHUTTING_DOWN: u32 = 2;

/// What the thread is made with.
pub(super) struct Setup {
    /// Where edges dial.
    pub(super) address: SocketAddr,
    /// Whose node this is.
    pub(super) identity: Identity,
    /// Which servers there are.
    pub(super) routes: Arc<Routes>,
    /// What is counted.
    pub(super) metrics: Arc<TunnelMetrics>,
    /// Where connections of streams have their work done.
    pub(super) ordinary: Handle,
}

/// What every connection works with.
struct Worker {
    flows: Rc<Flows>,
    streams: Arc<Streams>,
    metrics: Arc<TunnelMetrics>,
    ordinary: Handle,
}

/// Takes edges in until `stop`. Tells by `started` where it listens, or why it does not. Must be called within a runtime
/// of one thread that takes local tasks.
pub(super) async fn run(
    setup: Setup,
    started: oneshot::Sender<Result<SocketAddr, TunnelBindError>>,
    stop: CancellationToken,
) {
    let (endpoint, address) = match bind(&setup) {
        Ok(bound) => bound,
        Err(error) => {
            // The starter is told; that it has gone away already is nobody's loss.
            let _ = started.send(Err(error));
            return;
        }
    };
    if started.send(Ok(address)).is_err() {
        return;
    }
    let Setup { routes, metrics, ordinary, .. } = setup;
    let worker = Rc::new(Worker {
        flows: Rc::new(Flows::new(Arc::clone(&routes), Arc::clone(&metrics))),
        streams: Arc::new(Streams::new(routes, Arc::clone(&metrics))),
        metrics,
        ordinary,
    });
    worker.take_all_in(&endpoint, stop).await;
    endpoint.close(CLOSE_SHUTTING_DOWN.into(), b"agent is shutting down");
    // Edges that do not hear it notice by themselves.
    let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
}

fn bind(setup: &Setup) -> Result<(Endpoint, SocketAddr), TunnelBindError> {
    let Setup { address, identity, .. } = setup;
    let config =
        server_config(identity, &[alpn::TUNNEL], ClientCertificate::Required, Profile::TunnelDatagrams)?;
    let lost = |source| TunnelBindError::Bind { address: *address, source };
    let endpoint = listen(*address, config, identity.key.secret_der()).map_err(lost)?;
    let address = endpoint.local_addr().map_err(lost)?;
    Ok((endpoint, address))
}

impl Worker {
    async fn take_all_in(self: &Rc<Self>, endpoint: &Endpoint, stop: CancellationToken) {
        // Dropped with this future, and what runs for each connection with it.
        let mut connections = JoinSet::new();
        let mut sweeps = interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                incoming = endpoint.accept() => {
                    let Some(incoming) = incoming else { return };
                    if connections.len() >= MAX_TUNNELS {
                        incoming.refuse();
                        continue;
                    }
                    connections.spawn_local(Rc::clone(self).serve(incoming));
                }
                Some(_) = connections.join_next() => {}
                _ = sweeps.tick() => self.flows.sweep(Instant::now()),
            }
        }
    }

    /// One connection, from before its handshake to its end.
    async fn serve(self: Rc<Self>, incoming: Incoming) {
        let Some((connection, id)) = self.shake_hands(incoming).await else { return };
        tracing::info!(edge = id, address = %connection.remote_address(), "tunnel is up");
        let _standing = Standing::new(&self.metrics.tunnels);
        // What it has announced says where its work is done, and is not held against it: each serves both.
        let streams = streams::accept(connection.clone(), Arc::clone(&self.streams));
        let streams = AbortOnDropHandle::new(self.ordinary.spawn(streams));
        let edge = Rc::new(connection);
        let why = tokio::select! {
            why = self.datagrams(&edge) => why,
            Ok(why) = streams => why,
        };
        tracing::info!(edge = id, %why, "tunnel is down");
    }

    /// A connection with an edge, and the edge's id; `None` if it comes to none.
    async fn shake_hands(&self, incoming: Incoming) -> Option<(Connection, String)> {
        let connection = match timeout(HANDSHAKE_TIMEOUT, self.accept(incoming)?).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a tunnel's handshake failed");
                return None;
            }
            Err(_) => return None,
        };
        let address = connection.remote_address();
        match peer_identity(&connection) {
            Some(peer) if peer.role == Role::Edge => Some((connection, peer.id)),
            peer => {
                tracing::warn!(?peer, %address, "refused a tunnel from a peer that is no edge");
                connection.close(CLOSE_WRONG_ROLE.into(), b"only edges may open tunnels");
                None
            }
        }
    }

    /// Begins the handshake, where all of the connection's QUIC is to be done: quinn starts its driver on the runtime
    /// that it finds itself in.
    fn accept(&self, incoming: Incoming) -> Option<Connecting> {
        let accepted = match Profile::announced(&incoming.orig_dst_cid()) {
            Profile::TunnelDatagrams => incoming.accept(),
            Profile::TunnelStreams | Profile::Link => {
                let _there = self.ordinary.enter();
                incoming.accept()
            }
        };
        accepted.inspect_err(|error| tracing::warn!(%error, "a tunnel's handshake failed")).ok()
    }

    /// Gives the flows a turn whenever `edge` has brought datagrams, until it fails.
    async fn datagrams(&self, edge: &Rc<Connection>) -> ConnectionError {
        // Of this edge alone: whatever parts it sends, those of others wait undisturbed.
        let mut rejoiner = Rejoiner::default();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut lost) = (0, 0);
        loop {
            tokio::select! {
                first = edge.read_datagram() => match first {
                    Ok(first) => {
                        if self.flows.turn_in(edge, &mut rejoiner, first) {
                            yield_now().await;
                        }
                    }
                    Err(error) => return error,
                },
                _ = looks.tick() => {
                    rejoiner.expire(Instant::now());
                    self.metrics.dropped_fragment.increment(rejoiner.take_given_up());
                    let path = edge.stats().path;
                    self.metrics.quic_sent.increment(path.sent_packets.saturating_sub(sent));
                    self.metrics.quic_lost.increment(path.lost_packets.saturating_sub(lost));
                    (sent, lost) = (path.sent_packets, path.lost_packets);
                }
            }
        }
    }
}

/// One connection more that stands, for as long as it is held.
struct Standing(Gauge);

impl Standing {
    fn new(tunnels: &Gauge) -> Self {
        tunnels.increment(1.0);
        Self(tunnels.clone())
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
