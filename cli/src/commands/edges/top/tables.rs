//! The tables of `muster edges top`: regions, edges, and the busiest servers. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster_protocol::api::{EdgeTraffic, ServerTraffic, Traffic};
use muster_protocol::id::ServerId;

use super::Look;
use crate::output::{self, size};

/// What `look` saw, with at most `servers` servers; with `fit` no wider than the terminal.
pub(super) fn text(look: &Look, servers: usize, fit: bool) -> String {
    let mut parts = vec![summary(look)];
    if !look.edges.is_empty() {
        parts.push(regions(&look.edges, fit));
        parts.push(edges(&look.edges, fit));
    }
    let busiest = busiest(&look.edges, servers);
    if !busiest.is_empty() {
        parts.push(busiest_servers(&busiest, fit));
    }
    parts.join("\n\n")
}

fn summary(look: &Look) -> String {
    if look.edges.is_empty() && look.silent == 0 {
        return "no edges; `muster token create --join edge --region REGION`, then `muster edge` somewhere"
            .to_owned();
    }
    let mut text = format!("{} connected, {} not", edges_in_words(look.edges.len()), look.silent);
    if look.passed_over > 0 {
        let _ = write!(text, ", {} not asked: narrow it with --region", look.passed_over);
    }
    text
}

fn edges_in_words(count: usize) -> String {
    if count == 1 { "1 edge".to_owned() } else { format!("{count} edges") }
}

/// The cells that a region, an edge and a server have alike.
const TRAFFIC: [&str; 6] = ["flows", "to servers/s", "to clients/s", "in/s", "out/s", "drops/s"];

fn cells(of: &Traffic) -> [String; 6] {
    [
        of.flows.to_string(),
        of.packets_to_servers_per_s.to_string(),
        of.packets_to_clients_per_s.to_string(),
        size(of.bytes_to_servers_per_s),
        size(of.bytes_to_clients_per_s),
        of.drops_per_s.to_string(),
    ]
}

fn regions(edges: &[EdgeTraffic], fit: bool) -> String {
    let mut regions: BTreeMap<&str, (usize, Traffic)> = BTreeMap::new();
    for edge in edges {
        let (count, traffic) = regions.entry(&edge.region).or_default();
        *count += 1;
        add(traffic, &edge.total);
    }
    let rows = regions.iter().map(|(region, (count, traffic))| {
        [(*region).to_owned(), count.to_string()].into_iter().chain(cells(traffic)).collect()
    });
    output::text(&[&["region", "edges"][..], &TRAFFIC].concat(), rows.collect(), fit)
}

fn edges(edges: &[EdgeTraffic], fit: bool) -> String {
    let rows = edges.iter().map(|edge| {
        let worst = |of: fn(&muster_protocol::api::TunnelTraffic) -> u32| edge.tunnels.iter().map(of).max();
        let measured = |micros: Option<u32>| micros.map_or_else(|| "-".to_owned(), micros_in_words);
        // An edge that has measured nothing yet says 0.
        let added = |micros| measured(Some(micros).filter(|micros| *micros > 0));
        let mostly = edge.drops.first().map(|drops| format!("{} ({})", drops.reason, drops.count));
        let lost = worst(|tunnel| tunnel.lost_ppm);
        [edge.name.clone(), edge.region.clone(), edge.servers_routed.to_string()]
            .into_iter()
            .chain(cells(&edge.total))
            .chain([
                added(edge.added_p50_us),
                added(edge.added_p99_us),
                measured(worst(|tunnel| tunnel.rtt_us)),
                measured(worst(|tunnel| tunnel.queue_p99_us)),
                lost.map_or_else(|| "-".to_owned(), |ppm| format!("{:.2}%", f64::from(ppm) / 10_000.0)),
                mostly.unwrap_or_default(),
            ])
            .collect()
    });
    let tail = ["added p50", "added p99", "tunnel rtt", "queue p99", "tunnel loss", "dropped most"];
    output::text(&[&["edge", "region", "servers"][..], &TRAFFIC, &tail].concat(), rows.collect(), fit)
}

/// The servers of all edges, those that several have once, the busiest first.
fn busiest(edges: &[EdgeTraffic], most: usize) -> Vec<ServerTraffic> {
    let mut servers: BTreeMap<ServerId, ServerTraffic> = BTreeMap::new();
    for server in edges.iter().flat_map(|edge| &edge.servers) {
        match servers.get_mut(&server.server) {
            Some(known) => add(&mut known.traffic, &server.traffic),
            None => drop(servers.insert(server.server, server.clone())),
        }
    }
    let packets = |of: &Traffic| of.packets_to_servers_per_s + of.packets_to_clients_per_s;
    let mut servers: Vec<_> = servers.into_values().collect();
    servers.sort_by_key(|server| Reverse((packets(&server.traffic), server.traffic.flows)));
    servers.truncate(most);
    servers
}

