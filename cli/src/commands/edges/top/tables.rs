//! The tables of `muster edges top`: regions, edges, and the busiest servers. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster_protocol::api::{Drops, EdgeTraffic, ServerTraffic, Traffic, TunnelTraffic};
use muster_protocol::id::ServerId;

use super::Look;
use crate::output::{self, size};

/// Reasons for drops that a row names, the most frequent first.
const REASONS_IN_A_ROW: usize = 3;
/// Reasons that a region's own rows name.
const REASONS_OF_A_REGION: usize = 8;

/// What `look` saw, with at most `servers` servers; with `fit` no wider than the terminal.
pub(super) fn text(look: &Look, servers: usize, fit: bool) -> String {
    let mut parts = vec![summary(look)];
    if !look.edges.is_empty() {
        let regions = regions(&look.edges);
        parts.push(regions_in_rows(&regions, fit));
        parts.extend(drops_of_regions(&regions, fit));
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

/// What lies between a player and a server, of the tunnel that is worst; nothing where none was measured.
#[derive(Clone, Default)]
struct Way {
    added_p50_us: u32,
    added_p99_us: u32,
    // Round trip, waiting, and loss in a million.
    tunnel: Option<[u32; 3]>,
}

const WAY: [&str; 5] = ["added p50", "added p99", "tunnel rtt", "queue p99", "tunnel loss"];

impl Way {
    /// Through an edge as a whole.
    fn through(edge: &EdgeTraffic) -> Self {
        let mut way = Self::default();
        edge.tunnels.iter().for_each(|tunnel| way.or(&Self::of(tunnel)));
        // Not the worst tunnel's: the edge measures it over all.
        Self { added_p50_us: edge.added_p50_us, added_p99_us: edge.added_p99_us, ..way }
    }

    fn of(tunnel: &TunnelTraffic) -> Self {
        Self {
            added_p50_us: tunnel.added_p50_us,
            added_p99_us: tunnel.added_p99_us,
            tunnel: Some([tunnel.rtt_us, tunnel.queue_p99_us, tunnel.lost_ppm]),
        }
    }

    /// The worse of both, each figure by itself.
    fn or(&mut self, other: &Self) {
        self.added_p50_us = self.added_p50_us.max(other.added_p50_us);
        self.added_p99_us = self.added_p99_us.max(other.added_p99_us);
        self.tunnel = match (self.tunnel, other.tunnel) {
            (Some(one), Some(other)) => Some(std::array::from_fn(|at| one[at].max(other[at]))),
            (one, other) => one.or(other),
        };
    }

    fn cells(&self) -> [String; 5] {
        let measured = |micros: Option<u32>| micros.map_or_else(|| "-".to_owned(), micros_in_words);
        // An edge that has measured nothing yet says 0.
        let added = |micros| measured(Some(micros).filter(|micros| *micros > 0));
        let lost = self.tunnel.map(|[.., ppm]| format!("{:.2}%", f64::from(ppm) / 10_000.0));
        [
            added(self.added_p50_us),
            added(self.added_p99_us),
            measured(self.tunnel.map(|[rtt, ..]| rtt)),
            measured(self.tunnel.map(|[_, queue, _]| queue)),
            lost.unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

/// The edges of a region together.
#[derive(Default)]
struct Region {
    edges: usize,
    traffic: Traffic,
    way: Way,
    drops: Vec<Drops>,
}

fn regions(edges: &[EdgeTraffic]) -> BTreeMap<&str, Region> {
    let mut regions: BTreeMap<&str, Region> = BTreeMap::new();
    for edge in edges {
        let region = regions.entry(&edge.region).or_default();
        region.edges += 1;
        add(&mut region.traffic, &edge.total);
        region.way.or(&Way::through(edge));
        add_drops(&mut region.drops, &edge.drops);
    }
    regions
}

fn regions_in_rows(regions: &BTreeMap<&str, Region>, fit: bool) -> String {
    let rows = regions.iter().map(|(name, region)| {
        let name = [(*name).to_owned(), region.edges.to_string()];
        name.into_iter().chain(cells(&region.traffic)).chain(region.way.cells()).collect()
    });
    output::text(&[&["region", "edges"][..], &TRAFFIC, &WAY].concat(), rows.collect(), fit)
}

/// Why something went no further, by region; `None` if all did.
fn drops_of_regions(regions: &BTreeMap<&str, Region>, fit: bool) -> Option<String> {
    let of_region = |(name, region): (&&str, &Region)| {
        let row = |drops: &Drops| {
            vec![(*name).to_owned(), drops.reason.clone(), drops.per_s.to_string(), drops.count.to_string()]
        };
        region.drops.iter().take(REASONS_OF_A_REGION).map(row).collect::<Vec<_>>()
    };
    let rows: Vec<_> = regions.iter().flat_map(of_region).collect();
    (!rows.is_empty()).then(|| output::text(&["region", "dropped for", "drops/s", "drops"], rows, fit))
}

fn edges(edges: &[EdgeTraffic], fit: bool) -> String {
    let rows = edges.iter().map(|edge| {
        [edge.name.clone(), edge.region.clone(), edge.servers_routed.to_string()]
            .into_iter()
            .chain(cells(&edge.total))
            .chain(Way::through(edge).cells())
            .chain([most_dropped(&edge.drops)])
            .collect()
    });
    let head = ["edge", "region", "servers"];
    output::text(&[&head[..], &TRAFFIC, &WAY, &["dropped most"]].concat(), rows.collect(), fit)
}

/// The most frequent reasons, with what each has now and has had.
fn most_dropped(drops: &[Drops]) -> String {
    let told = drops.iter().take(REASONS_IN_A_ROW);
    let told = told.map(|drops| format!("{} {}/s ({})", drops.reason, drops.per_s, drops.count));
    told.collect::<Vec<_>>().join(", ")
}

/// A server, through all edges together.
struct Busy {
    server: ServerTraffic,
    way: Way,
}

/// The servers of all edges, those that several have once, the busiest first.
fn busiest(edges: &[EdgeTraffic], most: usize) -> Vec<Busy> {
    let mut servers: BTreeMap<ServerId, Busy> = BTreeMap::new();
    for server in edges.iter().flat_map(|edge| &edge.servers) {
        let way = server.tunnel.as_ref().map(Way::of).unwrap_or_default();
        match servers.get_mut(&server.server) {
            Some(known) => {
                add(&mut known.server.traffic, &server.traffic);
                add_drops(&mut known.server.drops, &server.drops);
                known.way.or(&way);
            }
            None => drop(servers.insert(server.server, Busy { server: server.clone(), way })),
        }
    }
    let packets = |of: &Traffic| of.packets_to_servers_per_s + of.packets_to_clients_per_s;
    let mut servers: Vec<_> = servers.into_values().collect();
    servers.sort_by_key(|busy| Reverse((packets(&busy.server.traffic), busy.server.traffic.flows)));
    servers.truncate(most);
    servers
}

fn busiest_servers(servers: &[Busy], fit: bool) -> String {
    let rows = servers.iter().map(|Busy { server, way }| {
        [server.server.to_string(), server.namespace.clone(), server.fleet.clone()]
            .into_iter()
            .chain(cells(&server.traffic))
            .chain(way.cells())
            .chain([most_dropped(&server.drops)])
            .collect()
    });
    let head = ["server", "namespace", "fleet"];
    output::text(&[&head[..], &TRAFFIC, &WAY, &["dropped most"]].concat(), rows.collect(), fit)
}

fn add(to: &mut Traffic, other: &Traffic) {
    to.flows += other.flows;
    to.packets_to_servers_per_s += other.packets_to_servers_per_s;
    to.packets_to_clients_per_s += other.packets_to_clients_per_s;
    to.bytes_to_servers_per_s += other.bytes_to_servers_per_s;
    to.bytes_to_clients_per_s += other.bytes_to_clients_per_s;
    to.drops_per_s += other.drops_per_s;
}

/// Adds `more` by reason, and puts the most frequent now in front.
fn add_drops(to: &mut Vec<Drops>, more: &[Drops]) {
    for more in more {
        match to.iter_mut().find(|known| known.reason == more.reason) {
            Some(known) => {
                known.count += more.count;
                known.per_s += more.per_s;
            }
            None => to.push(more.clone()),
        }
    }
    to.sort_by_key(|drops| Reverse((drops.per_s, drops.count)));
}

fn micros_in_words(micros: u32) -> String {
    if micros < 1_000 { format!("{micros} us") } else { format!("{:.1} ms", f64::from(micros) / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::id::{EdgeId, NodeId};

    fn traffic(packets: u64) -> Traffic {
        Traffic { flows: 1, packets_to_servers_per_s: packets, ..Traffic::default() }
    }

    fn server(server: ServerId, packets: u64) -> ServerTraffic {
        let (namespace, fleet) = ("arena/prod".into(), "duel".into());
        let (tunnel, drops) = (Some(tunnel()), vec![drops("unproven", 2), drops("port_full", 1)]);
        ServerTraffic { server, namespace, fleet, traffic: traffic(packets), drops, tunnel }
    }

    fn drops(reason: &str, count: u64) -> Drops {
        Drops { reason: reason.into(), count, per_s: count }
    }

    fn tunnel() -> TunnelTraffic {
        TunnelTraffic {
            node: NodeId::new(),
            rtt_us: 1_500,
            packets_sent_per_s: 9,
            packets_lost: 1,
            lost_ppm: 12_500,
            datagrams_dropped: 0,
            queue_p99_us: 80,
            mtu: 1_452,
            added_p50_us: 45,
            added_p99_us: 95,
        }
    }

    fn edge(name: &str, region: &str, servers: Vec<ServerTraffic>) -> EdgeTraffic {
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
            tunnels: vec![tunnel()],
            drops: vec![drops("unproven", 7), drops(&format!("of_{name}"), 5)],
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
        let busiest = busiest.join(" ");
        for told in ["45 us 95 us 1.5 ms 80 us 1.25%", "unproven 4/s (4), port_full 2/s (2)"] {
            assert!(busiest.contains(told), "{told} in {busiest}");
        }
        assert!(!text.contains(&small.to_string()), "one server was asked for:\n{text}");
        let one = row(&text, "one").join(" ");
        for told in ["40 us - 1.5 ms 80 us 1.25%", "unproven 7/s (7), of_one 5/s (5)"] {
            assert!(one.contains(told), "{told} in {one}");
        }
        assert!(row(&text, "eu").join(" ").ends_with("40 us - 1.5 ms 80 us 1.25%"), "{text}");
        let by_reason: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|row| row.len() == 4 && row[0] == "eu")
            .collect();
        let of_eu = [["eu", "unproven", "14", "14"], ["eu", "of_one", "5", "5"], ["eu", "of_two", "5", "5"]];
        assert_eq!(by_reason, of_eu, "{text}");
    }

    #[test]
    fn without_edges_it_says_how_to_get_one() {
        let text = text(&Look { edges: Vec::new(), silent: 0, passed_over: 0 }, 20, false);
        assert!(text.contains("muster token create"), "{text}");
    }
}
