//! What becomes of each packet: passed on, answered, or dropped and why. Pure: no clock, no I/O.
//!
//! On a port that asks for proof nothing passes before a valid preface, and nothing but the answer to a
//! preface, which is never longer than it, goes back. The packet of a flow that stands takes the short
//! way: one lookup, no allocation. How flows begin is `proof`'s, how they outlive a process `succession`'s; sockets
//! and tunnels are the hot loop's.

mod proof;
mod succession;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{Rejoined, Rejoiner};
use muster_protocol::id::NodeId;
use muster_protocol::preface::{Refusal, decode_preface};
use muster_protocol::tunnel::{Header, OpenTarget, RefuseReason};

use super::admission::Admission;
use super::by_port::ByPort;
use super::claims::Claims;
use super::flows::{FlowTable, Gone, Room};
use super::kept::{KeptFlows, SlotWrite};
use crate::clock::Now;
use crate::drops::DropReason;
use crate::handover::HandedFlow;
use crate::limits::Guard;
use crate::routes::Route;
use crate::traffic::Counters;
use crate::trust::Trust;

/// Part of the table looked at per sweep: with a sweep every 50 ms, all of it once a second.
const SWEEPS_PER_ROUND: usize = 20;

/// A packet from a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// Port of the edge it came to.
    pub(crate) port: u16,
    /// Number of the connection to the port's agent that stands now; 0 if none does.
    pub(crate) connection: u32,
    /// Who sent it.
    pub(crate) client: SocketAddr,
    /// Our address it was sent to.
    pub(crate) local_ip: Option<IpAddr>,
    /// Its payload.
    pub(crate) packet: &'a [u8],
}

/// What to do with a packet from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it to the agent under this header.
    Forward(Header),
    /// It was a preface or a claim; say that it holds.
    Accept,
    /// It was a preface or a claim; say that it is refused, and count why.
    Refuse(Refusal, DropReason),
    /// Count why, and say nothing.
    Drop(DropReason),
}

/// What to do with a datagram from an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Send the payload to the client.
    Deliver {
        /// From this port of the edge.
        port: u16,
        /// To this client.
        client: SocketAddr,
        /// From this address of ours.
        local_ip: Option<IpAddr>,
        /// The packet.
        payload: Bytes,
    },
    /// Nothing goes to the client.
    Nothing,
    /// Count why, and say nothing. It was for a client of this port, if that is known.
    Drop(DropReason, Option<u16>),
}

struct PortEntry {
    route: Arc<Route>,
    counters: Arc<Counters>,
}

/// The decisions of one worker, and the flows they rest on.
pub(crate) struct Forwarder {
    trust: Arc<ArcSwap<Trust>>,
    flows: FlowTable,
    guard: Guard,
    admission: Admission,
    claims: Claims,
    ports: ByPort<PortEntry>,
    kept: KeptFlows,
    // Flows of `open` ports that the edge before handed over, by the port that they wait for.
    handed: HashMap<u16, Vec<HandedFlow>>,
    // Flows of the process before are not waited for any longer.
    waiting_until: Instant,
    idle: Duration,
    // Flows that went since the last `take_gone`: their agents are to be told.
    gone: Vec<(NodeId, FlowId)>,
    rebinds: u64,
    // The ports of flows that made room for others.
    evicted: Vec<u16>,
    restored: u64,
}

impl Forwarder {
    /// A forwarder without ports, of flows that find `room` and live `idle` without a packet. `guard` holds all to
    /// the limits.
    pub(crate) fn new(
        trust: Arc<ArcSwap<Trust>>,
        room: impl Into<Room>,
        idle: Duration,
        guard: Guard,
        now: Instant,
    ) -> Self {
        Self {
            trust,
            flows: FlowTable::new(room),
            guard,
            admission: Admission::new(now),
            claims: Claims::default(),
            ports: ByPort::new(),
            kept: KeptFlows::none(),
            handed: HashMap::new(),
            waiting_until: now,
            idle,
            gone: Vec::new(),
            rebinds: 0,
            evicted: Vec::new(),
            restored: 0,
        }
    }