fn busiest_servers(servers: &[ServerTraffic], fit: bool) -> String {
    let rows = servers.iter().map(|server| {
        [server.server.to_string(), server.namespace.clone(), server.fleet.clone()]
            .into_iter()
            .chain(cells(&server.traffic))
            .collect()
    });
    output::text(&[&["server", "namespace", "fleet"][..], &TRAFFIC].concat(), rows.collect(), fit)
}

fn add(to: &mut Traffic, other: &Traffic) {
    to.flows += other.flows;
    to.packets_to_servers_per_s += other.packets_to_servers_per_s;
    to.packets_to_clients_per_s += other.packets_to_clients_per_s;
    to.bytes_to_servers_per_s += other.bytes_to_servers_per_s;
    to.bytes_to_clients_per_s += other.bytes_to_clients_per_s;
    to.drops_per_s += other.drops_per_s;
}

fn micros_in_words(micros: u32) -> String {
    if micros < 1_000 { format!("{micros} us") } else { format!("{:.1} ms", f64::from(micros) / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::api::{Drops, TunnelTraffic};
    use muster_protocol::id::{EdgeId, NodeId};

    fn traffic(packets: u64) -> Traffic {
        Traffic { flows: 1, packets_to_servers_per_s: packets, ..Traffic::default() }
    }

    fn server(server: ServerId, packets: u64) -> ServerTraffic {
        let (namespace, fleet) = ("arena/prod".into(), "duel".into());
        ServerTraffic { server, namespace, fleet, traffic: traffic(packets) }
    }

    fn edge(name: &str, region: &str, servers: Vec<ServerTraffic>) -> EdgeTraffic {
        let tunnel = TunnelTraffic {
            node: NodeId::new(),
            rtt_us: 1_500,
            packets_sent_per_s: 9,
            packets_lost: 1,
            lost_ppm: 12_500,
            datagrams_dropped: 0,
            queue_p99_us: 80,
            mtu: 1_452,
        };
        let mut total = Traffic::default();
        for server in &servers {
            add(&mut total, &server.traffic);
        }
        EdgeTraffic {
            edge: EdgeId::new(),
            name: name.into(),
            region: region.into(),
            at_ms: 1,
            over_ms: 2_000,
            total,
            added_p50_us: 40,
            added_p99_us: 0,
            tunnels: vec![tunnel],
            drops: vec![Drops { reason: "unproven".into(), count: 7, per_s: 0 }],
            servers_routed: servers.len() as u32,
            servers,
        }
    }

    /// The words of the first line that begins with `word`.
    fn row<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(word));
        line.unwrap_or_else(|| panic!("no {word} in\n{text}")).split_whitespace().collect()
    }

    #[test]
    fn regions_and_servers_are_summed_over_edges() {
        let (shared, small) = (ServerId::new(), ServerId::new());
        let edges = vec![
            edge("one", "eu", vec![server(shared, 300), server(small, 400)]),
            edge("two", "eu", vec![server(shared, 300)]),
            edge("three", "us", Vec::new()),
        ];
        let text = text(&Look { edges, silent: 1, passed_over: 0 }, 1, false);
        assert!(text.starts_with("3 edges connected, 1 not\n"), "{text}");
        assert_eq!(row(&text, "eu")[..4], ["eu", "2", "3", "1000"]);
        assert_eq!(row(&text, "us")[..4], ["us", "1", "0", "0"]);
        let busiest = row(&text, &shared.to_string());
        assert_eq!(busiest[1..5], ["arena/prod", "duel", "2", "600"]);
        assert!(!text.contains(&small.to_string()), "one server was asked for:\n{text}");
        let one = row(&text, "one").join(" ");
        for told in ["40 us - 1.5 ms 80 us 1.25%", "unproven (7)"] {
            assert!(one.contains(told), "{told} in {one}");
        }
    }

    #[test]
    fn without_edges_it_says_how_to_get_one() {
        let text = text(&Look { edges: Vec::new(), silent: 0, passed_over: 0 }, 20, false);
        assert!(text.contains("muster token create"), "{text}");
    }
}
