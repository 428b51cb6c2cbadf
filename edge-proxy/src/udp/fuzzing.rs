//! Fuzz targets of the UDP worker's decisions: whatever clients, agents and the clock do, in whatever order, nobody gets
//! another's packets, and nothing passes unproven.
//!
//! A story is a row of steps: a byte that says what happens and to whom, and the bytes it needs. Three ports, one of each
//! token mode, lead to servers on two nodes; four addresses with two sockets each play, or try to. A model as simple
//! as the promises remembers who has shown which token where.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use muster_protocol::agent::TokenKey;
use muster_protocol::edge::{EdgeLimits, EdgeWelcome, Rates};
use muster_protocol::flow::{FlowId, FlowOwner, flow_id};
use muster_protocol::fragment::Rejoiner;
use muster_protocol::id::{NodeId, SeatId, id_from_bytes};
use muster_protocol::preface::{encode_claim, encode_preface};
use muster_protocol::token::{SessionClaims, TokenSigner};
use muster_protocol::tunnel::{Fragment, Header, OpenTarget, RefuseReason};

use super::forward::{Arrival, Forwarder, Reply, Verdict};
use super::kept::{KeptFlow, KeptFlows, KeptKey, SLOT_BYTES};
use super::kept_file::{self, Found};
use crate::clock::Now;
use crate::handover::{HandedClaim, Players};
use crate::limits::{Guard, Limits};
use crate::routes::{Proof, Protocol, Route, RouteKey};
use crate::traffic::Traffic;
use crate::trust::Trust;

/// Signs the seats' tokens: the first key pair of RFC 8032's test vectors, seed and public key.
const SECRET: [u8; 64] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, //
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60, //
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, //
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
const FLOW_KEY: [u8; 16] = [7; 16];
const KEPT_KEY: KeptKey = [5; 16];
const START_MS: u64 = 1_800_000_000_000;
const FIRST_PORT: u16 = 20_000;
/// Few, so that stories fill the table.
const MAX_FLOWS: usize = 6;
/// Sources told apart by limits: more than stories have, and few, since each story makes room for them.
const TOLD_APART: usize = 256;
const IDLE: Duration = Duration::from_mins(1);
/// Seats that tokens are for, on each port that asks for proof.
const SEATS: u8 = 3;
const PROOFS: [Proof; 3] = [Proof::Open, Proof::Preface, Proof::Claim];

/// What all stories begin with: signatures are slow.
struct Scene {
    trust: Trust,
    routes: Vec<Arc<Route>>,
    tokens: BTreeMap<(u16, u8), String>,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let signer = TokenSigner::new("k", &SECRET).expect("an Ed25519 key");
    let key = TokenKey { key_id: "k".into(), public_key: signer.public_key().to_vec().into() };
    let welcome =
        EdgeWelcome { token_keys: vec![key], flow_key: FLOW_KEY.to_vec().into(), ..EdgeWelcome::default() };
    let routes: Vec<_> = (0..).zip(PROOFS).map(|(number, proof)| Arc::new(route(number, proof))).collect();
    let mut tokens = BTreeMap::new();
    for route in &routes {
        for number in 0..SEATS {
            let claims = SessionClaims {
                namespace: "arena/prod".into(),
                server: route.server,
                port: route.port_name.clone(),
                seat: seat(number),
                player: "ann".into(),
                issued_at_ms: START_MS,
                expires_at_ms: START_MS + 120_000,
            };
            tokens.insert((route.key.port, number), signer.sign(&claims).expect("it fits"));
        }
    }
    Scene { trust: Trust::from_welcome(&welcome).expect("good keys"), routes, tokens }
});

fn route(number: u8, proof: Proof) -> Route {
    Route {
        key: RouteKey { port: FIRST_PORT + u16::from(number), protocol: Protocol::Udp },
        server: id_from_bytes([number + 1; 16]),
        port_name: "game".into(),
        port_index: number,
        proof,
        tls: false,
        proxy_protocol: false,
        node: node(number),
        tunnel_addresses: Vec::new(),
    }
}

fn node(number: u8) -> NodeId {
    id_from_bytes([0x40 + number % 2; 16])
}

