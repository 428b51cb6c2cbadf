//! The link listener: takes QUIC connections and hands each to what its ALPN and certificate say.
//!
//! Joining machines show no certificate and get one short exchange; agents and edges show theirs and get
//! a session, and other replicas an answer to each of their streams. What waits for a handshake is bounded, and a source that has not proved its address is
//! asked to once many wait.

use std::sync::Arc;
use std::time::Duration;

use muster_transport::{Admission, Role, alpn, peer_identity};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::links::Ended;
use crate::{agents, edges, join, metrics, replicas};

/// Connections in their handshake at a time, at most; further ones are refused.
const MAX_UNPROVEN: usize = 256;
/// Machines joining at a time, at most: strangers can hold these places for a while, and must not keep
/// agents and edges out by it.
pub(crate) const MAX_JOINING: usize = 64;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes connections until `stop`; sessions run in `tasks`.
pub(crate) async fn accept(app: Arc<App>, endpoint: Endpoint, stop: CancellationToken, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(MAX_UNPROVEN));
    let joining = Arc::new(Semaphore::new(MAX_JOINING));
    loop {
        let incoming = tokio::select! {
            () = stop.cancelled() => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let waiting = MAX_UNPROVEN - places.available_permits();
        let has_shown = incoming.remote_address_validated();
        let place = places.clone().try_acquire_owned();
        match (Admission::of(waiting, MAX_UNPROVEN, has_shown), place) {
            (Admission::Retry, _) => {
                // An error says that the source has proved its address already.
                let _ = incoming.retry();
            }
            (Admission::Take, Ok(place)) => {
                tasks.spawn(serve(app.clone(), incoming, place, joining.clone()));
            }
            _ => {
                metrics::link_refused();
                incoming.refuse();
            }
        }
    }
}

async fn serve(app: Arc<App>, incoming: Incoming, place: OwnedSemaphorePermit, joining: Arc<Semaphore>) {
    let remote = incoming.remote_address();
    let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            metrics::link_refused();
            tracing::debug!(%remote, %error, "handshake failed");
            return;
        }
        Err(_) => {
            metrics::link_refused();
            tracing::debug!(%remote, "handshake took too long");
            return;
        }
    };
    drop(place);
    if speaks(&connection, alpn::JOIN) {
        match joining.try_acquire() {
            Ok(_place) => join::serve(app, connection).await,
            Err(_) => Ended::Busy.close(&connection),
        }
        return;
    }
    let Some(peer) = peer_identity(&connection) else { return refuse(&connection) };
    match peer.role {
        Role::Agent => match peer.id.parse() {
            Ok(node) => agents::serve(app, connection, node).await,
            Err(_) => refuse(&connection),
        },
        Role::Edge => match peer.id.parse() {
            Ok(edge) => edges::serve(app, connection, edge).await,
            Err(_) => refuse(&connection),
        },
        Role::Orchestrator if speaks(&connection, alpn::PEER) => replicas::serve(app, connection).await,
        Role::Orchestrator => refuse(&connection),
    }
}

fn speaks(connection: &Connection, protocol: &[u8]) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.and_then(|data| data.protocol).is_some_and(|spoken| spoken == protocol)
}

fn refuse(connection: &Connection) {
    metrics::link_refused();
    tracing::warn!(remote = %connection.remote_address(), "a link without an agent's or edge's certificate");
    Ended::NoPeer.close(connection);
}
