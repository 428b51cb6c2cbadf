//! Which flows there are: found by id, by place and by server, and who has to go when there are too many.
//!
//! A place is a small number that a flow keeps for its life. No sockets are touched here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::flow::{FlowId, MAX_SERVER_FLOWS};
use muster_protocol::id::ServerId;
use slab::Slab;

use super::super::flow::Flow;
use crate::routes::{Route, Slot};

/// Flows open at once on this node; each holds one UDP socket.
pub(in crate::tunnel) const MAX_FLOWS: usize = 65_536;
/// Flows looked at for one that may be evicted. Where forged ones are many, one of them is among these.
const CANDIDATES: usize = 16;
/// A flow whose client was heard within this time is not evicted: games that are played send more often.
const IN_PLAY: Duration = Duration::from_secs(1);

/// The flows.
pub(super) struct Table {
    // How many there may be, and of them to one server.
    bounds: (usize, u32),
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
    /// None yet.
    pub(super) fn new() -> Self {
        Self::of_at_most(MAX_FLOWS, MAX_SERVER_FLOWS)
    }

    fn of_at_most(all: usize, of_server: u32) -> Self {
        let (flows, by_id, servers) = (Slab::new(), HashMap::new(), HashMap::new());
        Self { bounds: (all, of_server), flows, by_id, servers, looked: 0, swept: 0 }
    }

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
        let (most, most_of_server) = self.bounds;
        if self.flows.len() >= most {
            self.looked = self.looked.wrapping_add(CANDIDATES);
            let (begin, all) = (self.looked, self.flows.capacity().max(1));
            return Err(self.longest_silent(now, (begin..).take(CANDIDATES).map(|place| place % all)));
        }
        if let Some(slot) = route.take(|route| &route.flows, most_of_server) {
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
        // Who was never answered is probably nobody.
        let known = places.filter_map(|place| {
            let flow = self.flows.get(place)?;
            Some((!flow.is_answered, flow.silent_for(now), place))
        });
        known.filter(|(_, silent, _)| *silent > IN_PLAY).max().map(|(.., place)| place)
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use mio::{Poll, Token};
    use muster_protocol::agent::PortProtocol;
    use muster_protocol::tunnel::OpenTarget;
    use muster_transport::ConnectionId;

    use super::super::super::socket::FlowSocket;
    use super::*;
    use crate::reconcile::RoutePort;
    use crate::routes::Routes;

    /// Bounds of these tables.
    const MOST: usize = 8;
    const OF_SERVER: u32 = 4;
    /// Longer than any silence of who plays.
    const SILENT: Duration = Duration::from_secs(2);

    struct World {
        table: Table,
        poll: Poll,
        game: UdpSocket,
        routes: Routes,
        edge: ConnectionId,
        start: Instant,
        next: u64,
    }

    fn world() -> World {
        let (poll, start) = (Poll::new().unwrap(), Instant::now());
        World {
            table: Table::of_at_most(MOST, OF_SERVER),
            game: UdpSocket::bind("127.0.0.1:0").unwrap(),
            routes: Routes::default(),
            edge: ConnectionId::made_up(1),
            poll,
            start,
            next: 0,
        }
    }

    impl World {
        /// A server that has just come up, and its way; if it was there, it is there anew.
        fn server(&self, server: ServerId, is_anew: bool) -> Arc<Route> {
            if is_anew {
                self.routes.shut(&server);
            }
            let port = RoutePort { protocol: PortProtocol::Udp, address: self.game.local_addr().unwrap() };
            self.routes.open(server, vec![port]);
            self.routes.get(&server).unwrap()
        }

        /// A flow that is heard `at` for the first time, by `slot`.
        fn put(&mut self, server: ServerId, route: &Arc<Route>, slot: Slot, at: Duration) -> usize {
            self.next += 1;
            let token = Token(self.table.next_place());
            let address = self.game.local_addr().unwrap();
            let socket = FlowSocket::connect(self.poll.registry(), token, address).unwrap();
            let target = OpenTarget { server, port_index: 0, client: None };
            let flow = Flow::new((FlowId(self.next), target), socket, slot, self.edge, self.start + at);
            let place = self.table.insert(flow, route.clone());
            assert_eq!((token.0, self.table.find(FlowId(self.next))), (place, Some(place)));
            place
        }

        /// As [`World::put`], if there is room.
        fn try_put(
            &mut self,
            server: ServerId,
            route: &Arc<Route>,
            at: Duration,
        ) -> Result<usize, Option<usize>> {
            let slot = self.table.room(self.start + at, server, route)?;
            Ok(self.put(server, route, slot, at))
        }

        /// As many as there may be to one server, each heard a millisecond after the one before.
        fn fill(&mut self, server: ServerId, route: &Arc<Route>) -> Vec<usize> {
            let millis = (0..).map(Duration::from_millis);
            (0..OF_SERVER).zip(millis).map(|(_, at)| self.try_put(server, route, at).unwrap()).collect()
        }
    }

    #[test]
    fn a_server_that_has_its_share_has_the_longest_silent_go() {
        let (mut world, server) = (world(), ServerId::new());
        let route = world.server(server, false);
        let places = world.fill(server, &route);
        let edge = world.edge;
        world.table.get_mut(places[0]).unwrap().seen(edge, world.start + SILENT);
        assert_eq!(world.try_put(server, &route, SILENT), Err(Some(places[1])));
        assert_eq!(world.table.len(), places.len(), "nobody goes before the caller says so");
        world.table.remove(places[1]).unwrap();
        let place = world.try_put(server, &route, SILENT).unwrap();
        assert_eq!(place, places[1], "a free place is taken again");
        assert_eq!(world.try_put(server, &route, SILENT), Err(Some(places[2])));
        let other = ServerId::new();
        let its = world.server(other, false);
        world.try_put(other, &its, SILENT).unwrap();
        assert!(world.table.is_whole());
    }

    #[test]
    fn who_is_in_play_is_never_evicted() {
        let (mut world, server) = (world(), ServerId::new());
        let route = world.server(server, false);
        world.fill(server, &route);
        assert_eq!(world.try_put(server, &route, IN_PLAY), Err(None));
        // The node as a whole is full: others' flows go, and these are in play as well.
        let other = ServerId::new();
        let its = world.server(other, false);
        world.fill(other, &its);
        let third = ServerId::new();
        let route = world.server(third, false);
        assert_eq!(world.try_put(third, &route, IN_PLAY), Err(None));
        let place = world.try_put(third, &route, SILENT).unwrap_err().expect("somebody is silent by now");
        world.table.remove(place).unwrap();
        world.try_put(third, &route, SILENT).unwrap();
        assert!(world.table.is_whole());
    }

    #[test]
    fn each_flow_is_found_where_it_is_whoever_has_gone() {
        let (mut world, server) = (world(), ServerId::new());
        let route = world.server(server, false);
        // The first, one in between, and the last.
        for gone in [0, 1, OF_SERVER as usize - 1] {
            let places = world.fill(server, &route);
            world.table.remove(places[gone]).unwrap();
            assert!(world.table.is_whole());
            assert!(world.table.remove(places[gone]).is_none() && world.table.get(places[gone]).is_none());
            for place in
                places.into_iter().filter(|place| world.table.get(*place).is_some()).collect::<Vec<_>>()
            {
                world.table.remove(place).unwrap();
                assert!(world.table.is_whole());
            }
            assert!(world.table.servers.is_empty());
        }
    }

    #[test]
    fn a_server_that_came_back_is_told_from_what_it_was() {
        let (mut world, server) = (world(), ServerId::new());
        let before = world.server(server, false);
        let mut places = world.fill(server, &before);
        assert!(world.table.by_another(server, &before).is_empty() && world.table.over().is_empty());
        let other = ServerId::new();
        let its = world.server(other, false);
        world.try_put(other, &its, SILENT).unwrap();
        let after = world.server(server, true);
        let (mut by_another, mut over) = (world.table.by_another(server, &after), world.table.over());
        places.sort_unstable();
        by_another.sort_unstable();
        over.sort_unstable();
        assert_eq!((&by_another, &over), (&places, &places));
        for place in by_another {
            world.table.remove(place);
        }
        world.try_put(server, &after, SILENT).unwrap();
        assert!(world.table.by_another(server, &after).is_empty() && world.table.over().is_empty());
        assert!(world.table.is_whole());
    }

    #[test]
    fn all_are_looked_over_for_idle_ones_a_few_at_a_time() {
        let (mut world, server) = (world(), ServerId::new());
        let route = world.server(server, false);
        let mut places = world.fill(server, &route);
        let now = world.start + SILENT;
        let kept = places.pop().unwrap();
        let edge = world.edge;
        world.table.get_mut(kept).unwrap().seen(edge, now);
        let all = world.table.flows.capacity();
        let mut found: Vec<_> = (0..all).flat_map(|_| world.table.idle(now, SILENT / 2, 1)).collect();
        found.sort_unstable();
        assert_eq!(found, places);
        assert!(world.table.idle(now, SILENT * 2, all).is_empty());
    }
}
