//! The table of UDP flows: by client, for packets in; by flow id, for packets back. Pure: no clock, no I/O.
//!
//! Bounded. When it is full, or a port has its share, a newcomer on an `open` port may take the place of a
//! flow of an `open` port that is at least [`EVICTABLE_AGE`] old and never had a reply: what a flood from
//! forged addresses leaves behind. Up to [`EVICTION_LOOK`] places are looked at, going round the table;
//! if none is such, the newcomer is refused. Flows with a proof, and flows that were answered, stay.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use muster_protocol::flow::FlowId;
use muster_protocol::id::NodeId;

use super::kept::Slot;
use crate::routes::Route;

/// Age from which a flow that was never answered may be evicted.
pub(crate) const EVICTABLE_AGE: Duration = Duration::from_secs(1);
/// Places looked at for one to evict.
const EVICTION_LOOK: usize = 64;
/// Flows of one port, at most: no port can fill the table.
pub(crate) const MAX_FLOWS_PER_PORT: usize = 16_384;

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
    /// Number of the next packet that has to be split.
    pub(crate) next_split: u16,
    /// Whether the server ever answered.
    pub(crate) answered: bool,
    /// Keyed hash of the token that proved it; `None` on open ports.
    pub(crate) proof: Option<u64>,
    /// Where it is kept for a restart, if it is.
    pub(crate) kept: Option<Slot>,
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
            next_split: 0,
            answered: false,
            proof: None,
            kept: None,
            since: now,
            last_packet: now,
        }
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

/// How many flows there may be: a bound of all tables together that have the same `Room`.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// The bound. Tables that fill at the same moment may be over it, by one each.
    pub(crate) most: usize,
    // Touched when a flow begins or ends, never per packet.
    taken: Arc<AtomicUsize>,
}

impl From<usize> for Room {
    /// For `most` flows.
    fn from(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }
}

/// The flows of one worker.
pub(crate) struct FlowTable {
    places: Vec<Option<Flow>>,
    free: Vec<u32>,
    by_client: HashMap<(u16, SocketAddr), Place>,
    by_id: HashMap<FlowId, Place>,
    per_port: HashMap<u16, usize>,
    room: Room,
    eviction_hand: usize,
    sweep_hand: usize,
}

impl FlowTable {
    /// A table of as many flows as `room` is for; it grows with its flows.
    pub(crate) fn new(room: impl Into<Room>) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_client: HashMap::new(),
            by_id: HashMap::new(),
            per_port: HashMap::new(),
            room: room.into(),
            eviction_hand: 0,
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
    pub(crate) fn insert(&mut self, flow: Flow) -> Result<Option<Gone>, Full> {
        debug_assert!(!self.by_id.contains_key(&flow.id), "the caller moves flows that stand");
        let evicted = self.make_room(&flow)?;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.by_client.insert((flow.port, flow.client), Place(place));
        self.by_id.insert(flow.id, Place(place));
        *self.per_port.entry(flow.port).or_default() += 1;
        self.places[place as usize] = Some(flow);
        self.room.taken.fetch_add(1, Relaxed);
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
        let of_port: Vec<_> =
            self.by_client.iter().filter(|((p, _), _)| *p == port).map(|(_, place)| *place).collect();
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
        let port_full = self.per_port.get(&newcomer.port).copied().unwrap_or(0) >= MAX_FLOWS_PER_PORT;
        if self.room.taken.load(Relaxed) < self.room.most && !port_full {
            return Ok(None);
        }
        if self.places.is_empty() {
            return Err(Full);
        }
        for _ in 0..EVICTION_LOOK.min(self.places.len()) {
            self.eviction_hand = (self.eviction_hand + 1) % self.places.len();
            let place = Place(self.eviction_hand as u32);
            let evictable = self.places[self.eviction_hand].as_ref().is_some_and(|flow| {
                flow.proof.is_none()
                    && !flow.answered
                    && newcomer.since.saturating_duration_since(flow.since) >= EVICTABLE_AGE
                    && (!port_full || flow.port == newcomer.port)
            });
            if evictable {
                return Ok(self.remove_place(place));
            }
        }
        Err(Full)
    }

