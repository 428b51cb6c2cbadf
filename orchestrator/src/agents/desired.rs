//! What to say next to an agent, from what it was told and what is wanted now. Pure.
//!
//! The first message of a link is everything; later ones are what has changed since. If something is
//! wanted no longer without being recorded as ended, everything is said again, because only then does
//! an agent stop what it was not told of.

use std::collections::BTreeSet;

use muster_protocol::agent::DesiredServers;
use muster_protocol::id::ServerId;

use crate::state::{Desired, Generations};

/// What an agent has been told on its present link.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// `None` until the first message, and when everything is to be said again.
    servers: Option<Generations>,
    /// Those it may forget.
    forget: BTreeSet<String>,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// There is nothing to say.
    Wait,
    /// Say this, which counts as told from now on.
    Say(DesiredServers),
    /// Read again, for now everything is to be said.
    ReadAgain,
}

impl Told {
    /// The servers it was told of, and need not be again.
    pub(crate) fn known(&self) -> &Generations {
        static NONE: Generations = Generations::new();
        self.servers.as_ref().unwrap_or(&NONE)
    }

    /// What brings the agent from what it was told to `desired`, which has been read with what was [`Told::known`].
    pub(crate) fn advance(&mut self, desired: Desired) -> Next {
        let Desired { generations, servers, forget } = desired;
        let new: Vec<String> = forget.iter().filter(|id| !self.forget.contains(*id)).cloned().collect();
        self.forget = forget.into_iter().collect();
        let has_ended = |id: &ServerId| self.forget.contains(&id.to_string());
        let full = match &self.servers {
            None => true,
            Some(told) if told.keys().all(|id| generations.contains_key(id) || has_ended(id)) => false,
            Some(_) => {
                *self = Self::default();
                return Next::ReadAgain;
            }
        };
        self.servers = Some(generations);
        if !full && servers.is_empty() && new.is_empty() {
            return Next::Wait;
        }
        Next::Say(DesiredServers { full, servers, forget: new })
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::agent::ServerSpec;

    use super::*;

    fn id(number: u128) -> ServerId {
        muster_protocol::id::id_from_bytes(number.to_be_bytes())
    }

    /// As it is read for `told`.
    fn desired(told: &Told, servers: &[(u128, u64)], forget: &[u128]) -> Desired {
        let known = told.known();
        let spec = |(number, generation): &(u128, u64)| ServerSpec {
            server_id: id(*number).to_string(),
            generation: *generation,
            ..Default::default()
        };
        let changed =
            servers.iter().filter(|(number, generation)| known.get(&id(*number)) != Some(generation));
        Desired {
            generations: servers.iter().map(|(number, generation)| (id(*number), *generation)).collect(),
            servers: changed.map(spec).collect(),
            forget: forget.iter().map(|number| id(*number).to_string()).collect(),
        }
    }

    fn said(told: &mut Told, servers: &[(u128, u64)], forget: &[u128]) -> DesiredServers {
        let desired = desired(told, servers, forget);
        match told.advance(desired) {
            Next::Say(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn ids(message: &DesiredServers) -> Vec<ServerId> {
        message.servers.iter().map(|spec| spec.server_id.parse().expect("an id")).collect()
    }

    #[test]
    fn everything_comes_first_even_if_it_is_nothing() {
        let message = said(&mut Told::default(), &[], &[]);
        assert!(message.full && message.servers.is_empty());
        let message = said(&mut Told::default(), &[(1, 1), (2, 1)], &[3]);
        assert!(message.full);
        assert_eq!(ids(&message), [id(1), id(2)]);
        assert_eq!(message.forget, [id(3).to_string()]);
    }

    #[test]
    fn then_only_what_changed() {
        let mut told = Told::default();
        said(&mut told, &[(1, 1), (2, 1)], &[]);
        let same = desired(&told, &[(1, 1), (2, 1)], &[]);
        assert_eq!(told.advance(same), Next::Wait);
        let message = said(&mut told, &[(1, 1), (2, 2), (3, 1)], &[]);
        assert!(!message.full);
        assert_eq!(ids(&message), [id(2), id(3)]);
        let message = said(&mut told, &[(1, 1), (3, 1)], &[2]);
        assert!(!message.full && message.servers.is_empty());
        assert_eq!(message.forget, [id(2).to_string()]);
        let same = desired(&told, &[(1, 1), (3, 1)], &[2]);
        assert_eq!(told.advance(same), Next::Wait);
    }

    #[test]
    fn what_is_unwanted_without_an_end_makes_everything_said_again() {
        let mut told = Told::default();
        said(&mut told, &[(1, 1), (2, 1)], &[]);
        let without = desired(&told, &[(1, 1)], &[]);
        assert_eq!(told.advance(without), Next::ReadAgain);
        let message = said(&mut told, &[(1, 1)], &[]);
        assert!(message.full);
        assert_eq!(ids(&message), [id(1)]);
    }
}
