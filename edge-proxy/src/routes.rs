//! Routes: which server and port each listening port leads to. Pure: tables in, tables out.
//!
//! A table is immutable and replaced whole. What the orchestrator asks for that cannot be served is
//! kept beside the routes as failures, so that the answer to a table always tells all of them.
//! Opening sockets is `listeners`'.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use muster_protocol::agent::PortProtocol;
use muster_protocol::edge::{self as wire, RouteFailure};
use muster_protocol::id::{NodeId, ServerId};

/// What a listening port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    /// UDP packets.
    Udp,
    /// TCP connections.
    Tcp,
    /// WebSocket over TCP, with or without TLS.
    WebSocket,
}

impl Protocol {
    fn from_wire(protocol: i32) -> Option<Self> {
        match PortProtocol::try_from(protocol).ok()? {
            PortProtocol::Udp => Some(Self::Udp),
            PortProtocol::Tcp => Some(Self::Tcp),
            PortProtocol::Ws => Some(Self::WebSocket),
            PortProtocol::Unspecified => None,
        }
    }

    fn to_wire(self) -> PortProtocol {
        match self {
            Self::Udp => PortProtocol::Udp,
            Self::Tcp => PortProtocol::Tcp,
            Self::WebSocket => PortProtocol::Ws,
        }
    }
}

/// What names a route: a port of the edge and what it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouteKey {
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
            Protocol::WebSocket => "ws",
        };
        write!(f, "{protocol}/{}", self.port)
    }
}

/// What a client must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing.
    Open,
    /// A session token before anything else.
    Preface,
    /// The same, or on UDP a token from another socket of the client's address.
    Claim,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) key: RouteKey,
    pub(crate) server: ServerId,
    pub(crate) port_name: String,
    pub(crate) port_index: u8,
    pub(crate) proof: Proof,
    pub(crate) tls: bool,
    pub(crate) proxy_protocol: bool,
    pub(crate) node: NodeId,
    pub(crate) tunnel_addresses: Vec<String>,
}

impl Route {
    fn parse(route: &wire::Route) -> Result<Self, &'static str> {
        let key = route.key.as_ref().ok_or("it has no key")?;
        Ok(Self {
            key: RouteKey {
                port: u16::try_from(key.edge_port).map_err(|_| "its port is over 65535")?,
                protocol: Protocol::from_wire(key.protocol).ok_or("its protocol is not known here")?,
            },
            server: route.server_id.parse().map_err(|_| "its server_id is no server's")?,
            port_name: route.port_name.clone(),
            port_index: u8::try_from(route.port_index).map_err(|_| "its port_index is over 255")?,
            proof: match wire::TokenMode::try_from(route.token_mode) {
                Ok(wire::TokenMode::Open) => Proof::Open,
                Ok(wire::TokenMode::Preface) => Proof::Preface,
                Ok(wire::TokenMode::Claim) => Proof::Claim,
                _ => return Err("its token_mode is not known here"),
            },
            tls: route.tls,
            proxy_protocol: route.proxy_protocol,
            node: route.node_id.parse().map_err(|_| "its node_id is no node's")?,
            tunnel_addresses: route.tunnel_addresses.clone(),
        })
    }

    /// Whether a listener of `self` also serves `other`: everything but the tunnel's addresses is equal.
    pub(crate) fn same_listener(&self, other: &Self) -> bool {
        Self { tunnel_addresses: other.tunnel_addresses.clone(), ..self.clone() } == *other
    }

    fn to_wire(&self) -> wire::Route {
        wire::Route {
            key: Some(wire::RouteKey {
                edge_port: u32::from(self.key.port),
                protocol: self.key.protocol.to_wire().into(),
            }),
            server_id: self.server.to_string(),
            port_name: self.port_name.clone(),
            port_index: u32::from(self.port_index),
            token_mode: match self.proof {
                Proof::Open => wire::TokenMode::Open,
                Proof::Preface => wire::TokenMode::Preface,
                Proof::Claim => wire::TokenMode::Claim,
            }
            .into(),
            tls: self.tls,
            proxy_protocol: self.proxy_protocol,
            node_id: self.node.to_string(),
            tunnel_addresses: self.tunnel_addresses.clone(),
        }
    }
}

/// Names a route of the orchestrator's even if its fields make no sense: port and protocol as sent.
type WireKey = (u32, i32);

/// All routes of an edge. Routes that are not changed by an update stay the same allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    revision: u64,
    routes: BTreeMap<RouteKey, Arc<Route>>,
    rejected: BTreeMap<WireKey, RouteFailure>,
}

