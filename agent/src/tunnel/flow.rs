//! One flow: a client of one server port, as the server sees it: one UDP socket with one address,
//! whatever edge and whatever client address stand behind it at the moment.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use muster_protocol::flow::FlowId;
use muster_protocol::tunnel::OpenTarget;
use quinn::Connection;

use super::socket::FlowSocket;

/// A flow.
pub(super) struct Flow {
    pub(super) id: FlowId,
    pub(super) target: OpenTarget,
    pub(super) socket: FlowSocket,
    /// The connection that last carried a packet of the flow from its client: answers go there.
    edge: RefCell<Rc<Connection>>,
    last_in: Cell<Instant>,
    next_packet: Cell<u16>,
}

impl Flow {
    /// A flow over `socket`, whose client has been heard over `edge`.
    pub(super) fn new(
        id: FlowId,
        target: OpenTarget,
        socket: FlowSocket,
        edge: Rc<Connection>,
        now: Instant,
    ) -> Self {
        let (edge, last_in) = (RefCell::new(edge), Cell::new(now));
        Self { id, target, socket, edge, last_in, next_packet: Cell::new(0) }
    }

    /// A packet of its client came over `edge`.
    pub(super) fn seen(&self, edge: &Rc<Connection>, now: Instant) {
        self.last_in.set(now);
        if !self.is_carried_by(edge) {
            *self.edge.borrow_mut() = Rc::clone(edge);
        }
    }

    /// Whether `edge` is where its client's packets come from.
    pub(super) fn is_carried_by(&self, edge: &Rc<Connection>) -> bool {
        Rc::ptr_eq(&self.edge.borrow(), edge)
    }

    /// Where its client's packets come from.
    pub(super) fn edge(&self) -> Ref<'_, Connection> {
        Ref::map(self.edge.borrow(), |edge| &**edge)
    }

    /// For how long its client has not been heard.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_in.get())
    }

    /// A number for the next packet that has to go in parts.
    pub(super) fn number_split(&self) -> u16 {
        self.next_packet.replace(self.next_packet.get().wrapping_add(1))
    }
}
