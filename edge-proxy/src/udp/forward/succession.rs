//! Flows beyond one process: those of the one before go on here, and these at the next one. Pure, as all of [`super`].

use std::sync::Arc;
use std::time::Instant;

use super::{Forwarder, PortEntry};
use crate::handover::{HandedFlow, Players};
use crate::routes::{Proof, Route};
use crate::traffic::Counters;
use crate::udp::flows::Flow;
use crate::udp::kept::KeptFlows;

impl Forwarder {
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
            let route = &self.ports.get(flow.port)?.route;
            Some(HandedFlow {
                port: flow.port,
                id: flow.id,
                server: route.server,
                port_index: route.port_index,
                client: flow.client,
                local_ip: flow.local_ip,
            })
        });
        let flows = flows.collect();
        // Of other workers' ports there may be some that were handed to all, and used there.
        let mut claims = self.claims.handed(now);
        claims.retain(|claim| self.ports.get(claim.port).is_some());
        Players { claims, flows }
    }

    /// Another edge has all flows: they count as its own, and are kept by it. What still comes back on tunnels of this
    /// one is delivered.
    pub(crate) fn release(&mut self) {
        for flow in self.flows.iter() {
            if let Some(entry) = self.ports.get(flow.port) {
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
            // It was not evicted, and is not to be before those that are not known to have been answered.
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
                self.evict(evicted);
            }
            counters.flow_opened();
            self.restored += 1;
        } else if let Some(slot) = slot {
            self.kept.strike(slot);
        }
    }
}
