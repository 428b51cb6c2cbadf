//! How many connections there may be at once: per port, per source address, and of each that have not proven themselves.
//!
//! A source is an IPv4 address or an IPv6 /64, so that a household's many v6 addresses count as one. Those within
//! their handshake have a smaller bound of their own: who opens connections and says nothing uses up that one,
//! and whoever is through is not in its way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::udp::source_network;

/// Connections of one port that may be within their handshake.
pub(super) const MAX_HANDSHAKES_PER_PORT: usize = 512;
/// Connections of one source that may be within their handshake: half of what it may have unless configured otherwise,
/// so that those of a household which say nothing leave room for the others.
const MAX_HANDSHAKES_PER_ADDRESS: usize = 32;

/// The bounds, shared by all ports.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    per_port: usize,
    connections: Arc<PerSource>,
    handshakes: Arc<PerSource>,
}

/// How many of something each source has.
#[derive(Debug)]
struct PerSource {
    most: usize,
    // Touched when a connection begins, is through its handshake, or ends, never per byte.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A place within a source's bound; given back when dropped.
#[derive(Debug)]
pub(crate) struct SourcePermit {
    of: Arc<PerSource>,
    source: IpAddr,
}

/// A connection's place among those within their handshake; given back when dropped.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    _of_port: OwnedSemaphorePermit,
    _of_source: SourcePermit,
}

impl ConnectionLimits {
    /// At most `per_port` connections to a port, and `per_address` from a source.
    pub(crate) fn new(per_port: usize, per_address: usize) -> Self {
        Self {
            per_port,
            connections: PerSource::new(per_address),
            handshakes: PerSource::new(MAX_HANDSHAKES_PER_ADDRESS),
        }
    }

    /// Most connections to one port.
    pub(crate) fn per_port(&self) -> usize {
        self.per_port
    }

    /// A place for a connection from `address`, or `None` if its source has as many as it may.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<SourcePermit> {
        self.connections.take(address)
    }

    /// A place for the handshake of a connection from `address`, which has got that of its port.
    pub(super) fn handshake(
        &self,
        address: IpAddr,
        of_port: OwnedSemaphorePermit,
    ) -> Option<HandshakePermit> {
        let of_source = self.handshakes.take(address)?;
        Some(HandshakePermit { _of_port: of_port, _of_source: of_source })
    }
}

impl PerSource {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Option<SourcePermit> {
        let source = source_network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(SourcePermit { of: self.clone(), source })
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut counts = self.of.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    #[test]
    fn a_source_gets_its_places_back() {
        let limits = ConnectionLimits::new(10, 2);
        let [a, b] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let first = limits.admit(a).unwrap();
        let _second = limits.admit(a).unwrap();
        assert!(limits.admit(a).is_none());
        assert!(limits.admit(b).is_some());
        drop(first);
        assert!(limits.admit(a).is_some());
        let kept = limits.connections.counts.lock().unwrap().len();
        assert_eq!(kept, 1, "nothing is kept of a source without connections");
    }

    #[test]
    fn handshakes_have_a_bound_of_their_own() {
        let (limits, port) = (ConnectionLimits::new(1_000, 1_000), Arc::new(Semaphore::new(1_000)));
        let handshake = |address| limits.handshake(address, port.clone().try_acquire_owned().unwrap());
        let [slow, other] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let mut held: Vec<_> = (0..MAX_HANDSHAKES_PER_ADDRESS).map(|_| handshake(slow).unwrap()).collect();
        assert!(handshake(slow).is_none());
        assert!(limits.admit(slow).is_some() && handshake(other).is_some());
        held.pop();
        assert!(handshake(slow).is_some());
    }
}