fn seat(number: u8) -> SeatId {
    id_from_bytes([0x80 + number % SEATS; 16])
}

/// One client: a port it speaks to, and its address.
type Client = (u16, SocketAddr);

struct Story {
    forwarder: Forwarder,
    limits: Arc<ArcSwap<Limits>>,
    traffic: Traffic,
    rejoiners: [Rejoiner; 2],
    start: Instant,
    passed: Duration,
    // Which flows a client has shown to be its own, and an address those of its sockets.
    shown: BTreeMap<Client, BTreeSet<FlowId>>,
    claimed: BTreeMap<(u16, IpAddr), BTreeSet<FlowId>>,
    known: Vec<FlowId>,
    // Number of the connection that the tunnels have.
    connection: u32,
    // Whose packets go nowhere.
    denied: Option<IpAddr>,
}

pub(crate) fn flows(story: &[u8]) {
    let mut bytes = story.iter().copied();
    let mut told = Story::taking_up(Players::default());
    while told.step(&mut bytes).is_some() {
        assert!(told.forwarder.flows() <= MAX_FLOWS);
        let reported: u32 = told.traffic.report().servers.iter().map(|server| server.flows).sum();
        assert_eq!(reported as usize, told.forwarder.flows(), "who plays is reported");
    }
}

impl Story {
    /// All ports are open, and `players` of the edge before go on.
    fn taking_up(players: Players) -> Self {
        let (start, traffic) = (Instant::now(), Traffic::default());
        let trust = Arc::new(ArcSwap::from_pointee(SCENE.trust.clone()));
        let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
        let guard = Guard::telling_apart([TOLD_APART; 4], limits.clone(), start);
        let mut forwarder = Forwarder::new(trust, MAX_FLOWS, IDLE, guard, start);
        forwarder.take_up(start, KeptFlows::new(KEPT_KEY, MAX_FLOWS, Vec::new()), players);
        for route in &SCENE.routes {
            forwarder.open_port(start, route.clone(), traffic.of(route.server));
        }
        Self {
            forwarder,
            limits,
            traffic,
            rejoiners: [Rejoiner::default(), Rejoiner::default()],
            start,
            passed: Duration::ZERO,
            shown: BTreeMap::new(),
            claimed: BTreeMap::new(),
            known: Vec::new(),
            connection: 1,
            denied: None,
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.start + self.passed, unix_ms: START_MS + self.passed.as_millis() as u64 }
    }

    /// One step; `None` at the story's end.
    fn step(&mut self, bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
        let what = bytes.next()?;
        match what % 8 {
            0 | 1 => {
                let client = client(bytes.next()?);
                let packet: Vec<u8> = bytes.take(usize::from(what >> 3)).collect();
                self.client_says(client, &packet);
            }
            2 => self.show(client(bytes.next()?), bytes.next()?, encode_preface),
            3 => self.show(client(bytes.next()?), bytes.next()?, encode_claim),
            4 | 5 => {
                let (flow, header) = (self.flow(bytes.next()?), bytes.next()?);
                let payload: Vec<u8> = bytes.take(usize::from(what >> 3)).collect();
                self.agent_says(what >> 3 & 1, header_of(header, flow), &payload);
            }
            6 => {
                self.passed += Duration::from_millis(u64::from(bytes.next()?) * 100);
                self.forwarder.sweep(self.now().instant);
                for (_, gone) in self.forwarder.take_gone() {
                    assert!(self.known.contains(&gone), "an agent is told of flows that were");
                }
                self.forwarder.take_writes();
            }
            _ => self.change(what >> 3, bytes.next()?),
        }
        Some(())
    }

    /// A port is closed and opened again, the tunnels are, or limits are set.
    fn change(&mut self, what: u8, value: u8) {
        let route = &SCENE.routes[usize::from(what) % SCENE.routes.len()];
        match what % 8 {
            0 | 4 => {
                self.forwarder.close_port(route.key.port);
                let now = self.now().instant;
                self.forwarder.open_port(now, route.clone(), self.traffic.of(route.server));
            }
            2 => self.connection = u32::from(value) + 1,
            _ => self.limit(what, u32::from(value)),
        }
    }