impl RouteTable {
    /// The table after `update`; `ports` are those this edge may listen on.
    pub(crate) fn apply(&self, update: &wire::RouteTable, ports: &RangeInclusive<u16>) -> Self {
        let mut next = if update.full {
            Self { revision: update.revision, ..Self::default() }
        } else {
            Self { revision: update.revision, ..self.clone() }
        };
        for key in &update.remove {
            next.rejected.remove(&(key.edge_port, key.protocol));
            if let (Ok(port), Some(protocol)) =
                (u16::try_from(key.edge_port), Protocol::from_wire(key.protocol))
            {
                next.routes.remove(&RouteKey { port, protocol });
            }
        }
        for route in &update.routes {
            next.put(route, self, ports);
        }
        next
    }

    fn put(&mut self, route: &wire::Route, previous: &Self, ports: &RangeInclusive<u16>) {
        let wire_key = route.key.as_ref().map_or((0, 0), |key| (key.edge_port, key.protocol));
        self.rejected.remove(&wire_key);
        let rejection = match Route::parse(route) {
            Ok(parsed) if ports.contains(&parsed.key.port) => {
                let unchanged = previous.routes.get(&parsed.key).filter(|before| ***before == parsed);
                let shared = unchanged.map_or_else(|| Arc::new(parsed.clone()), Arc::clone);
                self.routes.insert(parsed.key, shared);
                return;
            }
            Ok(parsed) => {
                // Whatever the port served before is not what is asked for now.
                self.routes.remove(&parsed.key);
                let (first, last) = (ports.start(), ports.end());
                let detail = format!(
                    "port {} is outside this edge's range {first}-{last}; choose a port within it, or widen \
                     port_first and port_last in the edge's configuration",
                    parsed.key.port
                );
                ("port_outside_range", detail)
            }
            Err(why) => (
                "route_invalid",
                format!("the route cannot be served: {why}; edge and orchestrator may differ in version"),
            ),
        };
        self.rejected.insert(wire_key, wire_failure(route, wire_key, rejection));
    }

    /// Which update the table is of.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The routes, by key.
    pub(crate) fn routes(&self) -> &BTreeMap<RouteKey, Arc<Route>> {
        &self.routes
    }

    /// What was asked for and cannot be served whatever the sockets say.
    pub(crate) fn rejected(&self) -> impl Iterator<Item = &RouteFailure> {
        self.rejected.values()
    }

    /// Every node that routes lead to, and where its agent takes tunnels.
    pub(crate) fn agents(&self) -> BTreeMap<NodeId, Vec<String>> {
        self.routes.values().map(|route| (route.node, route.tunnel_addresses.clone())).collect()
    }

    /// The table as one full update, for keeping on disk.
    pub(crate) fn to_wire(&self) -> wire::RouteTable {
        wire::RouteTable {
            revision: self.revision,
            full: true,
            routes: self.routes.values().map(|route| route.to_wire()).collect(),
            remove: Vec::new(),
        }
    }
}

fn wire_failure(route: &wire::Route, key: WireKey, (code, detail): (&str, String)) -> RouteFailure {
    RouteFailure {
        edge_port: key.0,
        protocol: key.1,
        server_id: route.server_id.clone(),
        code: code.to_owned(),
        detail,
    }
}

/// The failure of a route whose listener could not be opened.
pub(crate) fn listener_failure(route: &Route, code: &str, detail: String) -> RouteFailure {
    let key = (u32::from(route.key.port), route.key.protocol.to_wire().into());
    wire_failure(&route.to_wire(), key, (code, detail))
}

/// What has to be done so that exactly the routes of a table are served.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Listeners to close, before any is opened: the same port may be opened again for another server.
    pub(crate) close: Vec<RouteKey>,
    /// Routes to open a listener for.
    pub(crate) open: Vec<Arc<Route>>,
}

/// How to get from `open` listeners to `wanted` routes.
pub(crate) fn changes(
    open: &BTreeMap<RouteKey, Arc<Route>>,
    wanted: &BTreeMap<RouteKey, Arc<Route>>,
) -> Changes {
    let serves = |key: &RouteKey, route: &Route| open.get(key).is_some_and(|now| now.same_listener(route));
    let wanted_still =
        |key: &RouteKey, now: &Route| wanted.get(key).is_some_and(|route| now.same_listener(route));
    Changes {
        close: open.iter().filter(|(key, now)| !wanted_still(key, now)).map(|(key, _)| *key).collect(),
        open: wanted
            .iter()
            .filter(|(key, route)| !serves(key, route))
            .map(|(_, route)| route.clone())
            .collect(),
    }
}

