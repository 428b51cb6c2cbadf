//! The table of UDP flows: by client, for packets in; by flow id, for packets back. Pure: no clock, no I/O.
//!
//! Bounded. When a port has its share, or there is no room for any more, a newcomer takes the place of a flow of an `open`
//! port: what a flood from forged addresses leaves behind, and what lets newcomers in all the same. Of [`CANDIDATES`] that
//! are looked at, others each time, one goes that was never answered, and of those the one that is silent for
//! the longest; if all were answered, the longest silent of them. A flow with a proof stays, and so does one that was answered and is
//! [`IN_PLAY`]. If there is none to go, the newcomer is refused, and finds another [`CANDIDATES`] with its next packet.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use muster_protocol::flow::{FlowId, MAX_SERVER_FLOWS};
use muster_protocol::id::NodeId;

use super::by_id::ById;
use super::kept::Slot;
use crate::routes::Route;

/// A flow whose client was heard within this time is in play: games that are played send more often. One that was never
/// answered has to be as old before it makes room.
pub(crate) const IN_PLAY: Duration = Duration::from_secs(1);
/// Flows looked at for one to evict. Where forged ones are many, one of them is among these.
const CANDIDATES: usize = 16;
/// Places at the agent that a port's flows leave to others of its server: those of its other ports, and those that have been
/// evicted here and not yet there.
const LEFT_TO_OTHERS: usize = 512;
/// Flows of one port, at most: no port can fill the table, nor its server's places at the agent.
pub(crate) const MAX_FLOWS_PER_PORT: usize = MAX_SERVER_FLOWS as usize - LEFT_TO_OTHERS;

/// One client's talk with one port.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Its name in the tunnel.
    pub(crate) id: FlowId,
    /// Port of the edge.
    pub(crate) port: u16,
    /// The node its server is on: nobody else may answer on it.
    pub(crate) node: NodeId,
    /// Where the client is.
    pub(crate) client: SocketAddr,
    /// The address of ours that the client wrote to: what replies come from.
    pub(crate) local_ip: Option<IpAddr>,
    /// Number of the agent's connection on which it said OPENED; 0: not yet.
    pub(crate) opened_on: u32,
    /// Whether OPEN has been said since the client is where it is.
    pub(crate) is_opening: bool,
    /// Number of the next packet that has to be split.
    pub(crate) next_split: u16,
    /// Whether the server ever answered.
    pub(crate) answered: bool,
    /// Keyed hash of the token that proved it; `None` on open ports.
    pub(crate) proof: Option<u64>,
    /// Where it is kept for a restart, if it is.
    pub(crate) kept: Option<Slot>,
    /// Where it stands among its port's flows.
    pub(super) order: u32,
    /// When it came to be.
    pub(crate) since: Instant,
    /// Last packet from the client.
    pub(crate) last_packet: Instant,
}

impl Flow {
    /// A flow of `client` over `route`: not proven, not answered, not known to the agent yet.
    pub(crate) fn new(
        id: FlowId,
        route: &Route,
        client: SocketAddr,
        local_ip: Option<IpAddr>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            port: route.key.port,
            node: route.node,
            client,
            local_ip,
            opened_on: 0,
            is_opening: false,
            next_split: 0,
            answered: false,
            proof: None,
            kept: None,
            order: 0,
            since: now,
            last_packet: now,
        }
    }

    /// How soon it goes when there is no room: whichever is greatest first. `None`: not at all.
    fn may_go(&self, now: Instant) -> Option<(bool, Duration)> {
        let silent = now.saturating_duration_since(self.last_packet);
        let is_in_play = if self.answered {
            silent <= IN_PLAY
        } else {
            now.saturating_duration_since(self.since) < IN_PLAY
        };
        (self.proof.is_none() && !is_in_play).then_some((!self.answered, silent))
    }
}

/// A flow that is no more: what its agent is told, and what is struck out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) id: FlowId,
    pub(crate) port: u16,
    pub(crate) kept: Option<Slot>,
}