    /// Of each kind of limit one.
    fn limit(&mut self, what: u8, value: u32) {
        let packets = Some(Rates { packets_per_s: value, ..Rates::default() });
        let bytes = Some(Rates { bytes_per_s: u64::from(value) * 16, ..Rates::default() });
        let new_flows = Some(Rates { new_flows_per_s: value % 8, ..Rates::default() });
        let mut limits = EdgeLimits::default();
        self.denied = None;
        match what % 8 {
            1 => (limits.address, limits.token) = (packets, packets),
            3 => (limits.network, limits.server) = (bytes, bytes),
            5 => (limits.address, limits.network, limits.server) = (new_flows, new_flows, new_flows),
            _ => {
                let list = vec![format!("10.0.0.{}", value % 4)];
                if value % 8 < 4 {
                    limits.deny = list;
                    self.denied = Some(IpAddr::from([10, 0, 0, (value % 4) as u8]));
                } else {
                    (limits.allow, limits.address) = (list, new_flows);
                }
            }
        }
        self.limits.store(Arc::new(Limits::from_wire(&limits).expect("lists as they may be")));
    }

    /// A client shows a seat's token. What it is good for is noted before, whether it is taken or not.
    fn show(&mut self, client: Client, number: u8, encode: fn(&str) -> Vec<u8>) {
        let (of_port, number) = (FIRST_PORT + u16::from(number >> 4) % 3, number % SEATS);
        let packet = encode(&SCENE.tokens[&(of_port, number)]);
        let route = route_of(client.0);
        if of_port == client.0 && route.proof != Proof::Open {
            let owner = FlowOwner::Seat(seat(number));
            let flow = flow_id(&FLOW_KEY, &route.server, route.port_index, owner);
            if packet == encode_preface(&SCENE.tokens[&(of_port, number)]) {
                self.shown.entry(client).or_default().insert(flow);
            } else if route.proof == Proof::Claim {
                self.claimed.entry((client.0, client.1.ip())).or_default().insert(flow);
            }
        }
        self.client_says(client, &packet);
    }

    fn client_says(&mut self, client: Client, packet: &[u8]) {
        let (port, address) = client;
        let connection = self.connection;
        let arrival = Arrival { port, connection, client: address, local_ip: None, packet };
        let route = route_of(port);
        let verdict = self.forwarder.client_packet(self.now(), &arrival);
        let is_dropped = matches!(verdict, Verdict::Drop(_));
        assert!(is_dropped || self.denied != Some(address.ip()), "who is denied is heard");
        match verdict {
            Verdict::Forward(header) => {
                assert!(self.may_have(client, header.flow()), "a packet on another's flow");
                if let Header::Data { open: Some(open), .. } = header {
                    let (server, port_index) = (route.server, route.port_index);
                    let target = OpenTarget { server, port_index, client: Some(address) };
                    assert_eq!(open, target, "a flow to another's server, or of another client");
                }
                self.known.push(header.flow());
            }
            Verdict::Accept => {
                assert_ne!(route.proof, Proof::Open, "open ports answer nothing");
                let shown = self.shown.get(&client).into_iter();
                let all = shown.chain(self.claimed.get(&(port, address.ip()))).flatten();
                self.known.extend(all.copied());
            }
            Verdict::Refuse(..) => assert_ne!(route.proof, Proof::Open, "open ports answer nothing"),
            Verdict::Drop(_) => {}
        }
    }

    fn agent_says(&mut self, node_number: u8, header: Header, payload: &[u8]) {
        let node = node(node_number);
        let mut datagram = BytesMut::new();
        header.encode(&mut datagram);
        datagram.extend_from_slice(payload);
        let (now, rejoiner) = (self.now().instant, &mut self.rejoiners[usize::from(node_number)]);
        let said = self.forwarder.agent_datagram(now, node, self.connection, rejoiner, datagram.freeze());
        if let Reply::Deliver { port, client, payload: delivered, .. } = said {
            assert!(
                self.may_have((port, client), header.flow()),
                "a reply to another than its flow's client"
            );
            assert_eq!(route_of(port).node, node, "a reply from another's node");
            let whole = matches!(header, Header::Data { fragment: None, .. });
            assert!(!whole || delivered == Bytes::copy_from_slice(payload));
        }
    }

