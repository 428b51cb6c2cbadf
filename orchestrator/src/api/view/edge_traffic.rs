//! What goes through an edge now, from its last two reports.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use muster_protocol::api::{Drops, EdgeTraffic, MAX_BUSIEST, ServerTraffic, Traffic, TunnelTraffic};
use muster_protocol::edge::{self as wire, EdgeReport};
use muster_protocol::id::ServerId;
use muster_protocol::peer::HeardReport;

use crate::links::Reports;
use crate::records::EdgeRecord;

/// The edge's traffic, with servers that have neither namespace, fleet nor tunnel yet.
pub(crate) fn edge_traffic(record: &EdgeRecord, reports: &Reports) -> EdgeTraffic {
    let (at_ms, latest) = reports.latest.as_deref().map(told).unwrap_or_default();
    let (earlier_ms, earlier) = reports.earlier.as_deref().map_or_else(|| (at_ms, latest.clone()), told);
    let pace = Pace { over_ms: at_ms.saturating_sub(earlier_ms) };
    let (servers, servers_routed) = servers(&pace, &earlier.servers, &latest.servers);
    let drops = drops(&pace, &earlier.drops, &latest.drops);
    let total = Traffic {
        drops_per_s: drops.iter().map(|drops| drops.per_s).sum(),
        ..servers.iter().map(|server| server.traffic).fold(Traffic::default(), sum)
    };
    EdgeTraffic {
        edge: record.typed_id(),
        name: record.name.clone(),
        region: record.region.clone(),
        at_ms,
        over_ms: pace.over_ms,
        total,
        added_p50_us: latest.added_p50_us,
        added_p99_us: latest.added_p99_us,
        tunnels: tunnels(&pace, &earlier.tunnels, &latest.tunnels),
        drops,
        servers: servers.into_iter().take(MAX_BUSIEST).collect(),
        servers_routed,
    }
}

fn told(heard: &HeardReport) -> (u64, EdgeReport) {
    (heard.at_ms, heard.report.clone().unwrap_or_default())
}

/// Time between two reports.
struct Pace {
    over_ms: u64,
}

impl Pace {
    /// How much `now` is more than `before`, per second. A count that fell has begun anew since.
    fn of(&self, before: u64, now: u64) -> u64 {
        let more = grown(before, now);
        more.saturating_mul(1_000).checked_div(self.over_ms).unwrap_or(0)
    }
}

fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn sum(one: Traffic, other: Traffic) -> Traffic {
    Traffic {
        flows: one.flows.saturating_add(other.flows),
        packets_to_servers_per_s: one.packets_to_servers_per_s.saturating_add(other.packets_to_servers_per_s),
        packets_to_clients_per_s: one.packets_to_clients_per_s.saturating_add(other.packets_to_clients_per_s),
        bytes_to_servers_per_s: one.bytes_to_servers_per_s.saturating_add(other.bytes_to_servers_per_s),
        bytes_to_clients_per_s: one.bytes_to_clients_per_s.saturating_add(other.bytes_to_clients_per_s),
        drops_per_s: one.drops_per_s.saturating_add(other.drops_per_s),
    }
}

/// Every server, the busiest first, and how many there are.
fn servers(
    pace: &Pace,
    earlier: &[wire::ServerTraffic],
    latest: &[wire::ServerTraffic],
) -> (Vec<ServerTraffic>, u32) {
    let none = wire::ServerTraffic::default();
    let before: HashMap<_, _> = earlier.iter().map(|server| (server.server_id.as_str(), server)).collect();
    let mut servers: Vec<_> = latest
        .iter()
        .filter_map(|now| {
            let server: ServerId = now.server_id.parse().ok()?;
            // One that is new has its whole count since then.
            let was = before.get(now.server_id.as_str()).copied().unwrap_or(&none);
            let drops = drops(pace, &was.drops, &now.drops);
            let traffic = Traffic {
                flows: now.flows,
                packets_to_servers_per_s: pace.of(was.packets_to_server, now.packets_to_server),
                packets_to_clients_per_s: pace.of(was.packets_to_clients, now.packets_to_clients),
                bytes_to_servers_per_s: pace.of(was.bytes_to_server, now.bytes_to_server),
                bytes_to_clients_per_s: pace.of(was.bytes_to_clients, now.bytes_to_clients),
                drops_per_s: drops.iter().map(|drops| drops.per_s).sum(),
            };
            let (namespace, fleet) = (String::new(), String::new());
            Some(ServerTraffic { server, namespace, fleet, traffic, drops, tunnel: None })
        })
        .collect();
    servers.sort_unstable_by_key(|server| {
        let of = &server.traffic;
        let packets = of.packets_to_servers_per_s.saturating_add(of.packets_to_clients_per_s);
        (Reverse((packets, of.flows)), server.server)
    });
    let count = u32::try_from(servers.len()).unwrap_or(u32::MAX);
    (servers, count)
}

