//! What to say next to an edge, from the routes it was told and those of its region now. Pure.
//!
//! The first table of a link is whole, later ones are changes. Each is answered by the edge; what the
//! answer speaks of is remembered here until it comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use muster_protocol::edge::{Route, RouteFailure, RouteKey, RouteTable, RoutesApplied};
use muster_protocol::id::ServerId;

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
    /// The table that brings the edge to `routes`, which count as told from now on; `None` if there is
    /// nothing to say.
    pub(crate) fn advance(&mut self, revision: u64, routes: Vec<Route>) -> Option<RouteTable> {
        let wanted: BTreeMap<Key, Route> =
            routes.into_iter().filter_map(|route| Some((key_of(&route)?, route))).collect();
        let table = match &self.routes {
            None => RouteTable {
                revision,
                full: true,
                routes: wanted.values().cloned().collect(),
                remove: Vec::new(),
            },
            Some(told) => RouteTable {
                revision,
                full: false,
                routes: wanted
                    .iter()
                    .filter(|(key, route)| told.get(*key) != Some(*route))
                    .map(|(_, route)| route.clone())
                    .collect(),
                remove: told
                    .keys()
                    .filter(|key| !wanted.contains_key(*key))
                    .map(|(edge_port, protocol)| RouteKey { edge_port: *edge_port, protocol: *protocol })
                    .collect(),
            },
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
        let table = told.advance(3, vec![route(7000, one)]).expect("said");
        assert!(table.full);
        assert_eq!(told.advance(4, vec![route(7000, one)]), None);
        let table = told.advance(5, vec![route(7000, one), route(7001, two)]).expect("changed");
        assert!(!table.full && table.remove.is_empty());
        assert_eq!(table.routes, [route(7001, two)]);
        let table = told.advance(6, vec![route(7001, two)]).expect("changed");
        assert_eq!(table.remove, [RouteKey { edge_port: 7000, protocol: UDP }]);
        assert!(table.routes.is_empty());
        // The port goes to another server: one change, no removal.
        let table = told.advance(7, vec![route(7001, one)]).expect("changed");
        assert!(table.remove.is_empty());
        assert_eq!(table.routes, [route(7001, one)]);
    }

    #[test]
    fn answers_say_which_servers_are_reached() {
        let (one, two) = (ServerId::new(), ServerId::new());
        let mut told = Told::default();
        told.advance(1, vec![route(7000, one)]);
        told.advance(2, vec![route(7000, one), route(7001, two)]);
        let answer = told.answered(applied(2, vec![failure(7001, two)]));
        assert_eq!(answer.served, [one]);
        assert_eq!(answer.failures.len(), 1);
        assert_eq!(told.answered(applied(2, vec![])), Answer::default());
    }

    #[test]
    fn a_failure_of_a_route_taken_back_is_no_failure() {
        let (one, two) = (ServerId::new(), ServerId::new());
        let mut told = Told::default();
        told.advance(1, vec![route(7000, one)]);
        told.advance(2, vec![route(7000, two)]);
        let answer = told.answered(applied(1, vec![failure(7000, one)]));
        assert_eq!(answer, Answer::default());
    }

    #[test]
    fn an_edge_that_never_answers_is_behind() {
        let mut told = Told::default();
        for revision in 0..=MAX_UNANSWERED as u64 {
            assert!(!told.is_behind());
            told.advance(revision, vec![route(7000 + revision as u32, ServerId::new())]);
        }
        assert!(told.is_behind());
    }
}
