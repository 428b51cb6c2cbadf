//! The connections of edges that carry players' packets, and the way of packets on them.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{Rejoined, Rejoiner};
use muster_protocol::tunnel::{Fragment, Header};
use muster_transport::{Change, ConnectionId, Counts, Packer, Quic, Role};

use super::{CLOSE_SHUTTING_DOWN, CLOSE_WRONG_ROLE, HANDSHAKE_TIMEOUT};
use crate::metrics::TunnelMetrics;

/// Connections with edges.
pub(super) struct Edges {
    /// The connections, whether they stand or not.
    pub(super) quic: Quic,
    standing: HashMap<ConnectionId, Edge>,
    packer: Packer,
    // Datagrams of peers that are not known to be edges, since last counted.
    strays: u64,
}

/// One that stands.
struct Edge {
    id: String,
    // Of this edge alone: whatever parts it sends, those of others wait undisturbed.
    rejoiner: Rejoiner,
    counted: Counts,
}

impl Edges {
    /// None yet.
    pub(super) fn new(quic: Quic) -> Self {
        Self { quic, standing: HashMap::new(), packer: Packer::default(), strays: 0 }
    }

    /// The next datagram that has come from an edge, and which that is.
    pub(super) fn take(&mut self) -> Option<(ConnectionId, Bytes)> {
        loop {
            let (id, datagram) = self.quic.take()?;
            if self.standing.contains_key(&id) {
                return Some((id, datagram));
            }
            // What comes before a peer is known to be an edge is nobody's.
            self.strays += 1;
        }
    }

    /// A part of a packet of `flow` has come from `edge`.
    pub(super) fn rejoin(
        &mut self,
        now: Instant,
        edge: ConnectionId,
        flow: FlowId,
        part: Fragment,
        payload: &[u8],
    ) -> Rejoined {
        let edge = self.standing.get_mut(&edge);
        edge.map_or(Rejoined::Misfit, |edge| edge.rejoiner.push(now, flow, part, payload))
    }

    /// Takes note of what became of connections.
    pub(super) fn hear(&mut self, now: Instant, metrics: &TunnelMetrics) {
        for change in self.quic.take_changes() {
            match change {
                Change::Connected(id) => self.connected(now, id, metrics),
                Change::Lost(id, why, counts) => {
                    if let Some(mut edge) = self.standing.remove(&id) {
                        edge.rejoiner.give_up_all();
                        edge.count(counts, metrics);
                        metrics.tunnels.decrement(1.0);
                        tracing::info!(edge = edge.id, %why, "tunnel is down");
                    } else {
                        tracing::debug!(%why, "a tunnel's handshake failed");
                    }
                }
            }
        }
    }

    fn connected(&mut self, now: Instant, id: ConnectionId, metrics: &TunnelMetrics) {
        let address = self.quic.remote_address(id);
        match self.quic.peer(id) {
            Some(peer) if peer.role == Role::Edge => {
                tracing::info!(edge = peer.id, ?address, "tunnel is up");
                metrics.tunnels.increment(1.0);
                self.stands(id, peer.id);
            }
            peer => {
                tracing::warn!(?peer, ?address, "refused a tunnel from a peer that is no edge");
                self.quic.close(now, id, CLOSE_WRONG_ROLE, "only edges may open tunnels");
            }
        }
    }

    /// The edge `name` may speak by the connection `id`.
    pub(super) fn stands(&mut self, id: ConnectionId, name: String) {
        let (rejoiner, counted) = (Rejoiner::default(), Counts::default());
        self.standing.insert(id, Edge { id: name, rejoiner, counted });
    }

    /// Says a bare header. One that is lost is made up for by the next packet of the flow.
    pub(super) fn tell(&mut self, now: Instant, edge: ConnectionId, header: Header) {
        let _ = self.packer.tell(&mut self.quic, now, edge, header);
    }

    /// Appends a packet of `flow`, which is number `next` if it has to go in parts. Answers whether it was taken.
    pub(super) fn packet(
        &mut self,
        now: Instant,
        edge: ConnectionId,
        flow: FlowId,
        payload: &[u8],
        next: &mut u16,
    ) -> bool {
        let number_split = || {
            let number = *next;
            *next = number.wrapping_add(1);
            number
        };
        let header = Header::Data { flow, open: None, fragment: None };
        self.packer.append(&mut self.quic, now, edge, header, payload, number_split).is_ok()
    }

    /// Gives up parts that came too long ago and handshakes that take too long, and counts; call once a second.
    pub(super) fn look(&mut self, now: Instant, metrics: &TunnelMetrics) {
        self.quic.end_slow_handshakes(now, HANDSHAKE_TIMEOUT);
        for (id, edge) in &mut self.standing {
            edge.rejoiner.expire(now);
            let counts = self.quic.counts(*id).unwrap_or(edge.counted);
            edge.count(counts, metrics);
        }
        metrics.dropped_overflow.increment(self.quic.take_overflow());
        metrics.dropped_stray.increment(self.quic.take_strays() + std::mem::take(&mut self.strays));
    }

    /// Ends all connections, and says so to the edges. Those that do not hear it notice by themselves.
    pub(super) fn end(&mut self, now: Instant) {
        self.quic.close_all(now, CLOSE_SHUTTING_DOWN, "agent is shutting down");
        self.quic.flush(now);
        self.quic.abandon();
    }
}

impl Edge {
    /// Counts what is new: of its connection, which has counted so much, and of packets that never became whole.
    fn count(&mut self, counts: Counts, metrics: &TunnelMetrics) {
        let news = counts.since(std::mem::replace(&mut self.counted, counts));
        metrics.quic_sent.increment(news.sent);
        metrics.quic_lost.increment(news.lost);
        metrics.dropped_tunnel.increment(news.dropped);
        metrics.dropped_unread.increment(news.unread);
        metrics.dropped_fragment.increment(self.rejoiner.take_given_up().packets);
    }
}
