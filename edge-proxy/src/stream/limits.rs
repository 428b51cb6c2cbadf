//! How many connections there may be at once: per port, and per source address.
//!
//! A source is an IPv4 address or an IPv6 /64, so that a household's many v6 addresses count as one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::udp::source_network;

/// The bounds, shared by all ports.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    per_port: usize,
    per_address: usize,
    // Touched when a connection begins or ends, never per byte.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place within its source's bound; given back when dropped.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    limits: Arc<ConnectionLimits>,
    source: IpAddr,
}

impl ConnectionLimits {
    /// At most `per_port` connections to a port, and `per_address` from a source.
    pub(crate) fn new(per_port: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { per_port, per_address, addresses: Mutex::new(HashMap::new()) })
    }

    /// Most connections to one port.
    pub(crate) fn per_port(&self) -> usize {
        self.per_port
    }

    /// A place for a connection from `address`, or `None` if its source has as many as it may.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<AddressPermit> {
        let source = source_network(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(source).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(AddressPermit { limits: self.clone(), source })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut addresses = self.limits.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(
            limits.addresses.lock().unwrap().len(),
            1,
            "nothing is kept of a source without connections"
        );
    }
}
