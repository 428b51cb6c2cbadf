//! The ways of game packets to agents: header and payload into DATAGRAM frames, large ones in parts.
//!
//! Appending never waits: when a connection's buffer is full its oldest datagrams make room, because an
//! old game packet is worth less than a new one. What was appended in one turn leaves together, many
//! packets in one, when the turn is over. How connections come about is `dialled`'s.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use muster_protocol::edge::TunnelTraffic;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{Rejoiner, split};
use muster_protocol::id::NodeId;
use muster_protocol::tunnel::{Fragment, Header, MAX_HEADER_BYTES};
use quinn_proto::SendDatagramError;

use super::quic::{ConnectionId, Quic};
use crate::drops::DropReason;
use crate::latency::Latest;

/// A payload of at most this many bytes fits every QUIC packet with its header, so that the
/// connection's limit need not be asked for: QUIC paths carry at least 1,200 bytes.
const ALWAYS_FITS: usize = 1_100;
/// Datagrams are built in pieces of memory of this size, shared by some hundreds of them.
const SCRATCH_BYTES: usize = 64 * 1024;

/// One worker's tunnel to one agent, whether it stands or not.
pub(crate) struct DatagramTunnel {
    node: NodeId,
    connection: Option<ConnectionId>,
    number: u32,
    scratch: BytesMut,
    /// Packets that came in parts, on the connection that stands.
    pub(crate) rejoiner: Rejoiner,
    // Of the connection that stands: room in its buffer when nothing waits there, and datagrams given to it.
    idle_space: usize,
    appended: u64,
    told: Counts,
    // How long what was measured waited in the buffer.
    queued: Latest,
}

/// What a connection counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// QUIC packets sent.
    pub(crate) sent: u64,
    /// Of these, lost on the way.
    pub(crate) lost: u64,
    /// Datagrams that made room for newer ones before they were sent.
    pub(crate) dropped: u64,
}

impl Counts {
    fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            lost: self.lost.saturating_sub(earlier.lost),
            dropped: self.dropped.saturating_sub(earlier.dropped),
        }
    }
}

/// How a tunnel is.
pub(crate) struct Condition {
    /// As it is reported.
    pub(crate) traffic: TunnelTraffic,
    /// Round trip to the agent.
    pub(crate) rtt: Duration,
    /// What was counted since the last look.
    pub(crate) news: Counts,
}

