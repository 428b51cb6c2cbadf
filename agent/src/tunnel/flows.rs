//! Every flow of this node: opened by the first packet that names its server, closed when its client
//! is silent, its server over, or its edge says so.
//!
//! All of it is of one thread. Which sockets have packets is the loop's to know (`turns`), which connections there are
//! is `edges`'; where flows are counted and evicted, and who has which, is `table`'s.

mod fuzzing;
mod table;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Registry, Token};
use muster_protocol::agent::PortProtocol;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::Rejoined;
use muster_protocol::tunnel::{Header, OpenTarget, RefuseReason};
use muster_transport::ConnectionId;

use super::edges::Edges;
use super::flow::Flow;
use super::socket::{Batch, FlowSocket};
use crate::metrics::{self, TunnelMetrics};
use crate::routes::Routes;
pub(crate) use fuzzing::flows as fuzz_flows;
pub(super) use table::MAX_FLOWS;
use table::Table;

/// A flow whose client is silent for this long is closed.
const IDLE: Duration = Duration::from_mins(2);
/// Flows looked over per sweep for idle ones: no packet waits long for that.
const SWEPT: usize = 1_024;

/// The flows.
pub(super) struct Flows {
    table: Table,
    registry: Registry,
    batch: Batch,
    routes: Arc<Routes>,
    metrics: Arc<TunnelMetrics>,
    passed: Passed,
}

/// What one turn has passed on; counted at its end.
#[derive(Default)]
struct Passed {
    packets: u64,
    bytes: u64,
}

