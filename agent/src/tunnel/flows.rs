//! Every flow of this node: opened by the first packet that names its server, closed when its client
//! is silent, its server over, or its edge says so.
//!
//! All of it is of one thread, and so are the tasks that it starts: one per flow, which sleeps until the
//! flow's socket has packets. The runtime wakes them in the order in which they have something, and the
//! connections' own tasks behind them: so what many flows have leaves together.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use indexmap::IndexMap;
use muster_protocol::agent::PortProtocol;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{Rejoined, Rejoiner};
use muster_protocol::id::ServerId;
use muster_protocol::tunnel::{Header, OpenTarget, RefuseReason};
use quinn::Connection;
use tokio::task::{AbortHandle, spawn_local, yield_now};

use super::flow::Flow;
use super::socket::{Batch, FlowSocket};
use super::to_edge::ToEdge;
use crate::metrics::{self, TunnelMetrics};
use crate::routes::{Route, Routes, Slot};

/// Flows open at once on this node; each holds one UDP socket.
const MAX_FLOWS: usize = 65_536;
/// Flows open at once to one server.
const MAX_SERVER_FLOWS: u32 = 4_096;
/// A flow whose client is silent for this long is closed.
const IDLE: Duration = Duration::from_mins(2);
/// Datagrams taken off one connection before others have their turn.
const TURN: usize = 64;
/// Room in a connection's buffer below which no answers are taken before some of those that wait there have left.
const SPARE_BYTES: usize = 256 * 1024;
/// Turns that a flow waits for that; a path that takes nothing more is to keep no flow for ever.
const MOST_YIELDS: usize = 64;
/// Flows looked over per sweep for idle ones: no packet waits long for that.
const SWEPT: usize = 1_024;

/// The flows.
pub(super) struct Flows {
    table: RefCell<IndexMap<FlowId, Entry>>,
    /// Where the next sweep begins.
    swept: Cell<usize>,
    /// The servers whose end is waited for.
    watched: RefCell<HashMap<ServerId, Arc<Route>>>,
    to_edge: RefCell<ToEdge>,
    batch: RefCell<Batch>,
    routes: Arc<Routes>,
    metrics: Arc<TunnelMetrics>,
}

struct Entry {
    flow: Rc<Flow>,
    answers: AbortHandle,
    slot: Slot,
}

/// What one turn has passed on; counted at its end.
#[derive(Default)]
struct Passed {
    packets: u64,
    bytes: u64,
}

