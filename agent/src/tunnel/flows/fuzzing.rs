//! Fuzz target of the agent's intake: whatever two edges send, whatever becomes of servers and however time passes, a
//! server hears each flow from an address of that flow's own, and nothing that another flow was sent.
//!
//! A story is a row of steps: a byte that says what happens, and the bytes it needs. The sockets are real, since what is
//! promised is about their addresses; the connections of edges are not, so that what they would be told goes nowhere.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::{Poll, Token};
use muster_protocol::agent::PortProtocol;
use muster_protocol::flow::FlowId;
use muster_protocol::id::{ServerId, id_from_bytes};
use muster_protocol::tunnel::{Fragment, Header, OpenTarget, RefuseReason};
use muster_transport::{ConnectionId, Quic};

use super::Flows;
use crate::metrics::TunnelMetrics;
use crate::reconcile::RoutePort;
use crate::routes::Routes;
use crate::tunnel::edges::Edges;

/// Flows and servers that stories speak of.
const FLOWS: u8 = 8;
const SERVERS: u8 = 3;
/// Bytes of the longest payload that a story's packets come to; longer ones are cut, and found out by that.
const LONGEST: usize = 4_096;
/// Of these, the ones that run when a story begins.
const RUNNING: u8 = 2;

struct Story<'a> {
    rest: &'a [u8],
    // Keeps the registry's other end.
    _poll: Poll,
    edges: Edges,
    flows: Flows,
    routes: Arc<Routes>,
    game: UdpSocket,
    now: Instant,
}

pub(crate) fn flows(story: &[u8]) {
    // Without sockets there is no story; that is the machine's matter and no broken promise.
    let Some(mut story) = Story::begin(story) else { return };
    while story.step().is_some() {
        assert!(story.flows.table.is_whole(), "the table of flows contradicts itself");
        assert!(story.flows.table.len() <= usize::from(FLOWS), "more flows than were ever named");
    }
}

fn server(number: u8) -> ServerId {
    id_from_bytes([number % SERVERS + 1; 16])
}

/// Where the client of `flow` is, who comes by the edge of that number.
fn client(flow: FlowId, number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, flow.0 as u8], 9_000 + u16::from(number % 2)))
}

fn edge(number: u8) -> ConnectionId {
    ConnectionId::made_up(u64::from(number % 2))
}

impl<'a> Story<'a> {
    fn begin(rest: &'a [u8]) -> Option<Self> {
        let game = UdpSocket::bind("127.0.0.1:0").ok()?;
        game.set_nonblocking(true).ok()?;
        let (poll, routes) = (Poll::new().ok()?, Arc::new(Routes::default()));
        let mut edges = Edges::new(Quic::dialling(poll.registry(), Token(usize::MAX - 1)).ok()?);
        (0..2).for_each(|number| edges.stands(edge(number), format!("edge {number}")));
        let metrics = Arc::new(TunnelMetrics::new());
        let flows = Flows::new(poll.registry().try_clone().ok()?, Arc::clone(&routes), metrics);
        let story = Self { rest, _poll: poll, edges, flows, routes, game, now: Instant::now() };
        (0..RUNNING).for_each(|number| story.run(number, false));
        Some(story)
    }