impl Passed {
    fn note(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl Flows {
    /// None yet. `registry` tells by their place which flows' sockets may have packets.
    pub(super) fn new(registry: Registry, routes: Arc<Routes>, metrics: Arc<TunnelMetrics>) -> Self {
        let (table, batch, passed) = (Table::new(), Batch::new(), Passed::default());
        Self { table, registry, batch, routes, metrics, passed }
    }

    /// One turn inwards: all that edges have brought, to servers.
    pub(super) fn turn_in(&mut self, now: Instant, edges: &mut Edges) {
        while let Some((edge, datagram)) = edges.take() {
            self.take_in(now, edges, edge, datagram);
        }
        let passed = std::mem::take(&mut self.passed);
        self.metrics.packets_in.increment(passed.packets);
        self.metrics.bytes_in.increment(passed.bytes);
    }

    /// Puts one datagram from `edge` where it belongs.
    pub(super) fn take_in(
        &mut self,
        now: Instant,
        edges: &mut Edges,
        edge: ConnectionId,
        mut datagram: Bytes,
    ) {
        match Header::decode(&mut datagram) {
            Ok(Header::Data { flow: id, open, fragment }) => {
                let Some(place) = self.flow(now, edges, edge, id, open) else { return };
                match fragment {
                    None => self.deliver(place, &datagram),
                    Some(part) => match edges.rejoin(now, edge, id, part, &datagram) {
                        Rejoined::Whole(packet) => self.deliver(place, &packet),
                        Rejoined::Waiting => {}
                        Rejoined::Misfit => self.metrics.dropped_malformed.increment(1),
                    },
                }
            }
            Ok(Header::Close(id)) => {
                // An edge that the flow has left does not end it for the one it is on now.
                let place = self.table.find(id);
                if let Some(place) =
                    place.filter(|place| self.table.get(*place).is_some_and(|it| it.edge == edge))
                {
                    self.close(place);
                }
            }
            Ok(Header::Opened(_) | Header::Unknown(_) | Header::Refused(..)) | Err(_) => {
                self.metrics.dropped_malformed.increment(1);
            }
        }
    }

    /// The place of the flow `id`, which a packet from `edge` is of, opened if need be. `None`: the edge has been told why
    /// not.
    fn flow(
        &mut self,
        now: Instant,
        edges: &mut Edges,
        edge: ConnectionId,
        id: FlowId,
        open: Option<OpenTarget>,
    ) -> Option<usize> {
        let known = self.table.find(id);
        let place = match (known, open) {
            (Some(place), None) => place,
            (None, None) => {
                self.metrics.dropped_unknown.increment(1);
                edges.tell(now, edge, Header::Unknown(id));
                return None;
            }
            (Some(place), Some(target))
                if self.table.get(place).is_some_and(|it| it.target.leads_as(&target)) =>
            {
                edges.tell(now, edge, Header::Opened(id));
                place
            }
            (stale, Some(target)) => {
                if let Some(stale) = stale {
                    self.close(stale);
                }
                match self.open(now, edges, edge, id, target) {
                    Ok(place) => {
                        edges.tell(now, edge, Header::Opened(id));
                        place
                    }
                    Err(reason) => {
                        metrics::tunnel_refused(reason.as_str());
                        edges.tell(now, edge, Header::Refused(id, reason));
                        return None;
                    }
                }
            }
        };
        let flow = self.table.get_mut(place)?;
        if open.is_none() && flow.edge != edge {
            // It comes back to an edge that does not know it had left, nor that another has said where its client is.
            edges.tell(now, edge, Header::Unknown(id));
        }
        flow.seen(edge, now);
        if let Some(client) = open.and_then(|target| target.client) {
            flow.is_of(client);
        }
        Some(place)
    }

    fn open(
        &mut self,
        now: Instant,
        edges: &mut Edges,
        edge: ConnectionId,
        id: FlowId,
        target: OpenTarget,
    ) -> Result<usize, RefuseReason> {
        let route = self.routes.get(&target.server).ok_or(RefuseReason::UnknownServer)?;
        let port = route
            .ports
            .get(usize::from(target.port_index))
            .filter(|port| port.protocol == PortProtocol::Udp)
            .ok_or(RefuseReason::UnknownPort)?;
        for place in self.table.by_another(target.server, &route) {
            self.end(now, edges, place);
        }
        let slot = loop {
            match self.table.room(now, target.server, &route) {
                Ok(slot) => break slot,
                Err(None) => return Err(RefuseReason::TooManyFlows),
                Err(Some(place)) => {
                    self.metrics.evicted.increment(1);
                    self.end(now, edges, place);
                }
            }
        };
        let token = Token(self.table.next_place());
        let socket = FlowSocket::connect(&self.registry, token, port.address).map_err(|error| {
            tracing::warn!(server = %target.server, address = %port.address, %error, "no socket for a flow");
            RefuseReason::Unreachable
        })?;
        Ok(self.table.insert(Flow::new((id, target), socket, slot, edge, now), route))
    }

    fn deliver(&mut self, place: usize, payload: &[u8]) {
        if self.table.get(place).is_some_and(|flow| flow.socket.send(payload)) {
            self.passed.note(payload.len());
        } else {
            self.metrics.dropped_socket.increment(1);
        }
    }

    /// Notes that the flow at `place` may have packets; says whether that is news.
    pub(super) fn may_have_packets(&mut self, place: usize) -> bool {
        self.table.get_mut(place).is_some_and(|flow| !std::mem::replace(&mut flow.is_ready, true))
    }

    /// One turn outwards: a batch of what the server of the flow at `place` has answered, to its edge. Says whether there
    /// may be more.
    pub(super) fn turn_out(&mut self, now: Instant, edges: &mut Edges, place: usize) -> bool {
        let Some(flow) = self.table.get_mut(place) else { return false };
        flow.is_ready = false;
        let more = match flow.socket.receive(&mut self.batch) {
            Ok(more) => more,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock => false,
                    // ICMP: nothing listened on the port when an earlier packet came, or no way led there. Either may soon
                    // be, and the flow is worth more than the packet. Windows says the second of a datagram that found
                    // nobody.
                    io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable => true,
                    // A packet was larger than the way; how large it may be is known from now on.
                    _ if is_too_large(&error) => true,
                    _ => {
                        tracing::warn!(server = %flow.target.server, %error, "a flow's socket failed");
                        self.end(now, edges, place);
                        false
                    }
                };
            }
        };
        flow.is_answered = true;
        let (mut passed, mut dropped) = (Passed::default(), 0);
        for payload in self.batch.packets() {
            if edges.packet(now, flow.edge, flow.id, payload, &mut flow.next_packet) {
                passed.note(payload.len());
            } else {
                dropped += 1;
            }
        }
        self.metrics.packets_out.increment(passed.packets);
        self.metrics.bytes_out.increment(passed.bytes);
        self.metrics.dropped_tunnel.increment(dropped);
        more
    }

    /// Closes flows whose servers are over, and of a part of the others those whose clients are silent.
    pub(super) fn sweep(&mut self, now: Instant, edges: &mut Edges) {
        self.metrics.flows.set(self.table.len() as f64);
        let mut ended = self.table.over();
        ended.extend(self.table.idle(now, IDLE, SWEPT));
        for place in ended {
            self.end(now, edges, place);
        }
    }

    /// Closes a flow that its edge does not know to be over.
    fn end(&mut self, now: Instant, edges: &mut Edges, place: usize) {
        let Some(flow) = self.table.get(place) else { return };
        edges.tell(now, flow.edge, Header::Close(flow.id));
        self.close(place);
    }

    fn close(&mut self, place: usize) {
        if let Some(flow) = self.table.remove(place) {
            flow.socket.close(&self.registry);
        }
    }
}

/// Whether an ICMP message told that a packet was larger than a hop of its way.
#[cfg(target_os = "linux")]
fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EMSGSIZE)
}

/// Told otherwise here.
#[cfg(not(target_os = "linux"))]
fn is_too_large(_error: &io::Error) -> bool {
    false
}
