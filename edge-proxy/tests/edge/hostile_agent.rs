//! An agent that has a certificate and means harm, over a real tunnel: what it sends is dropped and counted, and the
//! players of other agents notice nothing.
//!
//! The twin of the agent's tests against a hostile edge. What an agent says in answer to a stream is tried in `tcp`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use muster_protocol::agent::PortProtocol::Udp;
use muster_protocol::edge::TokenMode::Open;
use muster_protocol::edge::{Route, RouteTable};
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::MAX_PARTIAL_PACKETS;
use muster_protocol::id::{NodeId, ServerId};
use muster_protocol::tunnel::{Fragment, Header, MAX_HEADER_BYTES, OpenTarget, RefuseReason};
use tokio::time::timeout;

use crate::agent::{Agent, encoded};
use crate::udp::Player;
use crate::world::{DEADLINE, World, address_of, loopback, within};

/// A flow that nobody has.
const NOBODYS: FlowId = FlowId(999);
/// Pause before what was not heard is said again.
const AGAIN: Duration = Duration::from_millis(200);
/// Packets of a player beside a flood, of either size.
const ECHOES: u8 = 32;

/// An edge between two agents, one of which is hostile, with a player of each.
struct Scene {
    world: World,
    hostile: Agent,
    /// Plays on the honest agent's server.
    victim: Player,
    /// Plays on the hostile agent's.
    own: Player,
}

impl Scene {
    async fn new() -> Self {
        // All flows are one worker's, so that each agent has one connection for datagrams.
        let world = World::with(|config| config.udp_workers = 1).await;
        let hostile = Agent::start(&world.authority, NodeId::new(), loopback(0));
        let honest = world.route(Udp, Open);
        let own = Route {
            server_id: ServerId::new().to_string(),
            node_id: hostile.node.to_string(),
            tunnel_addresses: vec![hostile.address.to_string()],
            ..world.route(Udp, Open)
        };
        let players = [Player::new(address_of(&honest)).await, Player::new(address_of(&own)).await];
        let table = RouteTable { revision: 1, full: true, routes: vec![honest, own], remove: vec![] };
        assert_eq!(world.orchestrator.apply(table).await.failures, []);
        for player in &players {
            player.until_echoed(b"hello").await;
            player.drain(b"mark").await;
        }
        let [victim, own] = players;
        Self { world, hostile, victim, own }
    }

    /// The flow of an agent's only player.
    fn flow(agent: &Agent) -> FlowId {
        let flows: Vec<_> = agent.packets().into_keys().collect();
        assert_eq!(flows.len(), 1, "one player is one flow: {flows:?}");
        flows[0]
    }

    /// The hostile agent says so, once there is room for it.
    async fn says(&self, header: Header, payload: &[u8]) {
        self.hostile.say_bytes(encoded(header, payload)).await;
    }

    /// What the edge has told of drops for `reason`.
    fn drops(&self, reason: &str) -> u64 {
        let report = self.world.orchestrator.report().unwrap_or_default();
        report.drops.iter().filter(|drops| drops.reason == reason).map(|drops| drops.count).sum()
    }

    /// Nothing has come to the victim but what is its own, on the flow it had.
    async fn assert_unharmed(&self, flow: FlowId, opens: usize) {
        self.victim.send(b"after all").await;
        assert_eq!(self.victim.receive().await, b"after all", "the first thing that it hears");
        assert_eq!(Self::flow(&self.world.agent), flow);
        assert_eq!(self.world.agent.opens().len(), opens, "the edge still knows that the flow stands");
        assert_eq!(self.world.agent.closed(), [], "its flow was not ended");
    }
}

