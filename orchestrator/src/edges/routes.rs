//! What to say next to an edge, from the routes it was told and those of its region now. Pure.
//!
//! The first table of a link is whole, later ones are changes. Each is answered by the edge; what the
//! answer speaks of is remembered here until it comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use muster_protocol::edge::{Route, RouteFailure, RouteKey, RouteTable, RoutesApplied};
use muster_protocol::id::ServerId;

use crate::state::Routed;

/// Tables an edge may have been sent without having answered. One that owes more is behind, and is
/// disconnected: it gets one whole table when it is back.
pub(crate) const MAX_UNANSWERED: usize = 64;

/// Port and protocol: what names a route in its region.
type Key = (u32, i32);

/// What an edge has been told on its present link, and what of that it has not answered.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// `None` until the first table.
    routes: Option<BTreeMap<Key, Route>>,
    /// What those are made from.
    known: Arc<Routed>,
    unanswered: VecDeque<(u64, BTreeSet<ServerId>)>,
}

/// An edge's answer, in terms of servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// Servers all of whose routes in the table are served.
    pub(crate) served: Vec<ServerId>,
    /// Routes that are not.
    pub(crate) failures: Vec<RouteFailure>,
}

impl Told {
    /// What it has been told is made from: only what is not known by it need be read.
    pub(crate) fn known(&self) -> Arc<Routed> {
        Arc::clone(&self.known)
    }

    /// The table that brings the edge to the routes of `routed`, which count as told from now on; `None` if there is
    /// nothing to say. `read` are those of them that were not [`Told::known`].
    pub(crate) fn advance(&mut self, revision: u64, routed: Routed, read: Vec<Route>) -> Option<RouteTable> {
        let read: BTreeMap<Key, Route> =
            read.into_iter().filter_map(|route| Some((key_of(&route)?, route))).collect();
        self.known = Arc::new(routed);
        let (table, wanted) = match self.routes.take() {
            None => {
                let routes = read.values().cloned().collect();
                (RouteTable { revision, full: true, routes, remove: Vec::new() }, read)
            }
            Some(mut told) => {
                let changed = read.iter().filter(|(key, route)| told.get(*key) != Some(*route));
                let routes = changed.map(|(_, route)| route.clone()).collect();
                let is_over = |route: &Route| {
                    route.server_id.parse().is_ok_and(|server| !self.known.servers.contains(&server))
                };
                let over = told.extract_if(.., |key, route| is_over(route) && !read.contains_key(key));
                let remove =
                    over.map(|((edge_port, protocol), _)| RouteKey { edge_port, protocol }).collect();
                told.extend(read);
                (RouteTable { revision, full: false, routes, remove }, told)
            }
        };
        self.routes = Some(wanted);
        if !table.full && table.routes.is_empty() && table.remove.is_empty() {
            return None;
        }
        let servers = table.routes.iter().filter_map(|route| route.server_id.parse().ok()).collect();
        self.unanswered.push_back((revision, servers));
        Some(table)
    }

    /// Whether the edge owes more answers than [`MAX_UNANSWERED`].
    pub(crate) fn is_behind(&self) -> bool {
        self.unanswered.len() > MAX_UNANSWERED
    }

    /// What `applied` says of which servers. An answer to nothing that was asked is empty.
    pub(crate) fn answered(&mut self, applied: RoutesApplied) -> Answer {
        let mut servers = BTreeSet::new();
        // Answers come in order; an edge that skipped some has applied the later table on top of them.
        while self.unanswered.front().is_some_and(|(revision, _)| *revision <= applied.revision) {
            servers.extend(self.unanswered.pop_front().into_iter().flat_map(|(_, servers)| servers));
        }
        let failed: BTreeSet<ServerId> =
            applied.failures.iter().filter_map(|failure| failure.server_id.parse().ok()).collect();
        let told = self.routes.as_ref();
        // A failure may speak of a route that has been taken back meanwhile; it changes nothing then.
        let failures = applied.failures.into_iter().filter(|failure| {
            told.and_then(|routes| routes.get(&(failure.edge_port, failure.protocol)))
                .is_some_and(|route| route.server_id == failure.server_id)
        });
        Answer { failures: failures.collect(), served: servers.difference(&failed).copied().collect() }
    }
}