fn tunnels(
    pace: &Pace,
    earlier: &[wire::TunnelTraffic],
    latest: &[wire::TunnelTraffic],
) -> Vec<TunnelTraffic> {
    let none = wire::TunnelTraffic::default();
    let of_node = |node: &str| earlier.iter().find(|tunnel| tunnel.node_id == node).unwrap_or(&none);
    let tunnels = latest.iter().filter_map(|now| {
        let was = of_node(&now.node_id);
        let sent = grown(was.packets_sent, now.packets_sent);
        let lost = grown(was.packets_lost, now.packets_lost).saturating_mul(1_000_000);
        Some(TunnelTraffic {
            node: now.node_id.parse().ok()?,
            rtt_us: now.rtt_us,
            packets_sent_per_s: pace.of(was.packets_sent, now.packets_sent),
            packets_lost: now.packets_lost,
            // What is found lost now was sent before: of a burst that ended it may seem more than all.
            lost_ppm: lost.checked_div(sent).unwrap_or(0).min(1_000_000) as u32,
            datagrams_dropped: now.datagrams_dropped,
            queue_p99_us: now.queue_p99_us,
            mtu: now.mtu,
            added_p50_us: now.added_p50_us,
            added_p99_us: now.added_p99_us,
        })
    });
    tunnels.collect()
}

