//! One flow: a client of one server port, as the server sees it: one UDP socket with one address,
//! whatever edge and whatever client address stand behind it at the moment.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use muster_protocol::flow::FlowId;
use muster_protocol::tunnel::OpenTarget;
use muster_transport::ConnectionId;

use super::socket::FlowSocket;
use crate::routes::{Slot, Whereabouts};

/// A flow.
pub(super) struct Flow {
    pub(super) id: FlowId,
    pub(super) target: OpenTarget,
    pub(super) socket: FlowSocket,
    /// The connection that last carried a packet of the flow from its client: answers go there.
    pub(super) edge: ConnectionId,
    /// Whether it is among those whose sockets may have packets.
    pub(super) is_ready: bool,
    /// Whether its server has ever answered.
    pub(super) is_answered: bool,
    /// Where it stands among its server's flows.
    pub(super) order: usize,
    /// Number of the next packet that has to go in parts.
    pub(super) next_packet: u16,
    last_in: Instant,
    // None if no edge has said where its client is.
    whereabouts: Option<Whereabouts>,
    // Its place among its server's flows is free when it is gone.
    slot: Slot,
}

impl Flow {
    /// A flow over `socket`, whose client has been heard over `edge`.
    pub(super) fn new(
        (id, target): (FlowId, OpenTarget),
        socket: FlowSocket,
        slot: Slot,
        edge: ConnectionId,
        now: Instant,
    ) -> Self {
        Self {
            id,
            target,
            socket,
            edge,
            is_ready: false,
            is_answered: false,
            order: 0,
            next_packet: 0,
            last_in: now,
            whereabouts: None,
            slot,
        }
    }

    /// A packet of its client came over `edge`.
    pub(super) fn seen(&mut self, edge: ConnectionId, now: Instant) {
        self.last_in = now;
        self.edge = edge;
    }

    /// Its client is at `client` from now on, and its server may ask for that.
    pub(super) fn is_of(&mut self, client: SocketAddr) {
        if self.whereabouts.is_some() && self.target.client == Some(client) {
            return;
        }
        self.target.client = Some(client);
        if let Some(whereabouts) = &self.whereabouts {
            whereabouts.moved(client);
        } else {
            let port = self.socket.port();
            self.whereabouts = port.map(|port| self.slot.route().tell(port, client));
        }
    }

    /// For how long its client has not been heard.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_in)
    }
}
