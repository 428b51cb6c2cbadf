//! What was acknowledged, held against what is there: pure.
//!
//! **Lost** is what was acknowledged and is gone, or went back. **Double** is what may be there once and is
//! there twice. A request whose answer never came is neither: both outcomes are right.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A ticket as somebody saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTicket {
    /// Its id.
    pub id: String,
    /// The player it is for.
    pub player: String,
    /// Where it stood.
    pub stood: Stood,
}

/// Where a ticket stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stood {
    /// Searching, or matched and waiting.
    Open,
    /// Assigned.
    Assigned(Place),
    /// Cancelled by its owner.
    Cancelled,
    /// Expired, or failed with a reason.
    Failed(String),
}

/// Where a ticket was assigned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The match.
    pub match_id: String,
    /// The server.
    pub server: String,
    /// The seat.
    pub seat: String,
}

/// Everything that was acknowledged.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The last that was acknowledged of each ticket.
    tickets: BTreeMap<String, SeenTicket>,
    /// Names of what was made and must be there.
    made: BTreeMap<&'static str, Vec<String>>,
    /// Versions that were acknowledged of the queue, in order.
    versions: Vec<u64>,
    /// Requests whose answer never came.
    pub unknown: u64,
    faults: Faults,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Reality {
    /// By id: each ticket of the ledger that the API knows.
    pub tickets: BTreeMap<String, SeenTicket>,
    /// By kind: the names of what is there.
    pub made: BTreeMap<&'static str, Vec<String>>,
    /// The queue's version.
    pub version: u64,
    /// Live servers: id and the edge ports they hold, as `udp/7000`.
    pub servers: BTreeMap<String, Vec<String>>,
    /// Containers: the server each is labelled with.
    pub containers: Vec<String>,
}

/// What must not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Acknowledged, and gone or gone back.
    pub lost: Vec<String>,
    /// There twice.
    pub double: Vec<String>,
    /// Containers that no live server owns.
    pub leaked: Vec<String>,
}

impl Faults {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.double.is_empty() && self.leaked.is_empty()
    }
}

impl Ledger {
    /// Tickets acknowledged so far.
    pub fn tickets(&self) -> usize {
        self.tickets.len()
    }

    /// Ids of all tickets.
    pub fn ticket_ids(&self) -> Vec<String> {
        self.tickets.keys().cloned().collect()
    }

    /// Everything acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        (self.tickets.len() + self.made.values().map(Vec::len).sum::<usize>() + self.versions.len()) as u64
    }

    /// Tickets that got a server.
    pub fn assigned(&self) -> usize {
        self.tickets.values().filter(|ticket| matches!(ticket.stood, Stood::Assigned(_))).count()
    }

    /// Takes note of how a ticket was said to stand. It must not have gone back.
    pub fn saw(&mut self, ticket: SeenTicket) {
        if let Some(before) = self.tickets.get(&ticket.id) {
            self.faults.lost.extend(went_back(before, &ticket));
        }
        self.tickets.insert(ticket.id.clone(), ticket);
    }

    /// Takes note of something that was acknowledged to be made.
    pub fn made(&mut self, kind: &'static str, name: String) {
        self.made.entry(kind).or_default().push(name);
    }

    /// Takes note of a version of the queue that was acknowledged. Each is acknowledged once.
    pub fn version(&mut self, version: u64) {
        if let Some(last) = self.versions.last().filter(|last| **last >= version) {
            self.faults.double.push(format!("version {version} of the queue came after version {last}"));
        }
        self.versions.push(version);
    }

    /// Holds all of it against what is there.
    pub fn compare(&self, reality: &Reality) -> Faults {
        let mut faults = self.faults.clone();
        for (id, ticket) in &self.tickets {
            match reality.tickets.get(id) {
                None => faults.lost.push(format!("ticket {id} of {} is gone", ticket.player)),
                Some(now) => faults.lost.extend(went_back(ticket, now)),
            }
        }
        for (kind, names) in &self.made {
            let there = reality.made.get(kind).map(Vec::as_slice).unwrap_or_default();
            for name in names.iter().filter(|name| !there.contains(name)) {
                faults.lost.push(format!("{kind} {name} is gone"));
            }
        }
        if let Some(last) = self.versions.last().filter(|last| **last > reality.version) {
            faults.lost.push(format!("version {last} of the queue is gone; it has {}", reality.version));
        }
        doubles(reality, &mut faults.double);
        for server in reality.containers.iter().filter(|server| !reality.servers.contains_key(*server)) {
            faults.leaked.push(format!("a container of server {server}, which is over or unknown"));
        }
        faults
    }
}

fn went_back(before: &SeenTicket, now: &SeenTicket) -> Option<String> {
    let (id, was) = (&before.id, &before.stood);
    let good = match (was, &now.stood) {
        (Stood::Open, _) | (Stood::Failed(_), Stood::Failed(_)) => true,
        (was, now) => was == now,
    };
    (!good).then(|| format!("ticket {id} was {was:?} and is {:?}", now.stood))
}

