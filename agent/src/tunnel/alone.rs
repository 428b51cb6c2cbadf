//! The tunnel's end without the agent around it, for measuring what a packet costs, and trying what a hostile edge
//! can do, where there is no Docker.
//!
//! The same code as the agent runs, between the same edges; only who says which servers there are is
//! another. Not for production: nothing here starts, watches or stops a server.

use std::net::SocketAddr;
use std::sync::Arc;

use muster_protocol::id::ServerId;
use muster_transport::{Identity, TunnelRate};
use tokio_util::sync::CancellationToken;

use super::{Tunnel, TunnelBindError};
use crate::reconcile::RoutePort;
use crate::routes::Routes;

/// A tunnel's end whose servers are given.
pub struct TunnelAlone(Tunnel);

impl TunnelAlone {
    /// Takes edges in on `address`, as the node `identity` is of, for `servers` and their ports in the order of their
    /// specification. Dropping it ends it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`TunnelBindError`]: the identity cannot be used, or the address cannot be had.
    pub fn start(
        address: SocketAddr,
        identity: Identity,
        servers: impl IntoIterator<Item = (ServerId, Vec<RoutePort>)>,
    ) -> Result<Self, TunnelBindError> {
        let routes = Routes::default();
        servers.into_iter().for_each(|(server, ports)| routes.open(server, ports));
        Tunnel::start(address, &identity, TunnelRate::default(), Arc::new(routes)).map(Self)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Lasts until the tunnel fails, or this is dropped.
    pub async fn run(self) {
        self.0.run(CancellationToken::new()).await;
    }
}