/// The header of a packet's part of a number and place, of so many.
fn part(flow: FlowId, packet: u16, (index, count): (u8, u8)) -> Header {
    Header::Data { flow, open: None, fragment: Some(Fragment { packet, index, count }) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_agents_or_no_datagram_is_dropped_and_each_is_counted() {
    let scene = Scene::new().await;
    let (victims, own) = (Scene::flow(&scene.world.agent), Scene::flow(&scene.hostile));
    let opens = scene.world.agent.opens().len();
    let (mut unknown, mut malformed) = (0, 0);
    for flow in [victims, NOBODYS] {
        for header in [
            Header::Data { flow, open: None, fragment: None },
            part(flow, 1, (0, 2)),
            part(flow, 1, (1, 2)),
            Header::Opened(flow),
            Header::Unknown(flow),
            Header::Refused(flow, RefuseReason::UnknownServer),
            Header::Refused(flow, RefuseReason::UnknownPort),
            Header::Close(flow),
        ] {
            scene.says(header, b"").await;
            unknown += 1;
        }
    }
    // What only edges say.
    let target = OpenTarget { server: scene.world.server, port_index: 2, client: None };
    scene.says(Header::Data { flow: own, open: Some(target), fragment: None }, b"").await;
    malformed += 1;
    // Each kind and flag there is and is not, cut at each length that a header changes at.
    for kind in 0..=u8::MAX {
        for length in [0, 1, 8, 9, 10, 12, 13, 26, 27, 30, 31, 43, 44, 45, 47, MAX_HEADER_BYTES] {
            let bytes = [&[kind][..], &NOBODYS.0.to_be_bytes(), &[kind; MAX_HEADER_BYTES]].concat();
            let datagram = Bytes::copy_from_slice(&bytes[..length]);
            let is_readable = Header::decode(&mut datagram.clone()).is_ok();
            *(if is_readable { &mut unknown } else { &mut malformed }) += 1;
            scene.hostile.say_bytes(datagram).await;
        }
    }
    let counted = || (scene.drops("unknown_flow"), scene.drops("tunnel_malformed"));
    let all = within("each to be counted", || async { counted() == (unknown, malformed) });
    let in_time = timeout(DEADLINE / 2, all).await;
    assert!(in_time.is_ok(), "{:?} of {:?}", counted(), (unknown, malformed));
    scene.assert_unharmed(victims, opens).await;
    scene.own.until_echoed(b"it has a player too").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_contradictory_and_oversize_parts_are_no_packets_and_are_counted() {
    let scene = Scene::new().await;
    let flow = Scene::flow(&scene.hostile);
    let (began, mut heard) = (Instant::now(), Vec::new());
    for attempt in 0..u8::MAX {
        let number = |of: u16| u16::from(attempt) * 3 + of;
        // Each part twice, the second one first.
        for index in [1, 1, 0, 0] {
            scene.says(part(flow, number(0), (index, 2)), &[attempt, index]).await;
        }
        // A packet whose parts do not agree how many they are.
        for (index, count) in [(0, 2), (1, 3), (1, 2)] {
            scene.says(part(flow, number(1), (index, count)), b"!").await;
        }
        // More bytes than a packet can have.
        for index in 0..u8::MAX {
            scene.says(part(flow, number(2), (index, u8::MAX)), &[0; 1_000]).await;
        }
        loop {
            scene.says(Header::Data { flow, open: None, fragment: None }, b"end").await;
            // The burst may have been more than a socket holds, and the end with it.
            let Ok(packet) = timeout(AGAIN, scene.own.receive()).await else { continue };
            if packet == b"end" {
                break;
            }
            let of = packet[0];
            assert!(of <= attempt && packet == [of, 0, of, 1], "{packet:?} was never sent");
            assert!(!heard.contains(&of), "a replay became a packet");
            heard.push(of);
        }
        if heard.contains(&attempt) {
            within("both kinds to be counted", || async {
                scene.drops("tunnel_malformed") > 0 && scene.drops("parts_missing") > 0
            })
            .await;
            return;
        }
        // Parts wait for a second only, which a busy machine may need for this.
        assert!(began.elapsed() < DEADLINE, "the packet that was replayed never came");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_costs_no_other_agents_players_their_packets() {
    let scene = Scene::new().await;
    let (victims, own) = (Scene::flow(&scene.world.agent), Scene::flow(&scene.hostile));
    let flood = async {
        for number in 0.. {
            // More than are kept of one agent, of flows that it has and has not.
            for packet in 0..=MAX_PARTIAL_PACKETS {
                scene.says(part(own, packet as u16, (0, 2)), b"never whole").await;
            }
            scene.says(Header::Data { flow: FlowId(number), open: None, fragment: None }, b"").await;
            scene.hostile.say_bytes(Bytes::from_static(b"\xff")).await;
            // As fast as it is read, and no faster: what the tunnel's socket has no room for is the kernel's to drop.
            scene.own.until_echoed(&number.to_be_bytes()).await;
        }
    };
    let play = async {
        // Large ones go in parts, which are put together beside those that never become whole.
        for number in 0..ECHOES {
            scene.victim.until_echoed(&[number; 100]).await;
            scene.victim.until_echoed(&[number; 10_000]).await;
        }
        within("each kind to be counted", || async {
            ["parts_missing", "unknown_flow", "tunnel_malformed"].iter().all(|reason| scene.drops(reason) > 0)
        })
        .await;
    };
    tokio::select! {
        () = flood => unreachable!("a flood has no end"),
        () = play => {}
    }
    assert_eq!(Scene::flow(&scene.world.agent), victims, "the server sees the same peer");
    scene.own.until_echoed(b"it has a player too").await;
}