/// A flow's place in the table; valid until the flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// The table has no place for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// How many flows there may be: a bound of the tables of all workers together.
///
/// Half of it is shared out evenly, the other half is had by whoever needs it first. So a worker with many players finds room,
/// and one whose players come when all is taken still has flows of its own, which can make room.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// The bound. Tables that fill at the same moment may be over it, by one each.
    pub(crate) most: usize,
    // Of each table.
    own: usize,
    // Beyond that, of all together.
    shared: usize,
    // Of the shared. Touched when a flow begins or ends, never per packet.
    taken: Arc<AtomicUsize>,
}

impl Room {
    /// For `most` flows of `tables` tables.
    pub(crate) fn of(most: usize, tables: usize) -> Self {
        let each = most / tables.max(1);
        let own = each.min((each / 2).max(1));
        Self { most, own, shared: most - own * tables, taken: Arc::default() }
    }

    /// Whether a table of `flows` flows may have one more.
    fn has_place(&self, flows: usize) -> bool {
        flows < self.own || self.taken.load(Relaxed) < self.shared
    }

    /// A table of `flows` flows has one more.
    fn take(&self, flows: usize) {
        if flows >= self.own {
            self.taken.fetch_add(1, Relaxed);
        }
    }

    /// A table has one flow less: `flows`.
    fn give_back(&self, flows: usize) {
        if flows >= self.own {
            self.taken.fetch_sub(1, Relaxed);
        }
    }
}

impl From<usize> for Room {
    /// For `most` flows of one table.
    fn from(most: usize) -> Self {
        Self::of(most, 1)
    }
}

/// A port's flows.
#[derive(Default)]
struct OfPort {
    // In no order; each flow knows where it stands here.
    places: Vec<Place>,
    // Where the next look for one to evict begins.
    looked: usize,
}

/// The flows of one worker.
pub(crate) struct FlowTable {
    places: Vec<Option<Flow>>,
    free: Vec<Place>,
    by_client: HashMap<(u16, SocketAddr), Place>,
    by_id: ById<Place>,
    // Touched when a flow begins or ends, never per packet.
    by_port: HashMap<u16, OfPort>,
    room: Room,
    looked: usize,
    sweep_hand: usize,
}