    /// Whether `client` has shown that `flow` is its own.
    fn may_have(&self, client: Client, flow: FlowId) -> bool {
        let (port, address) = client;
        let route = route_of(port);
        if route.proof == Proof::Open {
            return flow_id(&FLOW_KEY, &route.server, route.port_index, FlowOwner::Address(address)) == flow;
        }
        let claimed = self.claimed.get(&(port, address.ip()));
        self.shown.get(&client).into_iter().chain(claimed).any(|flows| flows.contains(&flow))
    }

    /// A flow that is or was, or one that never was.
    fn flow(&self, number: u8) -> FlowId {
        let at = usize::from(number) % (self.known.len() + 1);
        self.known.get(at).copied().unwrap_or(FlowId(u64::from(number)))
    }
}

fn client(byte: u8) -> Client {
    let port = FIRST_PORT + u16::from(byte) % 3;
    (port, SocketAddr::from(([10, 0, 0, byte >> 2 & 3], 9_000 + u16::from(byte >> 4 & 1))))
}

fn route_of(port: u16) -> &'static Route {
    SCENE.routes.iter().find(|route| route.key.port == port).expect("stories know these ports only")
}

fn header_of(byte: u8, flow: FlowId) -> Header {
    let number = byte >> 3;
    match byte % 8 {
        0 | 1 => Header::Data { flow, open: None, fragment: None },
        2 => Header::Opened(flow),
        3 => Header::Unknown(flow),
        4 => {
            let reasons =
                [RefuseReason::UnknownServer, RefuseReason::TooManyFlows, RefuseReason::Unreachable];
            Header::Refused(flow, reasons[usize::from(number) % reasons.len()])
        }
        5 => Header::Close(flow),
        6 => {
            let fragment = Fragment { packet: 0, index: number % 3, count: 2 + number % 2 };
            Header::Data { flow, open: None, fragment: Some(fragment) }
        }
        _ => {
            let open = OpenTarget { server: route_of(FIRST_PORT).server, port_index: number, client: None };
            Header::Data { flow, open: Some(open), fragment: None }
        }
    }
}

/// Players that the edge before handed over: those that go on are among them, in bounds, and unproven only where anyone may.
pub(crate) fn handed(players: Players) {
    let mut next = Story::taking_up(players.clone());
    assert!(next.forwarder.flows() <= MAX_FLOWS);
    let now = next.now().instant;
    let gone_on = next.forwarder.players(now);
    for flow in &gone_on.flows {
        assert!(players.flows.contains(flow), "nobody handed that");
        assert_eq!(route_of(flow.port).proof, Proof::Open);
    }
    for claim in &gone_on.claims {
        let is_it = |it: &HandedClaim| {
            (it.port, it.ip.to_canonical(), it.seat, it.proof)
                == (claim.port, claim.ip, claim.seat, claim.proof)
        };
        assert!(players.claims.iter().any(is_it), "nobody handed that");
    }
}

/// A file's bytes as they are; and with checksums that are right, since others' slots are never read.
pub(crate) fn kept_flows(file: &[u8]) {
    let read = kept_file::read;
    let Some(Found { key, .. }) = read(file) else { return };
    let mut file = file.to_vec();
    let (slots, _) = file.as_chunks_mut::<SLOT_BYTES>();
    slots.iter_mut().skip(1).for_each(|slot| KeptFlow::put_checksum(&key, slot));
    let found = read(&file).expect("its header is the same");
    for flow in found.slots.iter().flatten() {
        assert_eq!(KeptFlow::decode(&key, &flow.encode(&key)), Some(*flow));
    }
    let written = found.slots.len();
    let mut kept = KeptFlows::new(key, MAX_FLOWS, found.slots);
    kept.give_up_waiting();
    assert!(kept.take_writes().len() <= written.min(MAX_FLOWS), "no more than are kept");
}