fn drops(pace: &Pace, earlier: &[wire::DropCount], latest: &[wire::DropCount]) -> Vec<Drops> {
    let before: BTreeMap<_, _> = earlier.iter().map(|drop| (drop.reason.as_str(), drop.count)).collect();
    let drops = latest.iter().map(|now| {
        let was = before.get(now.reason.as_str()).copied().unwrap_or(0);
        Drops { reason: now.reason.clone(), count: now.count, per_s: pace.of(was, now.count) }
    });
    let mut drops: Vec<_> = drops.collect();
    drops.sort_by_key(|drops| Reverse((drops.per_s, drops.count)));
    drops
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::id::{EdgeId, NodeId};
    use std::sync::Arc;

    fn record() -> EdgeRecord {
        EdgeRecord { id: Some(EdgeId::new().into()), region: "eu".into(), ..Default::default() }
    }

    fn heard(at_ms: u64, report: EdgeReport) -> Arc<HeardReport> {
        HeardReport { at_ms, report: Some(report) }.into()
    }

    fn server(id: ServerId, packets: u64) -> wire::ServerTraffic {
        let (server_id, flows) = (id.to_string(), 1);
        wire::ServerTraffic { server_id, flows, packets_to_server: packets, ..Default::default() }
    }

    fn drop(reason: &str, count: u64) -> wire::DropCount {
        wire::DropCount { reason: reason.into(), count }
    }

    #[test]
    fn drops_of_a_server_are_told_by_reason_the_most_frequent_now_first() {
        let id = ServerId::new();
        let of = |drops| EdgeReport {
            servers: vec![wire::ServerTraffic { drops, ..server(id, 0) }],
            ..Default::default()
        };
        let earlier = of(vec![drop("unproven", 900), drop("denied", 10)]);
        let latest = of(vec![drop("unproven", 900), drop("denied", 50), drop("port_full", 4)]);
        let reports = Reports { latest: Some(heard(3_000, latest)), earlier: Some(heard(1_000, earlier)) };
        let traffic = edge_traffic(&record(), &reports);
        let told: Vec<_> =
            traffic.servers[0].drops.iter().map(|of| (of.reason.as_str(), of.count, of.per_s)).collect();
        assert_eq!(told, [("denied", 50, 20), ("port_full", 4, 2), ("unproven", 900, 0)]);
        assert_eq!(traffic.servers[0].traffic.drops_per_s, 22);
    }

    #[test]
    fn rates_are_of_the_time_between_two_reports() {
        let [calm, busy, new] = [ServerId::new(), ServerId::new(), ServerId::new()];
        let node = NodeId::new();
        let tunnel = |sent, lost| wire::TunnelTraffic {
            node_id: node.to_string(),
            packets_sent: sent,
            packets_lost: lost,
            ..Default::default()
        };
        let earlier = EdgeReport {
            servers: vec![server(calm, 1_000), server(busy, 500)],
            drops: vec![drop("unproven", 10)],
            tunnels: vec![tunnel(1_000, 10)],
            ..Default::default()
        };
        let latest = EdgeReport {
            servers: vec![server(calm, 1_020), server(busy, 900), server(new, 60)],
            drops: vec![drop("unproven", 14)],
            tunnels: vec![tunnel(1_400, 12)],
            ..Default::default()
        };
        let reports = Reports { latest: Some(heard(12_000, latest)), earlier: Some(heard(10_000, earlier)) };
        let traffic = edge_traffic(&record(), &reports);
        assert_eq!((traffic.at_ms, traffic.over_ms, traffic.servers_routed), (12_000, 2_000, 3));
        let rates: Vec<_> =
            traffic.servers.iter().map(|it| (it.server, it.traffic.packets_to_servers_per_s)).collect();
        assert_eq!(rates, [(busy, 200), (new, 30), (calm, 10)]);
        assert_eq!((traffic.total.packets_to_servers_per_s, traffic.total.flows), (240, 3));
        assert_eq!((traffic.drops[0].count, traffic.drops[0].per_s, traffic.total.drops_per_s), (14, 2, 2));
        let tunnel = &traffic.tunnels[0];
        assert_eq!((tunnel.packets_sent_per_s, tunnel.packets_lost, tunnel.lost_ppm), (200, 12, 5_000));
    }

    #[test]
    fn an_edge_that_started_anew_counts_from_nothing() {
        let id = ServerId::new();
        let of = |packets| EdgeReport { servers: vec![server(id, packets)], ..Default::default() };
        let reports = Reports { latest: Some(heard(3_000, of(40))), earlier: Some(heard(1_000, of(9_000))) };
        let traffic = edge_traffic(&record(), &reports);
        assert_eq!(traffic.servers[0].traffic.packets_to_servers_per_s, 20);
    }

    #[test]
    fn the_first_report_has_no_rates_and_none_is_nothing() {
        let reports = Reports { latest: None, earlier: None };
        assert_eq!(edge_traffic(&record(), &reports).at_ms, 0);
        let one = EdgeReport { servers: vec![server(ServerId::new(), 40)], ..Default::default() };
        let reports = Reports { latest: Some(heard(3_000, one)), earlier: None };
        let traffic = edge_traffic(&record(), &reports);
        assert_eq!((traffic.over_ms, traffic.total.packets_to_servers_per_s, traffic.total.flows), (0, 0, 1));
    }

    #[test]
    fn of_many_servers_the_busiest_are_named_and_all_are_counted() {
        let latest = EdgeReport {
            servers: (0..80).map(|packets| server(ServerId::new(), packets)).collect(),
            ..Default::default()
        };
        let reports = Reports {
            latest: Some(heard(2_000, latest)),
            earlier: Some(heard(1_000, EdgeReport::default())),
        };
        let traffic = edge_traffic(&record(), &reports);
        assert_eq!(
            (traffic.servers.len(), traffic.servers_routed, traffic.total.flows),
            (MAX_BUSIEST, 80, 80)
        );
        assert_eq!(traffic.servers[0].traffic.packets_to_servers_per_s, 79);
    }
}