    /// Ends `port` and its flows.
    pub(crate) fn close_port(&mut self, port: u16) {
        for gone in self.flows.remove_port(port) {
            self.forget(gone);
        }
        self.claims.close_port(port);
        self.ports.remove(port);
    }

    /// Decides on a packet from a client.
    pub(crate) fn client_packet(&mut self, now: Now, arrival: &Arrival<'_>) -> Verdict {
        let (source, bytes) = (arrival.client.ip(), arrival.packet.len());
        if let Err(reason) = self.guard.packet(now.instant, source, bytes) {
            return Verdict::Drop(reason);
        }
        match self.flows.of_client(arrival.port, arrival.client) {
            Some(flow) => {
                flow.last_packet = now.instant;
                // The magic is looked at before anything that costs more.
                if flow.proof.is_some() && decode_preface(arrival.packet).is_some() {
                    return self.preface(now, arrival);
                }
                let server = || Some(self.ports.get(arrival.port)?.route.server);
                if let Err(reason) = self.guard.of_flow(now.instant, flow.id, server, bytes) {
                    return Verdict::Drop(reason);
                }
                if flow.opened_on == arrival.connection && arrival.connection != 0 {
                    return Verdict::Forward(Header::Data { flow: flow.id, open: None, fragment: None });
                }
                let id = flow.id;
                self.open_verdict(arrival, id)
            }
            None => self.first_packet(now, arrival),
        }
    }

    /// Decides on a datagram that `node`'s agent sent on its connection number `connection`.
    pub(crate) fn agent_datagram(
        &mut self,
        now: Instant,
        node: NodeId,
        connection: u32,
        rejoiner: &mut Rejoiner,
        mut datagram: Bytes,
    ) -> Reply {
        let Ok(header) = Header::decode(&mut datagram) else {
            return Reply::Drop(DropReason::TunnelMalformed, None);
        };
        // An agent speaks of its own flows only: another node's id is as good as none.
        let Some(flow) = self.flows.of_id(header.flow()).filter(|flow| flow.node == node) else {
            return Reply::Drop(DropReason::UnknownFlow, None);
        };
        let port = Some(flow.port);
        match header {
            Header::Data { open: Some(_), .. } => Reply::Drop(DropReason::TunnelMalformed, port),
            Header::Data { flow: id, fragment, .. } => {
                flow.answered = true;
                let payload = match fragment {
                    None => datagram,
                    Some(part) => match rejoiner.push(now, id, part, &datagram) {
                        Rejoined::Whole(packet) => packet,
                        Rejoined::Waiting => return Reply::Nothing,
                        Rejoined::Misfit => return Reply::Drop(DropReason::TunnelMalformed, port),
                    },
                };
                Reply::Deliver { port: flow.port, client: flow.client, local_ip: flow.local_ip, payload }
            }
            Header::Opened(_) => {
                if flow.is_opening {
                    flow.opened_on = connection;
                }
                Reply::Nothing
            }
            Header::Unknown(_) => {
                flow.opened_on = 0;
                Reply::Nothing
            }
            // An agent that has just been restarted may not have taken up its containers yet. Were the server over,
            // its route would go, and the flow with it.
            Header::Refused(_, RefuseReason::UnknownServer) => {
                flow.opened_on = 0;
                Reply::Drop(DropReason::AgentRefused, port)
            }
            // The agent had more flows than it has room for, and which of them are proven it does not know. The client would not
            // prove itself again: its next packet opens the flow anew.
            Header::Refused(_, RefuseReason::TooManyFlows) if flow.proof.is_some() => {
                flow.opened_on = 0;
                Reply::Drop(DropReason::AgentRefused, port)
            }
            Header::Refused(id, _) => {
                self.end_without_notice(id);
                Reply::Drop(DropReason::AgentRefused, port)
            }
            Header::Close(_) if flow.proof.is_some() => {
                flow.opened_on = 0;
                Reply::Nothing
            }
            Header::Close(id) => {
                self.end_without_notice(id);
                Reply::Nothing
            }
        }
    }

