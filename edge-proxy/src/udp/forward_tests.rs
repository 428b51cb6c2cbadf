//! What the forwarder decides, packet by packet, on a clock of the test's.

mod proof;
mod succession;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use muster_protocol::agent::TokenKey;
use muster_protocol::edge::{EdgeLimits, EdgeWelcome, Rates};
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::Rejoiner;
use muster_protocol::id::{NodeId, SeatId, ServerId};
use muster_protocol::preface::{Refusal, encode_claim, encode_preface};
use muster_protocol::token::{SessionClaims, TokenSigner};
use muster_protocol::tunnel::{Header, OpenTarget, RefuseReason};
use pasetors::keys::{AsymmetricKeyPair, Generate};
use pasetors::version4::V4;

use super::forward::{Arrival, Forwarder, Reply, Verdict};
use super::kept::{KeptFlow, KeptFlows, KeptKey};
use crate::clock::Now;
use crate::drops::DropReason;
use crate::handover::Players;
use crate::limits::{Guard, Limits};
use crate::routes::{Proof, Protocol, Route, RouteKey};
use crate::traffic::Traffic;
use crate::trust::Trust;

const IDLE: Duration = Duration::from_mins(1);
const START_MS: u64 = 1_800_000_000_000;
const PORT: u16 = 20_000;
/// Number of the agent's connection that stands in these tests.
const CONNECTION: u32 = 1;
const MAX_FLOWS: usize = 1_000;
const KEPT_KEY: KeptKey = [5; 16];

struct World {
    forwarder: Forwarder,
    trust: Arc<ArcSwap<Trust>>,
    limits: Arc<ArcSwap<Limits>>,
    signer: TokenSigner,
    route: Arc<Route>,
    traffic: Traffic,
    start: Instant,
    passed: Duration,
    rejoiner: Rejoiner,
}

fn world(proof: Proof) -> World {
    let pair = AsymmetricKeyPair::<V4>::generate().unwrap();
    let signer = TokenSigner::new("k1", pair.secret.as_bytes()).unwrap();
    let key = TokenKey { key_id: "k1".into(), public_key: signer.public_key().to_vec().into() };
    let welcome = EdgeWelcome { token_keys: vec![key], flow_key: vec![7; 16].into(), ..Default::default() };
    let trust = Arc::new(ArcSwap::from_pointee(Trust::from_welcome(&welcome).unwrap()));
    let key = RouteKey { port: PORT, protocol: Protocol::Udp };
    let route = Arc::new(Route { port_index: 3, ..Route::to_new_server(key, proof) });
    let (start, traffic) = (Instant::now(), Traffic::default());
    let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
    let guard = Guard::new(limits.clone(), start);
    let mut forwarder = Forwarder::new(trust.clone(), MAX_FLOWS, IDLE, guard, start);
    forwarder.take_up(start, KeptFlows::new(KEPT_KEY, MAX_FLOWS, vec![]), Players::default());
    forwarder.open_port(start, route.clone(), traffic.of(route.server));
    World {
        forwarder,
        limits,
        trust,
        signer,
        route,
        traffic,
        start,
        passed: Duration::ZERO,
        rejoiner: Rejoiner::default(),
    }
}

fn client(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 9_000))
}

impl World {
    fn now(&self) -> Now {
        Now { instant: self.start + self.passed, unix_ms: START_MS + self.passed.as_millis() as u64 }
    }

    fn packet(&mut self, client: SocketAddr, packet: &[u8]) -> Verdict {
        let arrival = Arrival { port: PORT, connection: CONNECTION, client, local_ip: None, packet };
        self.forwarder.client_packet(self.now(), &arrival)
    }

    fn claims(&self, seat: SeatId) -> SessionClaims {
        SessionClaims {
            namespace: "arena/prod".into(),
            server: self.route.server,
            port: "game".into(),
            seat,
            player: "player-7".into(),
            issued_at_ms: START_MS,
            expires_at_ms: START_MS + 60_000,
        }
    }

    fn preface(&self, claims: &SessionClaims) -> Vec<u8> {
        encode_preface(&self.signer.sign(claims).unwrap())
    }

    fn reply(&mut self, node: NodeId, header: Header, payload: &[u8]) -> Reply {
        let mut datagram = BytesMut::new();
        header.encode(&mut datagram);
        datagram.extend_from_slice(payload);
        let now = self.now().instant;
        self.forwarder.agent_datagram(now, node, CONNECTION, &mut self.rejoiner, datagram.freeze())
    }

    fn sweep_all(&mut self) {
        for _ in 0..20 {
            self.forwarder.sweep(self.now().instant);
        }
    }

    /// What a kill leaves of the flows: the slots as they are written by now.
    fn written(&mut self, mut slots: Vec<Option<KeptFlow>>) -> Vec<Option<KeptFlow>> {
        for write in self.forwarder.take_writes() {
            let place = write.place();
            slots.resize(slots.len().max(place + 1), None);
            slots[place] = KeptFlow::decode(&KEPT_KEY, &write.bytes);
        }
        slots
    }