fn key_of(route: &Route) -> Option<Key> {
    route.key.as_ref().map(|key| (key.edge_port, key.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::agent::PortProtocol;

    const UDP: i32 = PortProtocol::Udp as i32;

    fn route(port: u32, server: ServerId) -> Route {
        Route {
            key: Some(RouteKey { edge_port: port, protocol: UDP }),
            server_id: server.to_string(),
            ..Default::default()
        }
    }

    /// As they are read for an edge that was told other routes.
    fn advance(told: &mut Told, revision: u64, routes: Vec<Route>) -> Option<RouteTable> {
        let servers = routes.iter().filter_map(|route| route.server_id.parse().ok()).collect();
        let known = told.known();
        let is_new = |route: &Route| !known.servers.contains(&route.server_id.parse().expect("an id"));
        let read = routes.into_iter().filter(is_new).collect();
        told.advance(revision, Routed { servers, ..Routed::default() }, read)
    }

    fn applied(revision: u64, failures: Vec<RouteFailure>) -> RoutesApplied {
        RoutesApplied { revision, failures }
    }

    fn failure(port: u32, server: ServerId) -> RouteFailure {
        RouteFailure {
            edge_port: port,
            protocol: UDP,
            server_id: server.to_string(),
            code: "port_taken".into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_whole_table_first_then_changes() {
        let (one, two) = (ServerId::new(), ServerId::new());
        let mut told = Told::default();
        let table = advance(&mut told, 3, vec![route(7000, one)]).expect("said");
        assert!(table.full);
        assert_eq!(advance(&mut told, 4, vec![route(7000, one)]), None);
        let table = advance(&mut told, 5, vec![route(7000, one), route(7001, two)]).expect("changed");
        assert!(!table.full && table.remove.is_empty());
        assert_eq!(table.routes, [route(7001, two)]);
        let table = advance(&mut told, 6, vec![route(7001, two)]).expect("changed");
        assert_eq!(table.remove, [RouteKey { edge_port: 7000, protocol: UDP }]);
        assert!(table.routes.is_empty());
        // The port goes to another server: one change, no removal.
        let table = advance(&mut told, 7, vec![route(7001, one)]).expect("changed");
        assert!(table.remove.is_empty());
        assert_eq!(table.routes, [route(7001, one)]);
    }

    #[test]
    fn where_tunnels_end_anew_is_said_of_all_it_concerns() {
        let (one, two) = (ServerId::new(), ServerId::new());
        let mut told = Told::default();
        advance(&mut told, 1, vec![route(7000, one), route(7001, two)]);
        let moved = Route { tunnel_addresses: vec!["elsewhere".into()], ..route(7001, two) };
        let routed = Routed { servers: [one, two].into(), ..Routed::default() };
        let table = told.advance(2, routed, vec![route(7000, one), moved.clone()]).expect("changed");
        assert!(!table.full && table.remove.is_empty());
        assert_eq!(table.routes, [moved]);
    }

    #[test]
    fn answers_say_which_servers_are_reached() {
        let (one, two) = (ServerId::new(), ServerId::new());
        let mut told = Told::default();
        advance(&mut told, 1, vec![route(7000, one)]);
        advance(&mut told, 2, vec![route(7000, one), route(7001, two)]);
        let answer = told.answered(applied(2, vec![failure(7001, two)]));
        assert_eq!(answer.served, [one]);
        assert_eq!(answer.failures.len(), 1);
        assert_eq!(told.answered(applied(2, vec![])), Answer::default());
    }

    #[test]
    fn a_failure_of_a_route_taken_back_is_no_failure() {
        let (one, two) = (ServerId::new(), ServerId::new());
        let mut told = Told::default();
        advance(&mut told, 1, vec![route(7000, one)]);
        advance(&mut told, 2, vec![route(7000, two)]);
        let answer = told.answered(applied(1, vec![failure(7000, one)]));
        assert_eq!(answer, Answer::default());
    }

    #[test]
    fn an_edge_that_never_answers_is_behind() {
        let mut told = Told::default();
        for revision in 0..=MAX_UNANSWERED as u64 {
            assert!(!told.is_behind());
            advance(&mut told, revision, vec![route(7000 + revision as u32, ServerId::new())]);
        }
        assert!(told.is_behind());
    }
}