impl FlowTable {
    /// A table of as many flows as `room` is for; it grows with its flows.
    pub(crate) fn new(room: impl Into<Room>) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_client: HashMap::new(),
            by_id: ById::default(),
            by_port: HashMap::new(),
            room: room.into(),
            looked: 0,
            sweep_hand: 0,
        }
    }

    /// Flows now.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The flow of `client` on `port`.
    pub(crate) fn of_client(&mut self, port: u16, client: SocketAddr) -> Option<&mut Flow> {
        let place = *self.by_client.get(&(port, client))?;
        self.places[place.0 as usize].as_mut()
    }

    /// The flow named `id`.
    pub(crate) fn of_id(&mut self, id: FlowId) -> Option<&mut Flow> {
        let place = *self.by_id.get(&id)?;
        self.places[place.0 as usize].as_mut()
    }

    /// Takes in a flow whose id and client are not in the table yet, after making room if it must.
    ///
    /// # Errors
    /// [`Full`], and the table is as before.
    pub(crate) fn insert(&mut self, mut flow: Flow) -> Result<Option<Gone>, Full> {
        debug_assert!(!self.by_id.contains_key(&flow.id), "the caller moves flows that stand");
        let evicted = self.make_room(&flow)?;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            Place((self.places.len() - 1) as u32)
        });
        self.room.take(self.len());
        self.by_client.insert((flow.port, flow.client), place);
        self.by_id.insert(flow.id, place);
        let of_port = &mut self.by_port.entry(flow.port).or_default().places;
        flow.order = of_port.len() as u32;
        of_port.push(place);
        self.places[place.0 as usize] = Some(flow);
        Ok(evicted)
    }

    /// Gives the flow `id` a new client address. Whatever flow that address had is gone and returned.
    pub(crate) fn move_to(
        &mut self,
        id: FlowId,
        client: SocketAddr,
        local_ip: Option<IpAddr>,
    ) -> Option<Gone> {
        let place = *self.by_id.get(&id)?;
        let port = self.places[place.0 as usize].as_ref()?.port;
        let displaced = match self.by_client.get(&(port, client)) {
            Some(other) if *other != place => self.remove_place(*other),
            _ => None,
        };
        let flow = self.places[place.0 as usize].as_mut()?;
        self.by_client.remove(&(port, flow.client));
        if flow.client != client {
            // The agent is told where it is now, by OPEN with its next packet; what it answers to earlier ones is void.
            (flow.opened_on, flow.is_opening) = (0, false);
        }
        (flow.client, flow.local_ip) = (client, local_ip);
        self.by_client.insert((port, client), place);
        displaced
    }

    /// Removes the flow `id`.
    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Gone> {
        let place = *self.by_id.get(&id)?;
        self.remove_place(place)
    }

    /// Removes all flows of `port`.
    pub(crate) fn remove_port(&mut self, port: u16) -> Vec<Gone> {
        let of_port = self.by_port.get(&port).map_or_else(Vec::new, |of_port| of_port.places.clone());
        of_port.into_iter().filter_map(|place| self.remove_place(place)).collect()
    }

    /// Looks at the next `places` places and removes flows without a packet for `idle` into `gone`.
    pub(crate) fn sweep(&mut self, now: Instant, idle: Duration, places: usize, gone: &mut Vec<Gone>) {
        for _ in 0..places.min(self.places.len()) {
            self.sweep_hand = (self.sweep_hand + 1) % self.places.len();
            let place = self.sweep_hand;
            let is_idle = |flow: &Flow| now.saturating_duration_since(flow.last_packet) >= idle;
            if self.places[place].as_ref().is_some_and(is_idle) {
                gone.extend(self.remove_place(Place(place as u32)));
            }
        }
    }

    /// All flows.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.places.iter().flatten()
    }

    /// Places that exist, free ones included: what a whole round of [`FlowTable::sweep`] looks at.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    fn make_room(&mut self, newcomer: &Flow) -> Result<Option<Gone>, Full> {
        let of_port = self.by_port.get_mut(&newcomer.port);
        let mut full = of_port.filter(|of_port| of_port.places.len() >= MAX_FLOWS_PER_PORT);
        if full.is_none() && self.room.has_place(self.by_id.len()) {
            return Ok(None);
        }
        let (looked, all) = match &mut full {
            Some(port) => (&mut port.looked, port.places.len()),
            None => (&mut self.looked, self.places.len()),
        };
        if all == 0 {
            return Err(Full);
        }
        let begin = std::mem::replace(looked, (*looked + CANDIDATES) % all);
        let candidates = (begin..).take(CANDIDATES.min(all)).map(|at| at % all);
        let places = candidates.map(|at| full.as_ref().map_or(Place(at as u32), |port| port.places[at]));
        let able = places.filter_map(|place| {
            let flow = self.places[place.0 as usize].as_ref()?;
            Some((flow.may_go(newcomer.since)?, place))
        });
        let (_, first) = able.max_by_key(|(soon, _)| *soon).ok_or(Full)?;
        Ok(self.remove_place(first))
    }

    fn remove_place(&mut self, place: Place) -> Option<Gone> {
        let flow = self.places[place.0 as usize].take()?;
        self.free.push(place);
        self.by_client.remove(&(flow.port, flow.client));
        self.by_id.remove(&flow.id);
        self.room.give_back(self.len());
        if let Some(of_port) = self.by_port.get_mut(&flow.port) {
            of_port.places.swap_remove(flow.order as usize);
            let moved = of_port.places.get(flow.order as usize);
            if let Some(moved) = moved.and_then(|moved| self.places[moved.0 as usize].as_mut()) {
                moved.order = flow.order;
            }
            if of_port.places.is_empty() {
                self.by_port.remove(&flow.port);
            }
        }
        Some(Gone { id: flow.id, port: flow.port, kept: flow.kept })
    }
}

#[cfg(test)]
mod tests;
