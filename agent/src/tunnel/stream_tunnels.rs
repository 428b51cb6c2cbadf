//! The connections of edges that carry streams: taken in, and served until they fail.
//!
//! They are quinn's, on the agent's ordinary runtime. Their packets come by the thread of players' packets, whose
//! socket it is, and take no more of its time than that.

use std::sync::Arc;

use metrics::Gauge;
use muster_transport::{Admission, Role, peer_identity};
use quinn::{Connection, Endpoint, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::streams::{self, Streams};
use super::{CLOSE_WRONG_ROLE, HANDSHAKE_TIMEOUT};
use crate::metrics::TunnelMetrics;

/// Connections from edges that stand at once.
const MAX_TUNNELS: usize = 1_024;
/// Handshakes under way at once. More are refused.
const MOST_HALF_OPEN: usize = 512;

/// Takes edges in on `endpoint` until it is closed.
pub(super) async fn take_all_in(endpoint: Endpoint, streams: Arc<Streams>, metrics: Arc<TunnelMetrics>) {
    let half_open = Arc::new(Semaphore::new(MOST_HALF_OPEN));
    // Dropped with this future, and what runs for each connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let under_way = MOST_HALF_OPEN - half_open.available_permits();
                let standing = connections.len().saturating_sub(under_way);
                let has_shown = incoming.remote_address_validated();
                let place = Arc::clone(&half_open).try_acquire_owned();
                match (Admission::of(under_way, MOST_HALF_OPEN, has_shown), place) {
                    (Admission::Retry, _) => {
                        // An error says that it has shown its address already.
                        let _ = incoming.retry();
                    }
                    (Admission::Take, Ok(place)) if standing < MAX_TUNNELS => {
                        connections.spawn(serve((incoming, place), Arc::clone(&streams), Arc::clone(&metrics)));
                    }
                    _ => incoming.refuse(),
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, from before its handshake to its end.
async fn serve(
    (incoming, place): (Incoming, OwnedSemaphorePermit),
    streams: Arc<Streams>,
    metrics: Arc<TunnelMetrics>,
) {
    let Some((connection, id)) = shake_hands(incoming).await else { return };
    drop(place);
    tracing::info!(edge = id, address = %connection.remote_address(), "tunnel of streams is up");
    let _standing = Standing::new(&metrics.tunnels);
    let why = streams::accept(connection, streams).await;
    tracing::info!(edge = id, %why, "tunnel of streams is down");
}

/// A connection with an edge, and the edge's id; `None` if it comes to none.
async fn shake_hands(incoming: Incoming) -> Option<(Connection, String)> {
    let connection = match timeout(HANDSHAKE_TIMEOUT, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a tunnel's handshake failed");
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