fn doubles(reality: &Reality, double: &mut Vec<String>) {
    let mut seats: BTreeMap<&str, &str> = BTreeMap::new();
    let mut servers: BTreeMap<&str, &str> = BTreeMap::new();
    let mut players: BTreeMap<&str, &str> = BTreeMap::new();
    for ticket in reality.tickets.values() {
        let Stood::Assigned(place) = &ticket.stood else { continue };
        if let Some(other) = seats.insert(&place.seat, &ticket.id) {
            double.push(format!("seat {} was given to tickets {other} and {}", place.seat, ticket.id));
        }
        let claimed = *servers.entry(&place.server).or_insert(&place.match_id);
        if claimed != place.match_id {
            double.push(format!("server {} is in matches {claimed} and {}", place.server, place.match_id));
        }
        if let Some(other) = players.insert(&ticket.player, &ticket.id) {
            double.push(format!("player {} sits by tickets {other} and {}", ticket.player, ticket.id));
        }
    }
    let mut ports: BTreeMap<&str, &str> = BTreeMap::new();
    for (server, held) in &reality.servers {
        for port in held {
            if let Some(other) = ports.insert(port, server) {
                double.push(format!("port {port} is held by servers {other} and {server}"));
            }
        }
    }
    let mut containers: BTreeMap<&str, u32> = BTreeMap::new();
    for server in &reality.containers {
        *containers.entry(server).or_default() += 1;
    }
    for (server, count) in containers.into_iter().filter(|(_, count)| *count > 1) {
        double.push(format!("server {server} has {count} containers"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seat: &str) -> Place {
        Place { match_id: "m1".into(), server: "s1".into(), seat: seat.into() }
    }

    fn ticket(id: &str, stood: Stood) -> SeenTicket {
        SeenTicket { id: id.into(), player: format!("player of {id}"), stood }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.saw(ticket("a", Stood::Open));
        ledger.saw(ticket("a", Stood::Assigned(place("1"))));
        ledger.saw(ticket("b", Stood::Assigned(place("2"))));
        ledger.saw(ticket("c", Stood::Open));
        ledger.saw(ticket("d", Stood::Cancelled));
        ledger.made("namespace", "load/n1".into());
        ledger.version(3);
        ledger.version(5);
        ledger
    }

    fn reality() -> Reality {
        let tickets = [
            ticket("a", Stood::Assigned(place("1"))),
            ticket("b", Stood::Assigned(place("2"))),
            ticket("c", Stood::Failed("no server".into())),
            ticket("d", Stood::Cancelled),
        ];
        Reality {
            tickets: tickets.into_iter().map(|ticket| (ticket.id.clone(), ticket)).collect(),
            made: BTreeMap::from([("namespace", vec!["load/n1".to_owned(), "arena/test".to_owned()])]),
            version: 6,
            servers: BTreeMap::from([("s1".to_owned(), vec!["udp/7000".to_owned()])]),
            containers: vec!["s1".to_owned()],
        }
    }

    #[test]
    fn what_went_on_as_it_may_is_no_fault() {
        assert_eq!(ledger().compare(&reality()), Faults::default());
        assert_eq!(ledger().acknowledged(), 7);
    }

    #[test]
    fn every_planted_fault_is_found() {
        type Plant = fn(&mut Reality);
        let lost: [Plant; 4] = [
            |reality| drop(reality.tickets.remove("c")),
            |reality| drop(reality.tickets.insert("a".into(), ticket("a", Stood::Open))),
            |reality| reality.made.clear(),
            |reality| reality.version = 4,
        ];
        for plant in lost {
            let mut reality = reality();
            plant(&mut reality);
            assert_eq!(ledger().compare(&reality).lost.len(), 1);
        }
        let double: [Plant; 5] = [
            |reality| drop(reality.tickets.insert("x".into(), ticket("x", Stood::Assigned(place("2"))))),
            |reality| {
                let other = Place { match_id: "m2".into(), ..place("9") };
                reality.tickets.insert("x".into(), ticket("x", Stood::Assigned(other)));
            },
            |reality| {
                let twin =
                    SeenTicket { player: "player of a".into(), ..ticket("x", Stood::Assigned(place("9"))) };
                reality.tickets.insert("x".into(), twin);
            },
            |reality| drop(reality.servers.insert("s2".into(), vec!["udp/7000".into()])),
            |reality| reality.containers.push("s1".into()),
        ];
        for (at, plant) in double.into_iter().enumerate() {
            let mut reality = reality();
            plant(&mut reality);
            assert_eq!(ledger().compare(&reality).double.len(), 1, "plant {at}");
        }
        let mut leaked = reality();
        leaked.containers.push("s9".into());
        assert_eq!(ledger().compare(&leaked).leaked.len(), 1);
    }

    #[test]
    fn what_goes_back_while_it_runs_is_found_too() {
        let mut ledger = ledger();
        ledger.saw(ticket("a", Stood::Open));
        ledger.version(5);
        let faults = ledger.compare(&reality());
        assert_eq!((faults.lost.len(), faults.double.len()), (1, 1), "{faults:?}");
    }
}
