//! What the forwarder decides, packet by packet, on a clock of the test's.

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
    let route = Arc::new(Route {
        key: RouteKey { port: PORT, protocol: Protocol::Udp },
        server: ServerId::new(),
        port_name: "game".into(),
        port_index: 3,
        proof,
        tls: false,
        proxy_protocol: false,
        node: NodeId::new(),
        tunnel_addresses: vec![],
    });
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
    let target = OpenTarget { server: world.route.server, port_index: 3 };
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
fn nothing_passes_before_a_proof_and_all_after() {
    let mut world = world(Proof::Preface);
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.packet(client(1), b""), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.forwarder.flows(), 0);
    let preface = world.preface(&world.claims(SeatId::new()));
    assert_eq!(world.packet(client(1), &preface), Verdict::Accept);
    forwarded(world.packet(client(1), b"hello"));
    assert_eq!(world.packet(client(2), b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (1, 1));
}

#[test]
fn each_bad_token_is_refused_for_what_it_is() {
    let mut world = world(Proof::Preface);
    let good = world.claims(SeatId::new());
    let stranger =
        TokenSigner::new("k1", AsymmetricKeyPair::<V4>::generate().unwrap().secret.as_bytes()).unwrap();
    let cases = [
        (encode_preface("v4.public.nonsense"), Refusal::Malformed, DropReason::TokenMalformed),
        (encode_preface(&stranger.sign(&good).unwrap()), Refusal::Untrusted, DropReason::TokenUntrusted),
        (
            world.preface(&SessionClaims { expires_at_ms: START_MS, ..good.clone() }),
            Refusal::Expired,
            DropReason::TokenExpired,
        ),
        (
            world.preface(&SessionClaims { server: ServerId::new(), ..good.clone() }),
            Refusal::WrongPort,
            DropReason::TokenWrongPort,
        ),
        (
            world.preface(&SessionClaims { port: "voice".into(), ..good }),
            Refusal::WrongPort,
            DropReason::TokenWrongPort,
        ),
    ];
    for (preface, refusal, reason) in cases {
        assert_eq!(world.packet(client(1), &preface), Verdict::Refuse(refusal, reason));
    }
    assert_eq!(world.forwarder.flows(), 0);
}

#[test]
fn a_source_of_bad_tokens_is_no_longer_listened_to_but_its_flows_go_on() {
    let mut world = world(Proof::Preface);
    let player = client(1);
    let preface = world.preface(&world.claims(SeatId::new()));
    assert_eq!(world.packet(player, &preface), Verdict::Accept);
    // Another program behind the player's address, or somebody who forges it.
    let neighbour = SocketAddr::new(player.ip(), 9_001);
    let bad = encode_preface("v4.public.nonsense");
    let last = (0..100).map(|_| world.packet(neighbour, &bad)).last();
    assert_eq!(last, Some(Verdict::Drop(DropReason::SourceLimited)));
    forwarded(world.packet(player, b"hello"));
    assert_eq!(world.packet(player, &preface), Verdict::Accept, "the same token again needs no check");
}

#[test]
fn a_seat_that_comes_from_a_new_address_takes_its_flow_along() {
    let mut world = world(Proof::Preface);
    let preface = world.preface(&world.claims(SeatId::new()));
    world.packet(client(1), &preface);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!(world.packet(client(2), &preface), Verdict::Accept);
    assert_eq!(forwarded(world.packet(client(2), b"hello")).0, flow);
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
    let node = world.route.node;
    let Reply::Deliver { client: to, .. } = world.reply(node, data(flow), b"hi") else {
        panic!("a reply is delivered")
    };
    assert_eq!(to, client(2));
    assert_eq!((world.forwarder.flows(), world.forwarder.take_rebinds()), (1, 1));
    assert!(world.forwarder.take_gone().is_empty(), "the agent keeps the flow");
}

#[test]
fn another_seat_at_the_same_address_is_another_flow() {
    let mut world = world(Proof::Preface);
    let [first, second] = [SeatId::new(), SeatId::new()].map(|seat| world.preface(&world.claims(seat)));
    world.packet(client(1), &first);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!(world.packet(client(1), &second), Verdict::Accept);
    assert_ne!(forwarded(world.packet(client(1), b"hello")).0, flow);
    assert_eq!(world.forwarder.take_gone(), [(world.route.node, flow)]);
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (1, 1));
}

#[test]
fn a_bad_token_on_a_flow_that_stands_leaves_it_standing() {
    let mut world = world(Proof::Preface);
    let preface = world.preface(&world.claims(SeatId::new()));
    world.packet(client(1), &preface);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let refused = world.packet(client(1), &encode_preface("v4.public.nonsense"));
    assert_eq!(refused, Verdict::Refuse(Refusal::Malformed, DropReason::TokenMalformed));
    assert_eq!(forwarded(world.packet(client(1), b"hello")).0, flow);
}