#[cfg(test)]
impl Route {
    /// A route to a new server on a new node, for tests.
    pub(crate) fn to_new_server(key: RouteKey, proof: Proof) -> Self {
        Self {
            key,
            server: ServerId::new(),
            port_name: "game".into(),
            port_index: 0,
            proof,
            tls: false,
            proxy_protocol: false,
            node: NodeId::new(),
            tunnel_addresses: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: RangeInclusive<u16> = 20_000..=20_999;

    fn route(port: u32, protocol: PortProtocol, server: ServerId) -> wire::Route {
        wire::Route {
            key: Some(wire::RouteKey { edge_port: port, protocol: protocol.into() }),
            server_id: server.to_string(),
            port_name: "game".into(),
            token_mode: wire::TokenMode::Preface.into(),
            node_id: NodeId::new().to_string(),
            tunnel_addresses: vec!["10.0.0.1:7802".into()],
            ..Default::default()
        }
    }

    fn full(revision: u64, routes: Vec<wire::Route>) -> wire::RouteTable {
        wire::RouteTable { revision, full: true, routes, remove: vec![] }
    }

    fn codes(table: &RouteTable) -> Vec<&str> {
        table.rejected().map(|failure| failure.code.as_str()).collect()
    }

    #[test]
    fn a_delta_adds_replaces_and_removes() {
        let (a, b, c) = (ServerId::new(), ServerId::new(), ServerId::new());
        let routes = vec![route(20_000, PortProtocol::Udp, a), route(20_001, PortProtocol::Tcp, a)];
        let first = RouteTable::default().apply(&full(1, routes), &PORTS);
        let delta = wire::RouteTable {
            revision: 2,
            full: false,
            routes: vec![route(20_000, PortProtocol::Udp, b), route(20_002, PortProtocol::Ws, c)],
            remove: vec![wire::RouteKey { edge_port: 20_001, protocol: PortProtocol::Tcp.into() }],
        };
        let second = first.apply(&delta, &PORTS);
        let servers: Vec<_> = second.routes().values().map(|route| route.server).collect();
        assert_eq!((second.revision(), servers), (2, vec![b, c]));
        let changes = changes(first.routes(), second.routes());
        assert_eq!(changes.close.iter().map(|key| key.port).collect::<Vec<_>>(), [20_000, 20_001]);
        assert_eq!(changes.open.iter().map(|route| route.key.port).collect::<Vec<_>>(), [20_000, 20_002]);
    }

    #[test]
    fn the_same_table_again_changes_nothing() {
        let update = full(1, vec![route(20_000, PortProtocol::Udp, ServerId::new())]);
        let first = RouteTable::default().apply(&update, &PORTS);
        let again = first.apply(&wire::RouteTable { revision: 2, ..update }, &PORTS);
        assert_eq!(changes(first.routes(), again.routes()), Changes::default());
        let key = RouteKey { port: 20_000, protocol: Protocol::Udp };
        assert!(Arc::ptr_eq(&first.routes()[&key], &again.routes()[&key]));
    }

    #[test]
    fn new_tunnel_addresses_keep_the_listener() {
        let mut update = full(1, vec![route(20_000, PortProtocol::Udp, ServerId::new())]);
        let first = RouteTable::default().apply(&update, &PORTS);
        update.routes[0].tunnel_addresses = vec!["10.0.0.2:7802".into()];
        let moved = first.apply(&update, &PORTS);
        assert_eq!(changes(first.routes(), moved.routes()), Changes::default());
        assert_eq!(moved.agents().into_values().next().unwrap(), ["10.0.0.2:7802"]);
    }

    #[test]
    fn a_port_outside_the_range_is_refused_until_it_is_removed() {
        let outside = route(19_999, PortProtocol::Udp, ServerId::new());
        let table = RouteTable::default().apply(&full(1, vec![outside]), &PORTS);
        assert_eq!(codes(&table), ["port_outside_range"]);
        let unrelated = wire::RouteTable { revision: 2, ..Default::default() };
        assert_eq!(codes(&table.apply(&unrelated, &PORTS)), ["port_outside_range"]);
        let remove = vec![wire::RouteKey { edge_port: 19_999, protocol: PortProtocol::Udp.into() }];
        let removed = table.apply(&wire::RouteTable { revision: 3, remove, ..Default::default() }, &PORTS);
        assert!(codes(&removed).is_empty());
    }

    #[test]
    fn nonsense_is_a_failure_and_the_rest_is_served() {
        let mut nameless = route(20_000, PortProtocol::Udp, ServerId::new());
        nameless.server_id = "node_01h455vb4pex5vsknk084sn02q".into();
        let good = route(20_001, PortProtocol::Udp, ServerId::new());
        let table =
            RouteTable::default().apply(&full(1, vec![nameless, good, wire::Route::default()]), &PORTS);
        assert_eq!(codes(&table), ["route_invalid", "route_invalid"]);
        assert_eq!(table.routes().len(), 1);
    }

    #[test]
    fn a_table_survives_the_disk() {
        let routes = vec![
            route(20_000, PortProtocol::Udp, ServerId::new()),
            route(20_001, PortProtocol::Ws, ServerId::new()),
        ];
        let table = RouteTable::default().apply(&full(7, routes), &PORTS);
        let again = RouteTable::default().apply(&table.to_wire(), &PORTS);
        assert_eq!((again.revision(), again.routes()), (7, table.routes()));
    }
}
