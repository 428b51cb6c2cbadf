//! Where each running server's ports are, for the tunnel: a table that is written seldom and read per flow.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

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
        let mut table = self.by_server.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if table.get(&server).is_some_and(|route| route.ports == ports) {
            return;
        }
        let route = Route {
            ports,
            closed: CancellationToken::new(),
            flows: AtomicU32::new(0),
            streams: AtomicU32::new(0),
        };
        if let Some(old) = table.insert(server, Arc::new(route)) {
            old.closed.cancel();
        }
    }

    /// The server is over: what goes to it ends.
    pub(crate) fn shut(&self, server: &ServerId) {
        let old = self.by_server.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(server);
        if let Some(old) = old {
            old.closed.cancel();
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<ServerId, Arc<Route>>> {
        // A panic elsewhere leaves the map whole: it is only ever changed by one insert or remove.
        self.by_server.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