    /// Number of the next split packet of flow `id`.
    pub(crate) fn next_split(&mut self, id: FlowId) -> u16 {
        self.flows.of_id(id).map_or(0, |flow| {
            flow.next_split = flow.next_split.wrapping_add(1);
            flow.next_split
        })
    }

    /// The port of flow `id`.
    pub(crate) fn port_of(&mut self, id: FlowId) -> Option<u16> {
        self.flows.of_id(id).map(|flow| flow.port)
    }

    /// The counters of `port`'s server.
    pub(crate) fn counters(&self, port: u16) -> Option<&Counters> {
        self.ports.get(port).map(|entry| &*entry.counters)
    }

    /// Forgets a part of the flows that have been idle; call every 50 ms.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if now >= self.waiting_until {
            self.kept.give_up_waiting();
            self.handed.clear();
        }
        let mut idle = Vec::new();
        let places = self.flows.places().div_ceil(SWEEPS_PER_ROUND);
        self.flows.sweep(now, self.idle, places, &mut idle);
        for gone in idle {
            self.forget(gone);
        }
    }

    /// Flows that went since the last call and did not come back, with the node whose agent is to be told.
    pub(crate) fn take_gone(&mut self) -> Vec<(NodeId, FlowId)> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|(_, id)| self.flows.of_id(*id).is_none());
        gone
    }

    /// Flows that moved to another address since the last call.
    pub(crate) fn take_rebinds(&mut self) -> u64 {
        std::mem::take(&mut self.rebinds)
    }

    /// Flows of the process before that go on, since the last call.
    pub(crate) fn take_restored(&mut self) -> u64 {
        std::mem::take(&mut self.restored)
    }

    /// What is to be written of kept flows, before a client is told that its flow stands.
    pub(crate) fn take_writes(&mut self) -> Vec<SlotWrite> {
        self.kept.take_writes()
    }

    /// Flows now.
    pub(crate) fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Forward with OPEN: the agent may not know the flow, or where its client is now.
    fn open_verdict(&mut self, arrival: &Arrival<'_>, flow: FlowId) -> Verdict {
        if let Some(flow) = self.flows.of_id(flow) {
            flow.is_opening = true;
        }
        let Some(entry) = self.ports.get(arrival.port) else { return Verdict::Drop(DropReason::UnknownFlow) };
        let Route { server, port_index, .. } = *entry.route;
        let target = OpenTarget { server, port_index, client: Some(arrival.client) };
        Verdict::Forward(Header::Data { flow, open: Some(target), fragment: None })
    }

    /// The ports of flows that made room for others since this was last asked.
    pub(crate) fn take_evicted(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.evicted)
    }

    /// Forgets a flow that made room for another.
    fn evict(&mut self, gone: Gone) {
        self.evicted.push(gone.port);
        self.forget(gone);
    }

    fn forget(&mut self, gone: Gone) {
        self.strike(gone);
        if let Some(entry) = self.ports.get(gone.port) {
            entry.counters.flow_closed();
            self.gone.push((entry.route.node, gone.id));
        }
    }

    /// Removes a flow whose agent knows that it is over, or is about to be told that it goes on.
    fn end_without_notice(&mut self, id: FlowId) {
        let Some(gone) = self.flows.remove(id) else { return };
        self.strike(gone);
        if let Some(counters) = self.counters(gone.port) {
            counters.flow_closed();
        }
    }

    fn strike(&mut self, gone: Gone) {
        if let Some(slot) = gone.kept {
            self.kept.strike(slot);
        }
    }
}
