//! What each server received and sent through this edge, and how the tunnels are, for the reports to the
//! orchestrator.
//!
//! Counters only grow while their server has a route, and are forgotten with its last one. The hot loop
//! holds its server's counters and adds to them; nothing is looked up per packet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use muster_protocol::edge::{EdgeReport, ServerTraffic, TunnelTraffic};
use muster_protocol::id::ServerId;

use crate::drops::DropCounts;
use crate::metrics::Passed;

/// Counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    flows: AtomicU32,
    packets_to_server: AtomicU64,
    packets_to_clients: AtomicU64,
    bytes_to_server: AtomicU64,
    bytes_to_clients: AtomicU64,
    drops: AtomicU64,
}

impl Counters {
    /// One flow or connection more.
    pub(crate) fn flow_opened(&self) {
        self.flows.fetch_add(1, Relaxed);
    }

    /// One flow or connection fewer.
    pub(crate) fn flow_closed(&self) {
        self.flows.fetch_sub(1, Relaxed);
    }

    /// Packets, or pieces of streams, went to the server.
    pub(crate) fn to_server(&self, passed: Passed) {
        self.packets_to_server.fetch_add(passed.packets, Relaxed);
        self.bytes_to_server.fetch_add(passed.bytes, Relaxed);
    }

    /// Packets, or pieces of streams, came from the server.
    pub(crate) fn to_client(&self, passed: Passed) {
        self.packets_to_clients.fetch_add(passed.packets, Relaxed);
        self.bytes_to_clients.fetch_add(passed.bytes, Relaxed);
    }

    /// Something to the server, or from it, went no further.
    pub(crate) fn dropped(&self) {
        self.drops.fetch_add(1, Relaxed);
    }
}

/// How the tunnels are, and what the edge adds to a packet.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    /// One per agent that is reached.
    pub(crate) each: Vec<TunnelTraffic>,
    /// Half of the packets measured had no more added to them, microseconds.
    pub(crate) added_p50_us: u32,
    /// All but one in a hundred of them.
    pub(crate) added_p99_us: u32,
}

/// The counters of all servers that have a route.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    // Touched when routes change and when a report is made, never per packet.
    servers: Mutex<BTreeMap<ServerId, Arc<Counters>>>,
    // Connections that the edge before still has.
    before: Mutex<BTreeMap<String, u32>>,
    // As last told by each UDP worker, which does so about once a second.
    tunnels: Mutex<BTreeMap<usize, Tunnels>>,
    drops: Arc<DropCounts>,
}

impl Traffic {
    /// No servers yet; `drops` are all that the edge counts.
    pub(crate) fn new(drops: Arc<DropCounts>) -> Self {
        Self { drops, ..Self::default() }
    }

    /// Notes how the tunnels of UDP worker number `worker` are.
    pub(crate) fn note_tunnels(&self, worker: usize, tunnels: Tunnels) {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, tunnels);
    }

    /// The counters of `server`.
    pub(crate) fn of(&self, server: ServerId) -> Arc<Counters> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.entry(server).or_default().clone()
    }

    /// Forgets all servers but those that `keep` says yes to.
    pub(crate) fn retain(&self, keep: impl Fn(&ServerId) -> bool) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server, _| keep(server));
    }

    /// Notes who still plays through the edge before, whose place this one has taken: nobody else reports them.
    pub(crate) fn note_before(&self, report: EdgeReport) {
        let flows = report.servers.into_iter().map(|server| (server.server_id, server.flows));
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = flows.collect();
    }

    /// All counters as they are now.
    pub(crate) fn report(&self) -> EdgeReport {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let servers = servers
            .iter()
            .map(|(server, counters)| (server.to_string(), counters))
            .map(|(server_id, counters)| ServerTraffic {
                flows: counters.flows.load(Relaxed) + before.get(&server_id).copied().unwrap_or(0),
                server_id,
                packets_to_server: counters.packets_to_server.load(Relaxed),
                packets_to_clients: counters.packets_to_clients.load(Relaxed),
                bytes_to_server: counters.bytes_to_server.load(Relaxed),
                bytes_to_clients: counters.bytes_to_clients.load(Relaxed),
                drops: counters.drops.load(Relaxed),
            })
            .collect();
        let tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        EdgeReport {
            servers,
            drops: self.drops.told(),
            tunnels: by_node(tunnels.values().flat_map(|worker| &worker.each)),
            // Of the worker that is worst off.
            added_p50_us: tunnels.values().map(|worker| worker.added_p50_us).max().unwrap_or(0),
            added_p99_us: tunnels.values().map(|worker| worker.added_p99_us).max().unwrap_or(0),
        }
    }
}

