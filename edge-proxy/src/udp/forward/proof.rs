//! How a flow begins, or moves to another address: by a token, a claim, or on an `open` port by itself. Pure, as all
//! of [`super`].

use std::sync::Arc;

use muster_protocol::flow::{FlowId, FlowOwner, flow_id};
use muster_protocol::id::SeatId;
use muster_protocol::preface::{Refusal, decode_claim, decode_preface};

use super::{Arrival, Forwarder, Verdict};
use crate::clock::Now;
use crate::drops::DropReason;
use crate::routes::{Proof, Route};
use crate::udp::admission::Admit;
use crate::udp::claims::Claim;
use crate::udp::flows::Flow;
use crate::udp::kept::KeptFlow;

impl Forwarder {
    /// A packet from an address that has no flow there.
    pub(super) fn first_packet(&mut self, now: Now, arrival: &Arrival<'_>) -> Verdict {
        let Some(entry) = self.ports.get(arrival.port) else {
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
            Ok(id) => self.open_verdict(arrival, id),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// A packet that begins as a preface does, on a port that asks for one.
    pub(super) fn preface(&mut self, now: Now, arrival: &Arrival<'_>) -> Verdict {
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
        let entry = self.ports.get(arrival.port).ok_or(Verdict::Drop(DropReason::UnknownFlow))?;
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
            self.guard.new_flow(now.instant, arrival.client.ip(), id, route.server)?;
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
            self.evict(evicted);
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
}
