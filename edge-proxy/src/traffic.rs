//! What each server received and sent through this edge, and how the tunnels are, for the reports to the
//! orchestrator.
//!
//! Counters only grow while their server has a route, and are forgotten with its last one. Who carries packets holds its
//! server's counters; nothing is looked up per packet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use muster_protocol::edge::{EdgeReport, ServerTraffic, TunnelTraffic};
use muster_protocol::id::ServerId;

use crate::drops::DropReason;
use crate::tally::{AllCounts, Counts, Passed, Tally};

/// Counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    flows: AtomicU32,
    // What the UDP worker that has the server counts.
    udp: Counts,
    // What its connections' tasks do.
    streams: Counts,
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

    /// What the server's UDP worker has counted in a turn. Nobody else calls it, nor [`Counters::publish_drops`].
    pub(crate) fn publish(&self, tally: &Tally) {
        self.udp.publish(tally);
    }

    /// Drops that the server's UDP worker has counted.
    pub(crate) fn publish_drops(&self, reason: DropReason, count: u64) {
        self.udp.publish_drops(reason, count);
    }

    /// A piece of a stream went to the server.
    pub(crate) fn to_server(&self, passed: Passed) {
        self.streams.to_servers(passed);
    }

    /// A piece of a stream came from the server.
    pub(crate) fn to_client(&self, passed: Passed) {
        self.streams.to_clients(passed);
    }

    /// A connection to the server went no further.
    pub(crate) fn dropped(&self, reason: DropReason) {
        self.streams.drop_many(reason, 1);
    }

    fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        self.udp.add_to(&mut sum);
        self.streams.add_to(&mut sum);
        sum
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
    counts: Arc<AllCounts>,
}

impl Traffic {
    /// No servers yet; `counts` are all that the edge counts.
    pub(crate) fn new(counts: Arc<AllCounts>) -> Self {
        Self { counts, ..Self::default() }
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
            .map(|(server, counters)| (server.to_string(), counters, counters.sum()))
            .map(|(server_id, counters, sum)| ServerTraffic {
                flows: counters.flows.load(Relaxed) + before.get(&server_id).copied().unwrap_or(0),
                server_id,
                packets_to_server: sum.to_servers.packets,
                packets_to_clients: sum.to_clients.packets,
                bytes_to_server: sum.to_servers.bytes,
                bytes_to_clients: sum.to_clients.bytes,
                drops: sum.drops_told(),
            })
            .collect();
        let tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        EdgeReport {
            servers,
            drops: self.counts.sum().drops_told(),
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
        all.added_p50_us = all.added_p50_us.max(one.added_p50_us);
        all.added_p99_us = all.added_p99_us.max(one.added_p99_us);
    }
    nodes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::edge::DropCount;

    #[test]
    fn a_report_tells_each_server_its_own() {
        let (traffic, a, b) = (Traffic::default(), ServerId::new(), ServerId::new());
        let counters = traffic.of(a);
        counters.flow_opened();
        counters.publish(&Tally { to_servers: Passed::one(100), ..Tally::default() });
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
        let (counts, server) = (Arc::<AllCounts>::default(), ServerId::new());
        let traffic = Traffic::new(counts.clone());
        assert_eq!(traffic.report(), EdgeReport::default());
        counts.shared.drop_many(DropReason::Unproven, 3);
        traffic.of(server).dropped(DropReason::Unproven);
        traffic.of(server).publish_drops(DropReason::Unproven, 1);
        traffic.of(server).publish_drops(DropReason::PortFull, 2);
        let tunnel =
            TunnelTraffic { node_id: "node".into(), rtt_us: 5, packets_sent: 7, ..Default::default() };
        let other = TunnelTraffic { node_id: "other".into(), ..tunnel.clone() };
        traffic.note_tunnels(0, Tunnels { each: vec![tunnel.clone()], added_p50_us: 1, added_p99_us: 2 });
        let each = vec![TunnelTraffic { rtt_us: 6, added_p99_us: 9, ..tunnel.clone() }, other.clone()];
        traffic.note_tunnels(1, Tunnels { each, added_p50_us: 0, added_p99_us: 3 });
        let report = traffic.report();
        let both = TunnelTraffic { rtt_us: 6, packets_sent: 14, added_p99_us: 9, ..tunnel };
        let drops = |reason: &str, count| DropCount { reason: reason.into(), count };
        assert_eq!(report.drops, [drops("unproven", 3)]);
        assert_eq!(report.servers[0].drops, [drops("unproven", 2), drops("port_full", 2)]);
        assert_eq!(report.tunnels, [both, other]);
        assert_eq!((report.added_p50_us, report.added_p99_us), (1, 3));
    }
}
