//! Which flows there are: found by id, by place and by server, and who has to go when there are too many.
//!
//! A place is a small number that a flow keeps for its life. No sockets are touched here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::flow::FlowId;
use muster_protocol::id::ServerId;
use slab::Slab;

use super::super::flow::Flow;
use crate::routes::{Route, Slot};

/// Flows open at once on this node; each holds one UDP socket.
pub(in crate::tunnel) const MAX_FLOWS: usize = 65_536;
/// Flows open at once to one server.
const MAX_SERVER_FLOWS: u32 = 4_096;
/// Flows looked at for one that may be evicted. Where forged ones are many, one of them is among these.
const CANDIDATES: usize = 16;
/// A flow whose client was heard within this time is not evicted: games that are played send more often.
const IN_PLAY: Duration = Duration::from_secs(1);

/// The flows.
#[derive(Default)]
pub(super) struct Table {
    flows: Slab<Flow>,
    by_id: HashMap<FlowId, usize>,
    servers: HashMap<ServerId, Server>,
    // Where the next look begins.
    looked: usize,
    swept: usize,
}

/// A server that flows lead to.
struct Server {
    route: Arc<Route>,
    // Of its flows, in no order; each flow knows where it stands here.
    places: Vec<usize>,
    looked: usize,
}

impl Table {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Where the flow `id` is.
    pub(super) fn find(&self, id: FlowId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The flow at `place`.
    pub(super) fn get(&self, place: usize) -> Option<&Flow> {
        self.flows.get(place)
    }

    /// The flow at `place`.
    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Flow> {
        self.flows.get_mut(place)
    }

    /// Where the next flow will be.
    pub(super) fn next_place(&self) -> usize {
        self.flows.vacant_key()
    }

    /// Room for one more flow by `route`; if there is none, a flow that may be evicted for it.
    ///
    /// # Errors
    /// The place of that flow; `None` if every one is in play.
    pub(super) fn room(
        &mut self,
        now: Instant,
        server: ServerId,
        route: &Arc<Route>,
    ) -> Result<Slot, Option<usize>> {
        if self.flows.len() >= MAX_FLOWS {
            self.looked = self.looked.wrapping_add(CANDIDATES);
            let (begin, all) = (self.looked, self.flows.capacity().max(1));
            return Err(self.longest_silent(now, (begin..).take(CANDIDATES).map(|place| place % all)));
        }
        if let Some(slot) = route.take(|route| &route.flows, MAX_SERVER_FLOWS) {
            return Ok(slot);
        }
        let Some(server) = self.servers.get_mut(&server) else { return Err(None) };
        server.looked = server.looked.wrapping_add(CANDIDATES);
        let (begin, all) = (server.looked, server.places.len().max(1));
        let server = &*server;
        let places = (begin..).take(CANDIDATES).filter_map(|at| server.places.get(at % all).copied());
        let places: Vec<_> = places.collect();
        Err(self.longest_silent(now, places.into_iter()))
    }

    fn longest_silent(&self, now: Instant, places: impl Iterator<Item = usize>) -> Option<usize> {
        let known = places.filter_map(|place| Some((self.flows.get(place)?.silent_for(now), place)));
        known.max().filter(|(silent, _)| *silent > IN_PLAY).map(|(_, place)| place)
    }

    /// Puts `flow`, by `route`, at the next place.
    pub(super) fn insert(&mut self, mut flow: Flow, route: Arc<Route>) -> usize {
        let new = || Server { route, places: Vec::new(), looked: 0 };
        let (id, place) = (flow.id, self.flows.vacant_key());
        let server = self.servers.entry(flow.target.server).or_insert_with(new);
        flow.order = server.places.len();
        server.places.push(place);
        self.by_id.insert(id, place);
        self.flows.insert(flow)
    }

    /// Takes the flow at `place` out.
    pub(super) fn remove(&mut self, place: usize) -> Option<Flow> {
        let flow = self.flows.try_remove(place)?;
        self.by_id.remove(&flow.id);
        let server = self.servers.get_mut(&flow.target.server)?;
        server.places.swap_remove(flow.order);
        if let Some(moved) = server.places.get(flow.order).and_then(|place| self.flows.get_mut(*place)) {
            moved.order = flow.order;
        }
        if server.places.is_empty() {
            self.servers.remove(&flow.target.server);
        }
        Some(flow)
    }

    /// Of up to `most` flows, others each time, those that are silent for `idle`.
    pub(super) fn idle(&mut self, now: Instant, idle: Duration, most: usize) -> Vec<usize> {
        let (begin, all) = (self.swept, self.flows.capacity().max(1));
        let places = (begin..).take(most.min(all)).map(|place| place % all);
        let is_idle = |place: &usize| self.flows.get(*place).is_some_and(|flow| flow.silent_for(now) >= idle);
        let found = places.filter(is_idle).collect();
        self.swept = (begin + most) % all;
        found
    }

    /// The flows to `server` that are not by `route`: it came back, and its ports are others.
    pub(super) fn by_another(&self, server: ServerId, route: &Arc<Route>) -> Vec<usize> {
        let before = self.servers.get(&server).filter(|server| !Arc::ptr_eq(&server.route, route));
        before.map_or_else(Vec::new, |server| server.places.clone())
    }

    /// Whether what is known by id, by place and by server is the same.
    pub(super) fn is_whole(&self) -> bool {
        let listed = self.servers.values().flat_map(|server| server.places.iter().enumerate());
        let at_place =
            |(order, place): (usize, &usize)| self.flows.get(*place).is_some_and(|flow| flow.order == order);
        self.by_id.iter().all(|(id, place)| self.flows.get(*place).is_some_and(|flow| flow.id == *id))
            && self.by_id.len() == self.flows.len()
            && listed.clone().count() == self.flows.len()
            && listed.clone().all(at_place)
    }

    /// The flows whose servers are over.
    pub(super) fn over(&self) -> Vec<usize> {
        let over = self.servers.values().filter(|server| server.route.closed.is_cancelled());
        over.flat_map(|server| &server.places).copied().collect()
    }
}