#[test]
fn a_claim_lets_one_other_socket_of_its_address_in() {
    let mut world = world(Proof::Claim);
    let seat = SeatId::new();
    let token = world.signer.sign(&world.claims(seat)).unwrap();
    let claim = encode_claim(&token);
    let [game, stray] = [9_500, 9_600].map(|port| SocketAddr::new(client(1).ip(), port));
    assert_eq!(world.packet(game, b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.packet(client(1), &claim), Verdict::Accept);
    assert_eq!(world.packet(client(1), &claim), Verdict::Accept, "asked again, answered again");
    assert_eq!(world.forwarder.flows(), 0);
    assert_eq!(world.packet(client(2), b"hello"), Verdict::Drop(DropReason::Unproven));
    let (flow, _) = forwarded(world.packet(game, b"hello"));
    assert_eq!(world.packet(stray, b"hello"), Verdict::Drop(DropReason::Unproven), "it is used up");
    assert_eq!(forwarded(world.packet(game, b"hello")).0, flow);
    // Its NAT has forgotten the client: another claim takes the flow along.
    assert_eq!(world.packet(client(1), &claim), Verdict::Accept);
    assert_eq!(forwarded(world.packet(stray, b"hello")).0, flow);
    assert_eq!(world.packet(game, b"hello"), Verdict::Drop(DropReason::Unproven));
    // The seat's flow is the one that a preface would have begun.
    assert_eq!(world.packet(client(3), &encode_preface(&token)), Verdict::Accept);
    assert_eq!(forwarded(world.packet(client(3), b"hello")).0, flow);
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (1, 1));
}

#[test]
fn a_bad_claim_or_one_elsewhere_opens_nothing() {
    let mut world = world(Proof::Claim);
    let good = world.claims(SeatId::new());
    let wrong = SessionClaims { server: ServerId::new(), ..good.clone() };
    let wrong = encode_claim(&world.signer.sign(&wrong).unwrap());
    let refused = Verdict::Refuse(Refusal::WrongPort, DropReason::TokenWrongPort);
    assert_eq!(world.packet(client(1), &wrong), refused);
    let good = encode_claim(&world.signer.sign(&good).unwrap());
    assert_eq!(world.packet(client(1), &good), Verdict::Accept);
    let other = encode_claim(&world.signer.sign(&world.claims(SeatId::new())).unwrap());
    let pending = Verdict::Refuse(Refusal::Unavailable, DropReason::ClaimPending);
    assert_eq!(world.packet(client(1), &other), pending);
    let route = world.route.clone();
    world.forwarder.close_port(PORT);
    world.forwarder.open_port(world.now().instant, route.clone(), world.traffic.of(route.server));
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
}

#[test]
fn a_port_of_mode_preface_takes_no_claim() {
    let mut world = world(Proof::Preface);
    let claim = encode_claim(&world.signer.sign(&world.claims(SeatId::new())).unwrap());
    assert_eq!(world.packet(client(1), &claim), Verdict::Drop(DropReason::Unproven));
    assert_eq!(world.packet(SocketAddr::new(client(1).ip(), 1), b"x"), Verdict::Drop(DropReason::Unproven));
}

#[test]
fn on_an_open_port_a_preface_is_the_games_own_affair() {
    let mut world = world(Proof::Open);
    let preface = world.preface(&world.claims(SeatId::new()));
    forwarded(world.packet(client(1), &preface));
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
    assert_eq!(world.reply(node, data(flow), b"hi"), Reply::Drop(DropReason::UnknownFlow));
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
        assert_eq!(world.reply(stranger, header, b""), Reply::Drop(DropReason::UnknownFlow));
    }
    assert!(forwarded(world.packet(client(1), b"hello")).1.is_some(), "still not opened, and still there");
}

#[test]
fn refused_and_closed_flows_are_gone() {
    let mut world = world(Proof::Open);
    let node = world.route.node;
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let refused = world.reply(node, Header::Refused(flow, RefuseReason::TooManyFlows), b"");
    assert_eq!((refused, world.forwarder.flows()), (Reply::Drop(DropReason::AgentRefused), 0));
    // An agent that has just been started may not know its servers yet: the flow stays, and says again where to.
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let refused = world.reply(node, Header::Refused(flow, RefuseReason::UnknownServer), b"");
    assert_eq!((refused, world.forwarder.flows()), (Reply::Drop(DropReason::AgentRefused), 1));
    let (again, opens) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!((again, opens.is_some()), (flow, true));
    assert_eq!(world.reply(node, Header::Close(flow), b""), Reply::Nothing);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    assert_eq!(world.reply(node, Header::Close(flow), b""), Reply::Nothing);
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (0, 0));
    assert!(world.forwarder.take_gone().is_empty(), "the agent knows already");
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
fn a_killed_edge_knows_the_clients_it_has_promised_a_flow() {
    let mut world = world(Proof::Preface);
    let [first, second, third] = [(); 3].map(|()| world.preface(&world.claims(SeatId::new())));
    assert_eq!(world.packet(client(1), &first), Verdict::Accept);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let slots = world.written(vec![]);
    // Moved, and another seat's in place of a second one's.
    world.packet(client(2), &first);
    world.packet(client(3), &second);
    world.packet(client(3), &third);
    let slots = world.written(slots);
    let route = world.route.clone();
    world.restart(slots, &route);
    let (again, open) = forwarded(world.packet(client(2), b"hello"));
    assert_eq!((again, open.is_some()), (flow, true), "the agent is told again where it leads");
    forwarded(world.packet(client(3), b"hello"));
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
    assert_eq!((world.forwarder.flows(), world.reported_flows()), (2, 2));
    assert_eq!(world.forwarder.take_restored(), 2);
    world.passed = IDLE / 2;
    assert_eq!(
        world.packet(client(2), &first),
        Verdict::Accept,
        "its token is recognised, and costs no check"
    );
    let node = world.route.node;
    let Reply::Deliver { client: to, .. } = world.reply(node, data(flow), b"hi") else {
        panic!("a reply is delivered")
    };
    assert_eq!(to, client(2));
}

