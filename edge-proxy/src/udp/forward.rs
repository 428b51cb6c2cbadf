//! What becomes of each packet: passed on, answered, or dropped and why. Pure: no clock, no I/O.
//!
//! On a port that asks for proof nothing passes before a valid preface, and nothing but the answer to a
//! preface, which is never longer than it, goes back. The packet of a flow that stands takes the short
//! way: one lookup, no allocation. Sockets and tunnels are the hot loop's.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use muster_protocol::flow::{FlowId, FlowOwner, flow_id};
use muster_protocol::fragment::{Rejoined, Rejoiner};
use muster_protocol::id::{NodeId, SeatId};
use muster_protocol::preface::{Refusal, decode_claim, decode_preface};
use muster_protocol::tunnel::{Header, OpenTarget, RefuseReason};

use super::admission::{Admission, Admit};
use super::claims::{Claim, Claims};
use super::flows::{Flow, FlowTable, Gone};
use super::kept::{KeptFlow, KeptFlows, SlotWrite};
use crate::clock::Now;
use crate::drops::DropReason;
use crate::handover::{HandedFlow, Players};
use crate::limits::Guard;
use crate::routes::{Proof, Route};
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
    /// Count why, and say nothing.
    Drop(DropReason),
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
    ports: HashMap<u16, PortEntry>,
    kept: KeptFlows,
    // Flows of `open` ports that the edge before handed over, by the port that they wait for.
    handed: HashMap<u16, Vec<HandedFlow>>,
    // Flows of the process before are not waited for any longer.
    waiting_until: Instant,
    idle: Duration,
    // Flows that went since the last `take_gone`: their agents are to be told.
    gone: Vec<(NodeId, FlowId)>,
    rebinds: u64,
    restored: u64,
}

impl Forwarder {
    /// A forwarder without ports, of at most `max_flows` flows that live `idle` without a packet. `guard` holds all to
    /// the limits.
    pub(crate) fn new(
        trust: Arc<ArcSwap<Trust>>,
        max_flows: usize,
        idle: Duration,
        guard: Guard,
        now: Instant,
    ) -> Self {
        Self {
            trust,
            flows: FlowTable::new(max_flows),
            guard,
            admission: Admission::new(now),
            claims: Claims::default(),
            ports: HashMap::new(),
            kept: KeptFlows::none(),
            handed: HashMap::new(),
            waiting_until: now,
            idle,
            gone: Vec::new(),
            rebinds: 0,
            restored: 0,
        }
    }

    /// Keeps proven flows in `kept` from now on. The flows of the process before, in there and among `players`, go on
    /// when their port is opened. To be called before any is.
    pub(crate) fn take_up(&mut self, now: Instant, kept: KeptFlows, players: Players) {
        self.kept = kept;
        self.waiting_until = now + self.idle;
        self.claims.take_up(now, players.claims);
        for flow in players.flows {
            self.handed.entry(flow.port).or_default().push(flow);
        }
    }

    /// What the next edge cannot read from disk.
    pub(crate) fn players(&mut self, now: Instant) -> Players {
        let of_open_ports = self.flows.iter().filter(|flow| flow.proof.is_none());
        let flows = of_open_ports.filter_map(|flow| {
            let route = &self.ports.get(&flow.port)?.route;
            Some(HandedFlow {
                port: flow.port,
                id: flow.id,
                server: route.server,
                port_index: route.port_index,
                client: flow.client,
                local_ip: flow.local_ip,
            })
        });
        Players { flows: flows.collect(), claims: self.claims.handed(now) }
    }

    /// Another edge has all flows: they count as its own, and are kept by it. What still comes back on tunnels of this
    /// one is delivered.
    pub(crate) fn release(&mut self) {
        for flow in self.flows.iter() {
            if let Some(entry) = self.ports.get(&flow.port) {
                entry.counters.flow_closed();
            }
        }
        self.ports.clear();
        self.kept = KeptFlows::none();
    }

    /// Begins to serve `route`, and goes on with the flows to its server that the process before had.
    pub(crate) fn open_port(&mut self, now: Instant, route: Arc<Route>, counters: Arc<Counters>) {
        let port = route.key.port;
        let kept = self.kept.take_waiting(port).into_iter().map(|(slot, flow)| {
            let there = (flow.server, flow.port_index);
            let flow = Flow {
                proof: Some(flow.proof),
                kept: Some(slot),
                ..Flow::new(flow.id, &route, flow.client, flow.local_ip, now)
            };
            (there, flow)
        });
        let handed = self.handed.remove(&port).unwrap_or_default().into_iter().map(|flow| {
            // It was not evicted, and is not to be.
            let was = Flow::new(flow.id, &route, flow.client, flow.local_ip, now);
            ((flow.server, flow.port_index), Flow { answered: true, ..was })
        });
        for (there, flow) in kept.chain(handed).collect::<Vec<_>>() {
            let leads_there = there == (route.server, route.port_index);
            let is_proven_as_asked = flow.proof.is_some() == (route.proof != Proof::Open);
            self.go_on(flow, leads_there && is_proven_as_asked, &counters);
        }
        self.ports.insert(port, PortEntry { route, counters });
    }