    /// The process dies, and the next begins with `slots` and the route `route`.
    fn restart(&mut self, slots: Vec<Option<KeptFlow>>, route: &Arc<Route>) {
        self.begin_anew(slots, Players::default(), route);
    }

    /// The next process begins with what is on disk and what it is handed.
    fn begin_anew(&mut self, slots: Vec<Option<KeptFlow>>, players: Players, route: &Arc<Route>) {
        let kept = KeptFlows::new(KEPT_KEY, MAX_FLOWS, slots);
        let now = self.now().instant;
        let guard = Guard::new(self.limits.clone(), now);
        self.forwarder = Forwarder::new(self.trust.clone(), MAX_FLOWS, IDLE, guard, now);
        self.forwarder.take_up(now, kept, players);
        self.traffic = Traffic::default();
        self.forwarder.open_port(now, route.clone(), self.traffic.of(route.server));
    }

    fn reported_flows(&self) -> u32 {
        self.traffic.report().servers.iter().map(|server| server.flows).sum()
    }
}

/// The flow and whether OPEN is said, if it is forwarded.
fn forwarded(verdict: Verdict) -> (FlowId, Option<OpenTarget>) {
    match verdict {
        Verdict::Forward(Header::Data { flow, open, fragment: None }) => (flow, open),
        other => panic!("not forwarded: {other:?}"),
    }
}

fn data(flow: FlowId) -> Header {
    Header::Data { flow, open: None, fragment: None }
}

#[test]
fn an_open_port_says_open_until_it_has_heard_opened() {
    let mut world = world(Proof::Open);
    let target = OpenTarget { server: world.route.server, port_index: 3, client: Some(client(1)) };
    let (flow, open) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!(open, Some(target));
    assert_eq!(forwarded(world.packet(client(1), b"again")), (flow, Some(target)));
    let node = world.route.node;
    assert_eq!(world.reply(node, Header::Opened(flow), b""), Reply::Nothing);
    assert_eq!(forwarded(world.packet(client(1), b"short")), (flow, None));
    assert_eq!(world.reply(node, Header::Unknown(flow), b""), Reply::Nothing);
    assert_eq!(forwarded(world.packet(client(1), b"long")), (flow, Some(target)));
}

#[test]
fn a_new_connection_to_the_agent_begins_with_open() {
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let node = world.route.node;
    world.reply(node, Header::Opened(flow), b"");
    let now = world.now();
    for (connection, says_open) in [(CONNECTION, false), (0, true), (CONNECTION + 1, true)] {
        let arrival = Arrival { port: PORT, connection, client: client(1), local_ip: None, packet: b"x" };
        let (same, open) = forwarded(world.forwarder.client_packet(now, &arrival));
        assert_eq!((same, open.is_some()), (flow, says_open), "connection {connection}");
    }
}

#[test]
fn a_flow_without_packets_goes_after_its_idle_time_and_its_agent_is_told() {
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    world.passed = IDLE.checked_sub(Duration::from_millis(1)).unwrap();
    world.sweep_all();
    assert_eq!(world.forwarder.flows(), 1);
    // What the server sends does not keep a flow whose client is gone.
    let node = world.route.node;
    world.reply(node, data(flow), b"hi");
    world.passed = IDLE;
    world.sweep_all();
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (0, 0));
    assert_eq!(world.forwarder.take_gone(), [(node, flow)]);
    assert_eq!(world.reply(node, data(flow), b"hi"), Reply::Drop(DropReason::UnknownFlow, None));
}

#[test]
fn a_flow_that_is_back_before_its_end_was_told_is_not_ended() {
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    world.passed = IDLE;
    world.sweep_all();
    assert_eq!(forwarded(world.packet(client(1), b"hello")).0, flow);
    assert!(world.forwarder.take_gone().is_empty());
}

#[test]
fn an_agent_speaks_for_its_own_flows_only() {
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let stranger = NodeId::new();
    for header in [data(flow), Header::Opened(flow), Header::Close(flow)] {
        assert_eq!(world.reply(stranger, header, b""), Reply::Drop(DropReason::UnknownFlow, None));
    }
    assert!(forwarded(world.packet(client(1), b"hello")).1.is_some(), "still not opened, and still there");
}

