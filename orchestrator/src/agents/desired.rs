//! What to say next to an agent, from what it was told and what is wanted now. Pure.
//!
//! The first message of a link is everything; later ones are what has changed since. If something is
//! wanted no longer without being recorded as ended, everything is said again, because only then does
//! an agent stop what it was not told of.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::agent::{DesiredServers, ServerSpec};

use crate::state::Desired;

/// What an agent has been told on its present link.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// `None` until the first message.
    servers: Option<BTreeMap<String, ServerSpec>>,
    forget: BTreeSet<String>,
}

impl Told {
    /// The message that brings the agent from what it was told to `desired`, which counts as told from
    /// now on; `None` if there is nothing to say.
    pub(crate) fn advance(&mut self, desired: Desired) -> Option<DesiredServers> {
        let forget: Vec<String> =
            desired.forget.iter().filter(|id| !self.forget.contains(*id)).cloned().collect();
        self.forget = desired.forget.into_iter().collect();
        let wanted: BTreeMap<String, ServerSpec> =
            desired.servers.into_iter().map(|spec| (spec.server_id.clone(), spec)).collect();
        let message = match &self.servers {
            Some(told) if told.keys().all(|id| wanted.contains_key(id) || self.forget.contains(id)) => {
                let changed = wanted.values().filter(|spec| told.get(&spec.server_id) != Some(*spec));
                DesiredServers { full: false, servers: changed.cloned().collect(), forget }
            }
            _ => DesiredServers { full: true, servers: wanted.values().cloned().collect(), forget },
        };
        self.servers = Some(wanted);
        (message.full || !message.servers.is_empty() || !message.forget.is_empty()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(servers: &[(&str, u64)], forget: &[&str]) -> Desired {
        let spec = |(id, generation): &(&str, u64)| ServerSpec {
            server_id: (*id).to_owned(),
            generation: *generation,
            ..Default::default()
        };
        Desired {
            servers: servers.iter().map(spec).collect(),
            forget: forget.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    fn ids(message: &DesiredServers) -> Vec<&str> {
        let mut ids: Vec<_> = message.servers.iter().map(|spec| spec.server_id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn everything_comes_first_even_if_it_is_nothing() {
        let message = Told::default().advance(desired(&[], &[])).expect("said");
        assert!(message.full && message.servers.is_empty());
        let message = Told::default().advance(desired(&[("a", 1), ("b", 1)], &["c"])).expect("said");
        assert!(message.full);
        assert_eq!(ids(&message), ["a", "b"]);
        assert_eq!(message.forget, ["c"]);
    }

    #[test]
    fn then_only_what_changed() {
        let mut told = Told::default();
        told.advance(desired(&[("a", 1), ("b", 1)], &[]));
        assert_eq!(told.advance(desired(&[("a", 1), ("b", 1)], &[])), None);
        let message = told.advance(desired(&[("a", 1), ("b", 2), ("c", 1)], &[])).expect("changed");
        assert!(!message.full);
        assert_eq!(ids(&message), ["b", "c"]);
        let message = told.advance(desired(&[("a", 1), ("c", 1)], &["b"])).expect("b ended");
        assert!(!message.full && message.servers.is_empty());
        assert_eq!(message.forget, ["b"]);
        assert_eq!(told.advance(desired(&[("a", 1), ("c", 1)], &["b"])), None);
    }

    #[test]
    fn what_is_unwanted_without_an_end_makes_everything_said_again() {
        let mut told = Told::default();
        told.advance(desired(&[("a", 1), ("b", 1)], &[]));
        let message = told.advance(desired(&[("a", 1)], &[])).expect("b is unwanted");
        assert!(message.full);
        assert_eq!(ids(&message), ["a"]);
    }
}
