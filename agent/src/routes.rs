//! Where each running server's ports are, for the tunnel: a table that is written seldom and read per flow.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use muster_protocol::id::ServerId;
use tokio_util::sync::CancellationToken;

use crate::reconcile::RoutePort;

/// One server's way.
pub(crate) struct Route {
    /// Its ports, in the order of its specification.
    pub(crate) ports: Vec<RoutePort>,
    /// Cancelled when the server is over.
    pub(crate) closed: CancellationToken,
    /// Flows to it.
    pub(crate) flows: AtomicU32,
    /// TCP and WebSocket connections to it.
    pub(crate) streams: AtomicU32,
    // Where the players of its flows are, by the port that the server knows each by. Touched when a flow begins, moves or
    // ends, and when the server asks.
    players: Mutex<HashMap<u16, SocketAddr>>,
}

/// Where the player of a flow is, told to its server for as long as this is held.
pub(crate) struct Whereabouts {
    route: Arc<Route>,
    port: u16,
}

/// Takes one off a bounded count; gives it back when dropped.
pub(crate) struct Slot {
    route: Arc<Route>,
    count: fn(&Route) -> &AtomicU32,
}

impl Route {
    /// Counts one more of what `count` selects; `None` if there are `limit` already.
    pub(crate) fn take(self: &Arc<Self>, count: fn(&Self) -> &AtomicU32, limit: u32) -> Option<Slot> {
        count(self)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < limit).then(|| now + 1))
            .ok()
            .map(|_| Slot { route: Arc::clone(self), count })
    }

    /// Tells the server that the flow it hears from `port` of this node is of a player at `address`.
    pub(crate) fn tell(self: &Arc<Self>, port: u16, address: SocketAddr) -> Whereabouts {
        self.players().insert(port, address);
        Whereabouts { route: Arc::clone(self), port }
    }

    /// Where the player is whom the server hears from `port` of this node.
    pub(crate) fn player(&self, port: u16) -> Option<SocketAddr> {
        self.players().get(&port).copied()
    }

    /// Whether the server is reached by ports that Docker publishes, behind which it hears Docker's ports and not ours.
    pub(crate) fn is_published(&self) -> bool {
        self.ports.iter().any(|port| port.address.ip().is_loopback())
    }

    fn players(&self) -> MutexGuard<'_, HashMap<u16, SocketAddr>> {
        // A panic elsewhere leaves the map whole: it is only ever changed by one insert or remove.
        self.players.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Whereabouts {
    /// The player is at `address` now.
    pub(crate) fn moved(&self, address: SocketAddr) {
        self.route.players().insert(self.port, address);
    }
}

impl Drop for Whereabouts {
    fn drop(&mut self) {
        self.route.players().remove(&self.port);
    }
}

impl Slot {
    /// Of which way it is.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        (self.count)(&self.route).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Every running server's way.
#[derive(Default)]
pub(crate) struct Routes {
    by_server: RwLock<HashMap<ServerId, Arc<Route>>>,
}

impl Routes {
    /// The server's way, if it runs.
    pub(crate) fn get(&self, server: &ServerId) -> Option<Arc<Route>> {
        self.read().get(server).cloned()
    }

    /// The server is reached by `ports` from now on.
    pub(crate) fn open(&self, server: ServerId, ports: Vec<RoutePort>) {
        let mut table = self.by_server.write().unwrap_or_else(PoisonError::into_inner);
        if table.get(&server).is_some_and(|route| route.ports == ports) {
            return;
        }
        let route = Route {
            ports,
            closed: CancellationToken::new(),
            flows: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            players: Mutex::default(),
        };
        if let Some(old) = table.insert(server, Arc::new(route)) {
            old.closed.cancel();
        }
    }

    /// The server is over: what goes to it ends.
    pub(crate) fn shut(&self, server: &ServerId) {
        let old = self.by_server.write().unwrap_or_else(PoisonError::into_inner).remove(server);
        if let Some(old) = old {
            old.closed.cancel();
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<ServerId, Arc<Route>>> {
        // A panic elsewhere leaves the map whole: it is only ever changed by one insert or remove.
        self.by_server.read().unwrap_or_else(PoisonError::into_inner)
    }
}