impl Passed {
    fn note(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl Flows {
    pub(super) fn new(routes: Arc<Routes>, metrics: Arc<TunnelMetrics>) -> Self {
        Self {
            table: RefCell::default(),
            swept: Cell::new(0),
            watched: RefCell::default(),
            to_edge: RefCell::default(),
            batch: RefCell::new(Batch::new()),
            routes,
            metrics,
        }
    }

    /// One turn inwards: `first` and what else `edge` has brought, to servers. `rejoiner` holds the parts of this edge's
    /// packets. Says whether there may be more.
    pub(super) fn turn_in(
        self: &Rc<Self>,
        edge: &Rc<Connection>,
        rejoiner: &mut Rejoiner,
        first: Bytes,
    ) -> bool {
        let (now, mut passed, mut taken) = (Instant::now(), Passed::default(), 0);
        // A connection that is over says so again when it is next waited for.
        let others = iter::from_fn(|| edge.read_datagram().now_or_never()?.ok());
        for datagram in iter::once(first).chain(others).take(TURN) {
            self.take_in(now, edge, rejoiner, datagram, &mut passed);
            taken += 1;
        }
        self.metrics.packets_in.increment(passed.packets);
        self.metrics.bytes_in.increment(passed.bytes);
        taken == TURN
    }

    /// Looks a part of the flows over, and closes those whose clients are silent.
    pub(super) fn sweep(&self, now: Instant) {
        let table = self.table.borrow();
        let (count, begin) = (table.len(), self.swept.get());
        self.metrics.flows.set(count as f64);
        let places = (begin..begin.saturating_add(SWEPT)).take(count);
        let looked_at = places.filter_map(|place| table.get_index(place % count));
        let idle: Vec<_> = looked_at
            .filter(|(_, entry)| entry.flow.silent_for(now) >= IDLE)
            .map(|(_, entry)| Rc::clone(&entry.flow))
            .collect();
        self.swept.set((begin + SWEPT) % count.max(1));
        drop(table);
        for flow in &idle {
            self.end(flow);
        }
    }

    /// Puts one datagram from an edge where it belongs.
    fn take_in(
        self: &Rc<Self>,
        now: Instant,
        edge: &Rc<Connection>,
        rejoiner: &mut Rejoiner,
        mut datagram: Bytes,
        passed: &mut Passed,
    ) {
        match Header::decode(&mut datagram) {
            Ok(Header::Data { flow: id, open, fragment }) => {
                let Some(flow) = self.flow(now, edge, id, open) else { return };
                match fragment {
                    None => self.deliver(&flow, &datagram, passed),
                    Some(part) => match rejoiner.push(now, id, part, &datagram) {
                        Rejoined::Whole(packet) => self.deliver(&flow, &packet, passed),
                        Rejoined::Waiting => {}
                        Rejoined::Misfit => self.metrics.dropped_malformed.increment(1),
                    },
                }
            }
            Ok(Header::Close(id)) => {
                // An edge that the flow has left does not end it for the one it is on now.
                if let Some(flow) = self.get(id).filter(|flow| flow.is_carried_by(edge)) {
                    self.close(&flow);
                }
            }
            Ok(Header::Opened(_) | Header::Unknown(_) | Header::Refused(..)) | Err(_) => {
                self.metrics.dropped_malformed.increment(1);
            }
        }
    }

    fn get(&self, id: FlowId) -> Option<Rc<Flow>> {
        self.table.borrow().get(&id).map(|entry| Rc::clone(&entry.flow))
    }

    /// The flow `id`, which a packet from `edge` is of, opened if need be. `None`: the edge has been told why not.
    fn flow(
        self: &Rc<Self>,
        now: Instant,
        edge: &Rc<Connection>,
        id: FlowId,
        open: Option<OpenTarget>,
    ) -> Option<Rc<Flow>> {
        let flow = match (self.get(id), open) {
            (Some(flow), None) => flow,
            (Some(flow), Some(target)) if flow.target == target => {
                self.tell(edge, Header::Opened(id));
                flow
            }
            (None, None) => {
                self.metrics.dropped_unknown.increment(1);
                self.tell(edge, Header::Unknown(id));
                return None;
            }
            (stale, Some(target)) => {
                if let Some(stale) = stale {
                    self.close(&stale);
                }
                match self.open(now, edge, id, target) {
                    Ok(flow) => {
                        self.tell(edge, Header::Opened(id));
                        flow
                    }
                    Err(reason) => {
                        metrics::tunnel_refused(reason.as_str());
                        self.tell(edge, Header::Refused(id, reason));
                        return None;
                    }
                }
            }
        };
        flow.seen(edge, now);
        Some(flow)
    }

    fn deliver(&self, flow: &Flow, payload: &[u8], passed: &mut Passed) {
        if flow.socket.send(payload) {
            passed.note(payload.len());
        } else {
            self.metrics.dropped_socket.increment(1);
        }
    }

    fn open(
        self: &Rc<Self>,
        now: Instant,
        edge: &Rc<Connection>,
        id: FlowId,
        target: OpenTarget,
    ) -> Result<Rc<Flow>, RefuseReason> {
        let route = self.routes.get(&target.server).ok_or(RefuseReason::UnknownServer)?;
        let port = route
            .ports
            .get(usize::from(target.port_index))
            .filter(|port| port.protocol == PortProtocol::Udp)
            .ok_or(RefuseReason::UnknownPort)?;
        if self.table.borrow().len() >= MAX_FLOWS {
            return Err(RefuseReason::TooManyFlows);
        }
        let slot = route.take(|route| &route.flows, MAX_SERVER_FLOWS).ok_or(RefuseReason::TooManyFlows)?;
        let socket = FlowSocket::connect(port.address).map_err(|error| {
            tracing::warn!(server = %target.server, address = %port.address, %error, "no socket for a flow");
            RefuseReason::Unreachable
        })?;
        self.watch(target.server, route);
        let flow = Rc::new(Flow::new(id, target, socket, Rc::clone(edge), now));
        let answers = spawn_local(Rc::clone(self).answers(Rc::clone(&flow))).abort_handle();
        self.table.borrow_mut().insert(id, Entry { flow: Rc::clone(&flow), answers, slot });
        Ok(flow)
    }

    /// Has all flows to `route` end when its server does.
    fn watch(self: &Rc<Self>, server: ServerId, route: Arc<Route>) {
        let before = self.watched.borrow_mut().insert(server, Arc::clone(&route));
        // One that came back with other ports is another; the flows to the one before are on their way out.
        if before.is_some_and(|before| Arc::ptr_eq(&before, &route)) {
            return;
        }
        let flows = Rc::clone(self);
        spawn_local(async move {
            route.closed.cancelled().await;
            flows.end_all(server, &route);
        });
    }

    fn end_all(&self, server: ServerId, route: &Arc<Route>) {
        let mut watched = self.watched.borrow_mut();
        if watched.get(&server).is_some_and(|current| Arc::ptr_eq(current, route)) {
            watched.remove(&server);
        }
        drop(watched);
        let table = self.table.borrow();
        let of_it = table.values().filter(|entry| entry.slot.is_of(route));
        let ended: Vec<_> = of_it.map(|entry| Rc::clone(&entry.flow)).collect();
        drop(table);
        for flow in &ended {
            self.end(flow);
        }
    }

    /// Closes a flow that its edge does not know to be over.
    fn end(&self, flow: &Rc<Flow>) {
        self.tell(&flow.edge(), Header::Close(flow.id));
        self.close(flow);
    }

    fn close(&self, flow: &Rc<Flow>) {
        let mut table = self.table.borrow_mut();
        // Another may have taken its place.
        if table.get(&flow.id).is_some_and(|entry| Rc::ptr_eq(&entry.flow, flow))
            && let Some(entry) = table.swap_remove(&flow.id)
        {
            entry.answers.abort();
        }
    }

    /// A flow's life: what its server answers goes to the edge.
    async fn answers(self: Rc<Self>, flow: Rc<Flow>) {
        let error = loop {
            if let Err(error) = flow.socket.readable().await {
                break error;
            }
            // What waits to be sent leaves first: a turn of all flows may bring more than the connection's buffer holds.
            for _ in 0..MOST_YIELDS {
                if flow.edge().datagram_send_buffer_space() >= SPARE_BYTES {
                    break;
                }
                yield_now().await;
            }
            match self.turn_out(&flow) {
                // Others have their turn, and what this one appended leaves before its next.
                Ok(true) => yield_now().await,
                Ok(false) => {}
                Err(error) => break error,
            }
        };
        tracing::warn!(server = %flow.target.server, %error, "a flow's socket failed");
        self.end(&flow);
    }

    /// One turn outwards: a batch of what a flow's server has answered, to its edge. Says whether there may be more.
    fn turn_out(&self, flow: &Flow) -> io::Result<bool> {
        let mut batch = self.batch.borrow_mut();
        let more = match flow.socket.receive(&mut batch) {
            Ok(more) => more,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(false),
                    // ICMP: nothing listened on the port when an earlier packet came, or no way led there. Either may soon
                    // be, and the flow is worth more than the packet. Windows says the second of a datagram that found
                    // nobody.
                    io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable => Ok(true),
                    _ => Err(error),
                };
            }
        };
        let (mut passed, edge, mut to_edge) = (Passed::default(), flow.edge(), self.to_edge.borrow_mut());
        for payload in batch.packets() {
            if to_edge.packet(&edge, flow.id, payload, || flow.number_split()) {
                passed.note(payload.len());
            } else {
                self.metrics.dropped_tunnel.increment(1);
            }
        }
        self.metrics.packets_out.increment(passed.packets);
        self.metrics.bytes_out.increment(passed.bytes);
        Ok(more)
    }

    fn tell(&self, edge: &Connection, header: Header) {
        self.to_edge.borrow_mut().tell(edge, header);
    }
}