#[test]
fn a_flow_that_went_before_the_kill_stays_gone() {
    let mut world = world(Proof::Preface);
    let [idle, closed] = [(); 2].map(|()| world.preface(&world.claims(SeatId::new())));
    world.packet(client(1), &idle);
    world.passed = IDLE / 2;
    world.packet(client(2), &closed);
    let (flow, _) = forwarded(world.packet(client(2), b"hello"));
    world.passed = IDLE;
    world.sweep_all();
    world.reply(world.route.node, Header::Close(flow), b"");
    let slots = world.written(vec![]);
    let route = world.route.clone();
    world.restart(slots, &route);
    assert_eq!(world.forwarder.flows(), 0);
    assert_eq!(world.packet(client(1), b"hello"), Verdict::Drop(DropReason::Unproven));
}

#[test]
fn a_kept_flow_leads_to_its_own_server_or_nowhere() {
    let mut world = world(Proof::Preface);
    let preface = world.preface(&world.claims(SeatId::new()));
    world.packet(client(1), &preface);
    let slots = world.written(vec![]);
    let others = [
        Route { server: ServerId::new(), ..(*world.route).clone() },
        Route { port_index: 9, ..(*world.route).clone() },
        Route { proof: Proof::Open, ..(*world.route).clone() },
        Route { key: RouteKey { port: PORT + 1, ..world.route.key }, ..(*world.route).clone() },
    ];
    for route in others {
        world.restart(slots.clone(), &Arc::new(route));
        assert_eq!(world.forwarder.flows(), 0);
        world.passed += IDLE;
        world.sweep_all();
        assert_eq!(world.written(slots.clone()), [None], "it is struck out");
    }
}

#[test]
fn open_ports_keep_nothing() {
    let mut world = world(Proof::Open);
    forwarded(world.packet(client(1), b"hello"));
    world.passed = IDLE;
    world.sweep_all();
    assert!(world.forwarder.take_writes().is_empty());
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

#[test]
fn the_next_edge_goes_on_with_flows_of_open_ports_and_with_claims() {
    let mut world = world(Proof::Open);
    let (flow, _) = forwarded(world.packet(client(1), b"hello"));
    let (now, route) = (world.now().instant, world.route.clone());
    let players = world.forwarder.players(now);
    world.forwarder.release();
    assert_eq!(world.reported_flows(), 0, "they are the next edge's");
    let late = world.reply(route.node, data(flow), b"late");
    assert!(matches!(late, Reply::Deliver { client: to, .. } if to == client(1)), "{late:?}");
    world.begin_anew(vec![], players.clone(), &route);
    assert_eq!(world.reported_flows(), 1);
    let reply = world.reply(route.node, data(flow), b"to one who has not sent since");
    assert!(matches!(reply, Reply::Deliver { client: to, .. } if to == client(1)), "{reply:?}");
    assert_eq!(forwarded(world.packet(client(1), b"again")).0, flow);
    let other = Arc::new(Route { server: ServerId::new(), ..(*route).clone() });
    world.begin_anew(vec![], players.clone(), &other);
    assert_eq!(world.forwarder.flows(), 0, "the port leads elsewhere now");
    let asks = Arc::new(Route { proof: Proof::Preface, ..(*route).clone() });
    world.begin_anew(vec![], players, &asks);
    assert_eq!(world.forwarder.flows(), 0, "the port asks for proof now");
}

#[test]
fn a_claim_is_used_at_the_next_edge() {
    let mut world = world(Proof::Claim);
    let token = world.signer.sign(&world.claims(SeatId::new())).unwrap();
    assert_eq!(world.packet(client(1), &encode_claim(&token)), Verdict::Accept);
    let (now, route) = (world.now().instant, world.route.clone());
    let players = world.forwarder.players(now);
    world.begin_anew(vec![], players, &route);
    let other_socket = SocketAddr::new(client(1).ip(), 9_999);
    forwarded(world.packet(other_socket, b"hello"));
}