/// One tunnel for each node, where each worker has one of its own: what they count together, and the rest of whichever is
/// worst off.
fn by_node<'a>(each: impl Iterator<Item = &'a TunnelTraffic>) -> Vec<TunnelTraffic> {
    let mut nodes: BTreeMap<&str, TunnelTraffic> = BTreeMap::new();
    for one in each {
        let Some(all) = nodes.get_mut(one.node_id.as_str()) else {
            nodes.insert(&one.node_id, one.clone());
            continue;
        };
        all.packets_sent += one.packets_sent;
        all.packets_lost += one.packets_lost;
        all.datagrams_dropped += one.datagrams_dropped;
        all.rtt_us = all.rtt_us.max(one.rtt_us);
        all.queue_p99_us = all.queue_p99_us.max(one.queue_p99_us);
        all.mtu = all.mtu.min(one.mtu);
    }
    nodes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drops::DropReason;
    use muster_protocol::edge::DropCount;

    #[test]
    fn a_report_tells_each_server_its_own() {
        let (traffic, a, b) = (Traffic::default(), ServerId::new(), ServerId::new());
        let counters = traffic.of(a);
        counters.flow_opened();
        counters.to_server(Passed::one(100));
        counters.to_server(Passed::one(50));
        traffic.of(b).to_client(Passed::one(7));
        let report = traffic.report();
        let of = |id: ServerId| report.servers.iter().find(|s| s.server_id == id.to_string()).unwrap();
        assert_eq!((of(a).flows, of(a).packets_to_server, of(a).bytes_to_server), (1, 2, 150));
        assert_eq!((of(b).packets_to_clients, of(b).bytes_to_clients, of(b).flows), (1, 7, 0));
        traffic.note_before(EdgeReport { servers: vec![of(a).clone()], ..Default::default() });
        let with_before = traffic.report();
        let flows =
            |id: ServerId| with_before.servers.iter().find(|s| s.server_id == id.to_string()).unwrap().flows;
        assert_eq!((flows(a), flows(b)), (2, 0));
        traffic.note_before(EdgeReport::default());
        traffic.retain(|server| *server == b);
        assert_eq!(traffic.report().servers.len(), 1);
    }

    #[test]
    fn a_report_tells_drops_and_tunnels() {
        let (drops, server) = (Arc::<DropCounts>::default(), ServerId::new());
        let traffic = Traffic::new(drops.clone());
        assert_eq!(traffic.report(), EdgeReport::default());
        drops.add(DropReason::Unproven, 3);
        traffic.of(server).dropped();
        let tunnel =
            TunnelTraffic { node_id: "node".into(), rtt_us: 5, packets_sent: 7, ..Default::default() };
        let other = TunnelTraffic { node_id: "other".into(), ..tunnel.clone() };
        traffic.note_tunnels(0, Tunnels { each: vec![tunnel.clone()], added_p50_us: 1, added_p99_us: 2 });
        let each = vec![TunnelTraffic { rtt_us: 6, ..tunnel.clone() }, other.clone()];
        traffic.note_tunnels(1, Tunnels { each, added_p50_us: 0, added_p99_us: 3 });
        let report = traffic.report();
        let both = TunnelTraffic { rtt_us: 6, packets_sent: 14, ..tunnel };
        assert_eq!(report.drops, [DropCount { reason: "unproven".into(), count: 3 }]);
        assert_eq!((report.servers[0].drops, report.tunnels), (1, vec![both, other]));
        assert_eq!((report.added_p50_us, report.added_p99_us), (1, 3));
    }
}