    fn run(&self, number: u8, elsewhere: bool) {
        let Ok(address) = self.game.local_addr() else { return };
        let udp = RoutePort { protocol: PortProtocol::Udp, address };
        let tcp = RoutePort { protocol: PortProtocol::Tcp, address };
        // The same server with other ports: it came back.
        let ports = if elsewhere { vec![udp, tcp, udp] } else { vec![udp, tcp] };
        self.routes.open(server(number), ports);
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn step(&mut self) -> Option<()> {
        match self.byte()? % 8 {
            0..=2 => self.packet(),
            3 => self.anything(),
            4 => self.said(),
            5 => self.answer(),
            6 => self.time_passes(),
            _ => self.server_changes(),
        }
    }

    /// A packet of a flow, or a part of one, with or without where it leads; its payload begins with its flow.
    fn packet(&mut self) -> Option<()> {
        let (who, lead, part) = (self.byte()?, self.byte()?, self.byte()?);
        let flow = FlowId(u64::from(who / 2 % FLOWS));
        let client = (lead % 8 < 4).then(|| client(flow, who));
        let target = OpenTarget { server: server(lead), port_index: lead / 16 % 4, client };
        let open = (lead % 4 != 3).then_some(target);
        let (packet, index, count) = (u16::from(part / 32), part / 8 % 4, part / 2 % 4 + 2);
        let fragment = (part % 2 == 1).then_some(Fragment { packet, index, count });
        let payload = [&flow.0.to_be_bytes()[..], &[part]].concat();
        self.hears(who, &datagram(Header::Data { flow, open, fragment }, &payload));
        Some(())
    }

    /// Any bytes.
    fn anything(&mut self) -> Option<()> {
        let (who, length) = (self.byte()?, usize::from(self.byte()?));
        let (bytes, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        self.hears(who, bytes);
        Some(())
    }

    /// What is said of a flow, by whomever's to say it is.
    fn said(&mut self) -> Option<()> {
        let (who, what) = (self.byte()?, self.byte()?);
        let flow = FlowId(u64::from(who / 2 % FLOWS));
        let header = match what % 5 {
            0 => Header::Opened(flow),
            1 => Header::Unknown(flow),
            2 => Header::Refused(flow, RefuseReason::Unreachable),
            _ => Header::Close(flow),
        };
        self.hears(who, &datagram(header, &[]));
        Some(())
    }

    /// The agent takes in `bytes` from an edge: what the server hears of it has that flow's address, and that flow's payload.
    fn hears(&mut self, who: u8, bytes: &[u8]) {
        let mut read = Bytes::copy_from_slice(bytes);
        let header = Header::decode(&mut read);
        self.flows.take_in(self.now, &mut self.edges, edge(who), Bytes::copy_from_slice(bytes));
        let mut packet = [0; LONGEST];
        while let Ok((length, from)) = self.game.recv_from(&mut packet) {
            let Ok(Header::Data { flow, fragment, .. }) = header else {
                panic!("a server has heard what is no packet");
            };
            let place = self.flows.table.find(flow).expect("a flow that was delivered to is there");
            let known = self.flows.table.get(place).expect("just found");
            assert_eq!(known.socket.port(), Some(from.port()), "heard from another flow's address");
            let told = self.routes.get(&known.target.server).and_then(|route| route.player(from.port()));
            let its = [0, 1].map(|edge| client(flow, edge));
            assert!(told.is_none_or(|told| its.contains(&told)), "told where another player is");
            if fragment.is_none() {
                assert_eq!(packet[..length], read[..], "other than was sent");
            }
        }
    }

    /// The server answers on a flow.
    fn answer(&mut self) -> Option<()> {
        let (who, count) = (self.byte()?, self.byte()?);
        let place = self.flows.table.find(FlowId(u64::from(who % FLOWS)));
        let port = |place| self.flows.table.get(place).and_then(|flow| flow.socket.port());
        let Some((place, port)) = place.and_then(|place| Some((place, port(place)?))) else {
            return Some(());
        };
        for number in 0..count % 32 {
            // As if it was lost on the way.
            let _ = self.game.send_to(&[number; 40], ("127.0.0.1", port));
        }
        assert!(self.flows.may_have_packets(place), "its turns are over");
        while self.flows.turn_out(self.now, &mut self.edges, place) {
            assert!(self.flows.may_have_packets(place), "it has had its turn");
        }
        Some(())
    }

    fn time_passes(&mut self) -> Option<()> {
        let time = Duration::from_millis(u64::from(self.byte()?) * 500);
        self.now += time;
        self.flows.sweep(self.now, &mut self.edges);
        Some(())
    }

    fn server_changes(&mut self) -> Option<()> {
        let what = self.byte()?;
        if what % 3 == 0 {
            self.routes.shut(&server(what / 3));
        } else {
            self.run(what / 3, what % 3 == 1);
        }
        Some(())
    }
}

fn datagram(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes);
    [&bytes[..], payload].concat()
}