#[test]
fn refused_and_closed_flows_are_gone() {
    let mut world = world(Proof::Open);
    let node = world.route.node;
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let refused = world.reply(node, Header::Refused(flow, RefuseReason::TooManyFlows), b"");
    assert_eq!((refused, world.forwarder.flows()), (Reply::Drop(DropReason::AgentRefused, Some(PORT)), 0));
    // An agent that has just been started may not know its servers yet: the flow stays, and says again where to.
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let refused = world.reply(node, Header::Refused(flow, RefuseReason::UnknownServer), b"");
    assert_eq!((refused, world.forwarder.flows()), (Reply::Drop(DropReason::AgentRefused, Some(PORT)), 1));
    let (again, opens) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!((again, opens.is_some()), (flow, true));
    assert_eq!(world.reply(node, Header::Close(flow), b""), Reply::Nothing);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!(world.reply(node, Header::Close(flow), b""), Reply::Nothing);
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (0, 0));
    assert!(world.forwarder.take_gone().is_empty(), "the agent knows already");
}

#[test]
fn a_proven_flow_outlives_an_agent_that_has_no_room_for_it() {
    let mut world = world(Proof::Preface);
    let node = world.route.node;
    let preface = world.preface(&world.claims(SeatId::new()));
    assert_eq!(world.packet(client(1), &preface), Verdict::Accept);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let close = Header::Close(flow);
    let refuse = Header::Refused(flow, RefuseReason::TooManyFlows);
    for (said, reply) in
        [(close, Reply::Nothing), (refuse, Reply::Drop(DropReason::AgentRefused, Some(PORT)))]
    {
        world.reply(node, Header::Opened(flow), b"");
        assert_eq!(forwarded(world.packet(client(1), b"hello")), (flow, None));
        assert_eq!(world.reply(node, said, b""), reply);
        // It says again where it leads, and its client nothing.
        let (again, opens) = forwarded(world.packet(client(1), b"hello"));
        assert_eq!((again, opens.is_some()), (flow, true));
    }
}

#[test]
fn a_closed_port_ends_its_flows() {
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let node = world.route.node;
    world.forwarder.close_port(PORT);
    assert_eq!(world.forwarder.take_gone(), [(node, flow)]);
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::UnknownFlow));
}

#[test]
fn limits_hold_by_address_and_by_flow_and_count_what_they_drop() {
    let mut world = world(Proof::Open);
    let limits = EdgeLimits {
        address: Some(Rates { new_flows_per_s: 2, ..Default::default() }),
        token: Some(Rates { packets_per_s: 3, ..Default::default() }),
        deny: vec!["10.0.0.9".into()],
        ..Default::default()
    };
    world.limits.store(Arc::new(Limits::from_wire(&limits).unwrap()));
    assert_eq!(world.packet(client(9), b"hello"), Verdict::Drop(DropReason::Denied));
    let port = |port| SocketAddr::new(client(1).ip(), port);
    forwarded(world.packet(port(1), b"hello"));
    forwarded(world.packet(port(2), b"hello"));
    // However many ports it has, a source is one.
    assert_eq!(world.packet(port(3), b"hello"), Verdict::Drop(DropReason::AddressNewFlows));
    assert_eq!(world.forwarder.flows(), 2);
    // The two flows have a packet each behind them that began them, which is the address's and not the flow's.
    let passed = |world: &mut World, from| {
        (0..10).filter(|_| matches!(world.packet(from, b"x"), Verdict::Forward(_))).count()
    };
    assert_eq!((passed(&mut world, port(1)), passed(&mut world, port(2))), (3, 3));
    assert_eq!(world.packet(port(1), b"x"), Verdict::Drop(DropReason::TokenPackets));
    world.limits.store(Arc::default());
    assert_eq!(passed(&mut world, port(1)), 10, "what is lifted is lifted at once");
}

#[test]
fn any_datagram_of_an_agent_is_taken() {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let node = world.route.node;
    let ids = prop_oneof![Just(flow.0), any::<u64>()];
    let bytes = (0u8..0x40, ids, proptest::collection::vec(any::<u8>(), 0..64));
    TestRunner::default()
        .run(&bytes, |(kind, id, rest)| {
            let datagram: Vec<u8> = [&[kind][..], &id.to_be_bytes(), &rest].concat();
            // A runner's test cannot change what it closes over; a fresh world each time is cheap enough.
            let mut rejoiner = Rejoiner::default();
            let trust = Arc::new(ArcSwap::from_pointee(Trust::default()));
            let guard = Guard::new(Arc::default(), Instant::now());
            let mut forwarder = Forwarder::new(trust, 10, IDLE, guard, Instant::now());
            let traffic = Traffic::default();
            let route = Arc::new(Route { node, ..(*world.route).clone() });
            forwarder.open_port(Instant::now(), route, traffic.of(world.route.server));
            let arrival =
                Arrival { port: PORT, connection: 1, client: client(1), local_ip: None, packet: b"x" };
            let now = Now { instant: Instant::now(), unix_ms: START_MS };
            forwarded(forwarder.client_packet(now, &arrival));
            let reply = forwarder.agent_datagram(now.instant, node, 1, &mut rejoiner, Bytes::from(datagram));
            if let Reply::Deliver { client: to, .. } = reply {
                prop_assert_eq!(to, client(1));
            }
            Ok(())
        })
        .unwrap();
}