    /// Takes `flow` of the process before in, if it is still `good`.
    fn go_on(&mut self, flow: Flow, good: bool, counters: &Counters) {
        let is_new =
            self.flows.of_id(flow.id).is_none() && self.flows.of_client(flow.port, flow.client).is_none();
        let slot = flow.kept;
        if good
            && is_new
            && let Ok(evicted) = self.flows.insert(flow)
        {
            if let Some(evicted) = evicted {
                self.forget(evicted);
            }
            counters.flow_opened();
            self.restored += 1;
        } else if let Some(slot) = slot {
            self.kept.strike(slot);
        }
    }

    /// Ends `port` and its flows.
    pub(crate) fn close_port(&mut self, port: u16) {
        for gone in self.flows.remove_port(port) {
            self.forget(gone);
        }
        self.claims.close_port(port);
        self.ports.remove(&port);
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
                let server = || Some(self.ports.get(&arrival.port)?.route.server);
                if let Err(reason) = self.guard.of_flow(now.instant, flow.id, server, bytes) {
                    return Verdict::Drop(reason);
                }
                if flow.opened_on == arrival.connection && arrival.connection != 0 {
                    return Verdict::Forward(Header::Data { flow: flow.id, open: None, fragment: None });
                }
                let id = flow.id;
                self.open_verdict(arrival.port, id)
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
            return Reply::Drop(DropReason::TunnelMalformed);
        };
        // An agent speaks of its own flows only: another node's id is as good as none.
        let Some(flow) = self.flows.of_id(header.flow()).filter(|flow| flow.node == node) else {
            return Reply::Drop(DropReason::UnknownFlow);
        };
        match header {
            Header::Data { open: Some(_), .. } => Reply::Drop(DropReason::TunnelMalformed),
            Header::Data { flow: id, fragment, .. } => {
                flow.answered = true;
                let payload = match fragment {
                    None => datagram,
                    Some(part) => match rejoiner.push(now, id, part, &datagram) {
                        Rejoined::Whole(packet) => packet,
                        Rejoined::Waiting => return Reply::Nothing,
                        Rejoined::Misfit => return Reply::Drop(DropReason::TunnelMalformed),
                    },
                };
                Reply::Deliver { port: flow.port, client: flow.client, local_ip: flow.local_ip, payload }
            }
            Header::Opened(_) => {
                flow.opened_on = connection;
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
                Reply::Drop(DropReason::AgentRefused)
            }
            Header::Refused(id, _) => {
                self.end_without_notice(id);
                Reply::Drop(DropReason::AgentRefused)
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

    /// The counters of `port`'s server.
    pub(crate) fn counters(&self, port: u16) -> Option<&Counters> {
        self.ports.get(&port).map(|entry| &*entry.counters)
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

    fn first_packet(&mut self, now: Now, arrival: &Arrival<'_>) -> Verdict {
        let Some(entry) = self.ports.get(&arrival.port) else {
            return Verdict::Drop(DropReason::UnknownFlow);
        };
        let (owner, proof) = match entry.route.proof {
            Proof::Open => (FlowOwner::Address(arrival.client), None),
            Proof::Preface | Proof::Claim if decode_preface(arrival.packet).is_some() => {
                return self.preface(now, arrival);
            }
            Proof::Preface => return Verdict::Drop(DropReason::Unproven),
            Proof::Claim => {
                if let Some(token) = decode_claim(arrival.packet) {
                    return self.claim(now, arrival, token);
                }
                match self.claims.take(now.instant, arrival.port, arrival.client.ip()) {
                    Some(claim) => (FlowOwner::Seat(claim.seat), Some(claim.proof)),
                    None => return Verdict::Drop(DropReason::Unproven),
                }
            }
        };
        let route = entry.route.clone();
        match self.admit_flow(now, arrival, &route, owner, proof) {
            Ok(id) => self.open_verdict(arrival.port, id),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// A packet that begins as a preface does, on a port that asks for one.
    fn preface(&mut self, now: Now, arrival: &Arrival<'_>) -> Verdict {
        let Some(token) = decode_preface(arrival.packet) else { return Verdict::Drop(DropReason::Unproven) };
        let proof = self.kept.token_hash(token);
        if let Some(flow) = self.flows.of_client(arrival.port, arrival.client)
            && flow.proof == Some(proof)
        {
            // The same token from the same address: the client has not heard the answer yet.
            return Verdict::Accept;
        }
        match self.check(now, arrival, token) {
            Ok((route, seat)) => self.seat_proven(now, arrival, &route, seat, proof),
            Err(verdict) => verdict,
        }
    }

    /// A claim from an address that has no flow there, on a port that takes claims.
    fn claim(&mut self, now: Now, arrival: &Arrival<'_>, token: &str) -> Verdict {
        let (proof, ip) = (self.kept.token_hash(token), arrival.client.ip());
        if self.claims.is_of(now.instant, arrival.port, ip, proof) {
            // The client has not heard the answer yet.
            return Verdict::Accept;
        }
        match self.check(now, arrival, token) {
            Ok((_, seat)) => match self.claims.put(now.instant, arrival.port, ip, Claim { seat, proof }) {
                Ok(()) => Verdict::Accept,
                Err(reason) => Verdict::Refuse(Refusal::Unavailable, reason),
            },
            Err(verdict) => verdict,
        }
    }

    /// The route of the arrival's port and the seat that `token` opens on it, if there is time to check it and it
    /// is good.
    fn check(
        &mut self,
        now: Now,
        arrival: &Arrival<'_>,
        token: &str,
    ) -> Result<(Arc<Route>, SeatId), Verdict> {
        match self.admission.admit(now.instant, arrival.client.ip()) {
            Admit::Check => {}
            Admit::SourceLimited => return Err(Verdict::Drop(DropReason::SourceLimited)),
            Admit::CheckLimited => return Err(Verdict::Drop(DropReason::CheckLimited)),
        }
        let entry = self.ports.get(&arrival.port).ok_or(Verdict::Drop(DropReason::UnknownFlow))?;
        let route = entry.route.clone();
        match self.trust.load().check(&route, token, now.unix_ms) {
            Ok(seat) => Ok((route, seat)),
            Err(refusal) => {
                self.admission.failed(arrival.client.ip());
                Err(Verdict::Refuse(refusal, refusal.into()))
            }
        }
    }

    /// The holder of `seat` is at the arrival's address: begins their flow, or moves it there.
    fn seat_proven(
        &mut self,
        now: Now,
        arrival: &Arrival<'_>,
        route: &Arc<Route>,
        seat: SeatId,
        proof: u64,
    ) -> Verdict {
        match self.admit_flow(now, arrival, route, FlowOwner::Seat(seat), Some(proof)) {
            Ok(_) => Verdict::Accept,
            Err(reason) => Verdict::Refuse(Refusal::Unavailable, reason),
        }
    }

    /// Makes the flow of `owner` lead to the arrival's address, whether it stood before or not.
    fn admit_flow(
        &mut self,
        now: Now,
        arrival: &Arrival<'_>,
        route: &Arc<Route>,
        owner: FlowOwner,
        proof: Option<u64>,
    ) -> Result<FlowId, DropReason> {
        let id = flow_id(&self.trust.load().flow_key, &route.server, route.port_index, owner);
        let stands = self.flows.of_client(arrival.port, arrival.client).is_some_and(|flow| flow.id == id);
        if !stands {
            self.guard.new_flow(now.instant, arrival.client.ip(), Some(id), route.server)?;
        }
        if let Some(flow) = self.flows.of_id(id)
            && flow.port == arrival.port
        {
            (flow.proof, flow.last_packet) = (proof, now.instant);
            self.rebinds += u64::from(flow.client != arrival.client);
            if let Some(displaced) = self.flows.move_to(id, arrival.client, arrival.local_ip) {
                self.forget(displaced);
            }
            self.keep(id, route);
            return Ok(id);
        }
        // The same flow through another port of ours, and another seat's at this address, both end here.
        self.end_without_notice(id);
        if let Some(other) = self.flows.of_client(arrival.port, arrival.client).map(|flow| flow.id)
            && let Some(gone) = self.flows.remove(other)
        {
            self.forget(gone);
        }
        let new = Flow::new(id, route, arrival.client, arrival.local_ip, now.instant);
        let flow = Flow { proof, ..new };
        if let Some(evicted) = self.flows.insert(flow).map_err(|_| DropReason::FlowTableFull)? {
            self.forget(evicted);
        }
        if let Some(counters) = self.counters(arrival.port) {
            counters.flow_opened();
        }
        self.keep(id, route);
        Ok(id)
    }

    /// Keeps the flow `id` for a restart as it is now, if it is proven.
    fn keep(&mut self, id: FlowId, route: &Route) {
        let Some(flow) = self.flows.of_id(id) else { return };
        let Some(proof) = flow.proof else { return };
        let kept = KeptFlow {
            id,
            server: route.server,
            port_index: route.port_index,
            port: flow.port,
            client: flow.client,
            local_ip: flow.local_ip,
            proof,
        };
        flow.kept = self.kept.keep(flow.kept, &kept);
    }

    /// Forward with OPEN: the agent may not know the flow.
    fn open_verdict(&self, port: u16, flow: FlowId) -> Verdict {
        let Some(entry) = self.ports.get(&port) else { return Verdict::Drop(DropReason::UnknownFlow) };
        let target = OpenTarget { server: entry.route.server, port_index: entry.route.port_index };
        Verdict::Forward(Header::Data { flow, open: Some(target), fragment: None })
    }

    fn forget(&mut self, gone: Gone) {
        self.strike(gone);
        if let Some(entry) = self.ports.get(&gone.port) {
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