    fn remove_place(&mut self, place: Place) -> Option<Gone> {
        let flow = self.places[place.0 as usize].take()?;
        self.free.push(place.0);
        self.room.taken.fetch_sub(1, Relaxed);
        self.by_client.remove(&(flow.port, flow.client));
        self.by_id.remove(&flow.id);
        if let Some(count) = self.per_port.get_mut(&flow.port) {
            *count -= 1;
            if *count == 0 {
                self.per_port.remove(&flow.port);
            }
        }
        Some(Gone { id: flow.id, port: flow.port, kept: flow.kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(n: u32) -> SocketAddr {
        SocketAddr::from(((n | 0x0a00_0000).to_be_bytes(), 9_000))
    }

    fn flow(n: u32, port: u16, now: Instant) -> Flow {
        Flow {
            id: FlowId(u64::from(n)),
            port,
            node: NodeId::new(),
            client: client(n),
            local_ip: None,
            opened_on: 0,
            next_split: 0,
            answered: false,
            proof: None,
            kept: None,
            since: now,
            last_packet: now,
        }
    }

    #[test]
    fn a_flow_takes_no_more_than_the_configuration_says() {
        // A place, and an entry with its control byte in each index, at the indexes' lowest fill (7/16).
        let indexes = size_of::<((u16, SocketAddr), Place)>() + size_of::<(FlowId, Place)>() + 2;
        let (place, fullest) = (size_of::<Option<Flow>>(), indexes * 8 / 7);
        assert!(place + fullest <= 256, "{place} + {fullest}");
        assert!(place + 2 * fullest <= 384, "{place} + {}", 2 * fullest);
    }

    #[test]
    fn idle_flows_go_and_busy_ones_stay() {
        let (start, idle) = (Instant::now(), Duration::from_mins(1));
        let mut table = FlowTable::new(10);
        for n in 0..3 {
            table.insert(flow(n, 1, start)).unwrap();
        }
        table.of_client(1, client(1)).unwrap().last_packet = start + Duration::from_secs(30);
        let mut gone = Vec::new();
        table.sweep(start + Duration::from_secs(59), idle, 10, &mut gone);
        assert!(gone.is_empty());
        table.sweep(start + idle, idle, 10, &mut gone);
        assert_eq!(gone.len(), 2);
        assert_eq!((table.len(), table.of_client(1, client(0)).is_none()), (1, true));
        assert!(table.of_id(FlowId(1)).is_some());
    }

    #[test]
    fn a_full_table_keeps_the_proven_and_the_answered() {
        let (start, later) = (Instant::now(), Instant::now() + EVICTABLE_AGE);
        let mut table = FlowTable::new(3);
        table.insert(Flow { proof: Some(1), ..flow(0, 1, start) }).unwrap();
        table.insert(Flow { answered: true, ..flow(1, 1, start) }).unwrap();
        table.insert(flow(2, 1, start)).unwrap();
        assert_eq!(table.insert(flow(3, 1, start)), Err(Full), "nothing is old enough");
        assert_eq!(table.insert(flow(3, 1, later)), Ok(Some(Gone { id: FlowId(2), port: 1, kept: None })));
        assert_eq!(table.insert(flow(4, 1, later)), Err(Full), "what is left is worth keeping");
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn one_port_cannot_fill_the_table() {
        let now = Instant::now();
        let mut table = FlowTable::new(100_000);
        let taken = (0..20_000).filter(|n| table.insert(flow(*n, 1, now)).is_ok()).count();
        assert_eq!(taken, MAX_FLOWS_PER_PORT);
        assert!(table.insert(flow(50_000, 2, now)).is_ok());
    }

    #[test]
    fn a_moved_flow_leaves_its_old_address_and_displaces_the_new_ones() {
        let now = Instant::now();
        let mut table = FlowTable::new(10);
        table.insert(flow(1, 1, now)).unwrap();
        table.insert(flow(2, 1, now)).unwrap();
        assert_eq!(
            table.move_to(FlowId(1), client(2), None),
            Some(Gone { id: FlowId(2), port: 1, kept: None })
        );
        assert!(table.of_client(1, client(1)).is_none());
        assert_eq!(table.of_client(1, client(2)).unwrap().id, FlowId(1));
        assert_eq!(table.move_to(FlowId(1), client(2), None), None);
        assert_eq!((table.len(), table.of_client(1, client(2)).unwrap().id), (1, FlowId(1)));
    }

    proptest! {
        /// Whatever is done, both indexes lead to the same flows and the counts agree.
        #[test]
        fn indexes_agree(steps in proptest::collection::vec((0u8..5, 0u32..12, 0u32..12), 1..200)) {
            let start = Instant::now();
            let mut table = FlowTable::new(8);
            for (second, (what, n, m)) in steps.into_iter().enumerate() {
                let now = start + Duration::from_secs(second as u64);
                let port = (n % 3) as u16;
                match what {
                    0 | 1 if table.of_id(FlowId(n.into())).is_none()
                        && table.of_client(port, client(n)).is_none() => {
                        let _ = table.insert(flow(n, port, now));
                    }
                    2 => { table.move_to(FlowId(n.into()), client(m), None); }
                    3 => { table.remove(FlowId(n.into())); }
                    4 if m == 0 => { table.remove_port(port); }
                    _ => table.sweep(now, Duration::from_secs(20), 2, &mut Vec::new()),
                }
                prop_assert!(table.len() <= 8);
                prop_assert_eq!(table.by_client.len(), table.by_id.len());
                prop_assert_eq!(table.per_port.values().sum::<usize>(), table.len());
                for flow in table.places.clone().into_iter().flatten() {
                    prop_assert_eq!(table.of_client(flow.port, flow.client).map(|f| f.id), Some(flow.id));
                    prop_assert_eq!(table.of_id(flow.id).map(|f| f.client), Some(flow.client));
                }
            }
        }
    }
}