impl DatagramTunnel {
    /// A tunnel that does not stand yet.
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            connection: None,
            number: 0,
            scratch: BytesMut::with_capacity(SCRATCH_BYTES),
            rejoiner: Rejoiner::default(),
            idle_space: 0,
            appended: 0,
            told: Counts::default(),
            queued: Latest::new(),
        }
    }

    /// The node it leads to.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Number of the connection that stands, counted from 1; 0 if none does.
    ///
    /// A flow is OPENED on one connection only: behind the next there may be an agent that restarted.
    pub(crate) fn connection_number(&self) -> u32 {
        if self.connection.is_some() { self.number } else { 0 }
    }

    /// The connection that stands.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    /// From now on `connection` carries the packets.
    pub(crate) fn up(&mut self, quic: &mut Quic, connection: ConnectionId) {
        self.number = self.number.wrapping_add(1).max(1);
        self.idle_space = quic.send_space(connection).unwrap_or(0);
        self.appended = 0;
        self.told = Counts::default();
        self.rejoiner = Rejoiner::default();
        self.connection = Some(connection);
    }

    /// The connection is gone.
    pub(crate) fn down(&mut self) {
        self.connection = None;
    }

    /// How many datagrams were given to the connection that stands.
    pub(crate) fn appended(&self) -> u64 {
        self.appended
    }

    /// Whether the first `count` of them have left, whatever came behind them.
    pub(crate) fn has_sent(&self, quic: &mut Quic, count: u64) -> bool {
        let Some(id) = self.connection else { return true };
        let left = |quic: &Quic| quic.stats(id).map_or(count, |stats| stats.frame_tx.datagram);
        self.is_idle(quic, id) || left(quic) + self.told.dropped >= count
    }

    /// Whether nothing waits to be sent.
    fn is_idle(&self, quic: &mut Quic, id: ConnectionId) -> bool {
        quic.send_space(id).is_none_or(|space| space >= self.idle_space)
    }

    /// What was measured waited for so long to be sent.
    pub(crate) fn note_queued(&mut self, waited: Duration) {
        self.queued.push(waited);
    }

    /// Gives up parts that came too long ago.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        self.rejoiner.expire(now);
        self.rejoiner.take_given_up()
    }

    /// How the tunnel is; `None` if it does not stand.
    pub(crate) fn condition(&mut self, quic: &mut Quic) -> Option<Condition> {
        let id = self.connection?;
        let stats = quic.stats(id)?;
        let told = self.told;
        // The connection does not say what it drops. What it was given and neither sent nor has still, it dropped.
        let dropped = self.appended.saturating_sub(stats.frame_tx.datagram);
        self.told = Counts {
            sent: stats.path.sent_packets,
            lost: stats.path.lost_packets,
            dropped: if self.is_idle(quic, id) { dropped } else { told.dropped },
        };
        let traffic = TunnelTraffic {
            node_id: self.node.to_string(),
            rtt_us: u32::try_from(stats.path.rtt.as_micros()).unwrap_or(u32::MAX),
            packets_sent: self.told.sent,
            packets_lost: self.told.lost,
            datagrams_dropped: self.told.dropped,
            queue_p99_us: self.queued.percentile(99),
            mtu: u32::from(stats.path.current_mtu),
        };
        Some(Condition { traffic, rtt: stats.path.rtt, news: self.told.since(told) })
    }

    /// Appends one packet of a flow; `number_split` numbers it if it has to go in parts.
    pub(crate) fn append(
        &mut self,
        quic: &mut Quic,
        now: Instant,
        header: Header,
        payload: &[u8],
        number_split: impl FnOnce() -> u16,
    ) -> Result<(), DropReason> {
        let id = self.connection.ok_or(DropReason::AgentUnreachable)?;
        if payload.len() <= ALWAYS_FITS {
            return self.append_one(quic, now, id, header, payload);
        }
        let limit = quic.most_bytes(id).ok_or(DropReason::AgentUnreachable)?;
        if header.encoded_len() + payload.len() <= limit {
            return self.append_one(quic, now, id, header, payload);
        }
        let Header::Data { flow, open, .. } = header else { return Err(DropReason::Oversize) };
        let parts = split(payload, limit.saturating_sub(MAX_HEADER_BYTES)).ok_or(DropReason::Oversize)?;
        let (packet, count) = (number_split(), parts.len() as u8);
        for (index, part) in (0..count).zip(parts) {
            let fragment = Some(Fragment { packet, index, count });
            self.append_one(quic, now, id, Header::Data { flow, open, fragment }, part)?;
        }
        Ok(())
    }

    /// Tells the agent that `flow` is over. If no tunnel stands the agent notices by itself.
    pub(crate) fn close(&mut self, quic: &mut Quic, now: Instant, flow: FlowId) {
        if let Some(id) = self.connection {
            let _ = self.append_one(quic, now, id, Header::Close(flow), &[]);
        }
    }

    fn append_one(
        &mut self,
        quic: &mut Quic,
        now: Instant,
        id: ConnectionId,
        header: Header,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let datagram = self.build(header, payload);
        let sent = quic.send(now, id, datagram);
        self.appended += u64::from(sent.is_ok());
        sent.map_err(|error| match error {
            Some(SendDatagramError::TooLarge) => DropReason::Oversize,
            Some(
                SendDatagramError::UnsupportedByPeer
                | SendDatagramError::Disabled
                | SendDatagramError::Blocked(_),
            )
            | None => DropReason::AgentUnreachable,
        })
    }

    fn build(&mut self, header: Header, payload: &[u8]) -> Bytes {
        let length = header.encoded_len() + payload.len();
        if self.scratch.capacity() < length {
            // Takes the old piece again if all its datagrams have left, and a new one otherwise.
            self.scratch.reserve(SCRATCH_BYTES);
        }
        header.encode(&mut self.scratch);
        self.scratch.extend_from_slice(payload);
        self.scratch.split().freeze()
    }
}
