//! The way of game packets to one agent: header and payload into DATAGRAM frames, large ones in parts.
//!
//! Appending never waits: when the connection's buffer is full its oldest datagrams make room, because an
//! old game packet is worth less than a new one. What was appended in one turn leaves together, many
//! packets in one, when the turn is over.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::BytesMut;
use muster_protocol::edge::TunnelTraffic;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::split;
use muster_protocol::id::NodeId;
use muster_protocol::tunnel::{Fragment, Header, MAX_HEADER_BYTES};
use quinn::SendDatagramError;

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
    connection: RefCell<Option<quinn::Connection>>,
    number: Cell<u32>,
    scratch: RefCell<BytesMut>,
    // Of the connection that stands: room in its buffer when nothing waits there, and datagrams given to it.
    idle_space: Cell<usize>,
    appended: Cell<u64>,
    told: Cell<Counts>,
    // How long what was measured waited in the buffer.
    queued: RefCell<Latest>,
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
            connection: RefCell::new(None),
            number: Cell::new(0),
            scratch: RefCell::new(BytesMut::with_capacity(SCRATCH_BYTES)),
            idle_space: Cell::new(0),
            appended: Cell::new(0),
            told: Cell::default(),
            queued: RefCell::new(Latest::new()),
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
        if self.connection.borrow().is_some() { self.number.get() } else { 0 }
    }

    /// From now on `connection` carries the packets.
    pub(crate) fn up(&self, connection: quinn::Connection) {
        self.number.set(self.number.get().wrapping_add(1).max(1));
        self.idle_space.set(connection.datagram_send_buffer_space());
        self.appended.set(0);
        self.told.set(Counts::default());
        *self.connection.borrow_mut() = Some(connection);
    }

    /// The connection is gone.
    pub(crate) fn down(&self) {
        *self.connection.borrow_mut() = None;
    }

    /// How many datagrams were given to the connection that stands.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.get()
    }

    /// Whether the first `count` of them have left, whatever came behind them.
    pub(crate) fn has_sent(&self, count: u64) -> bool {
        let connection = self.connection.borrow();
        let Some(connection) = connection.as_ref() else { return true };
        let left = || connection.stats().frame_tx.datagram + self.told.get().dropped;
        self.is_idle(connection) || left() >= count
    }

    /// Whether nothing waits to be sent.
    fn is_idle(&self, connection: &quinn::Connection) -> bool {
        connection.datagram_send_buffer_space() >= self.idle_space.get()
    }

    /// What was measured waited for so long to be sent.
    pub(crate) fn note_queued(&self, waited: Duration) {
        self.queued.borrow_mut().push(waited);
    }

    /// How the tunnel is; `None` if it does not stand.
    pub(crate) fn condition(&self) -> Option<Condition> {
        let connection = self.connection.borrow();
        let connection = connection.as_ref()?;
        let stats = connection.stats();
        let told = self.told.get();
        // The connection does not say what it drops. What it was given and neither sent nor has still, it dropped.
        let dropped = self.appended.get().saturating_sub(stats.frame_tx.datagram);
        let counts = Counts {
            sent: stats.path.sent_packets,
            lost: stats.path.lost_packets,
            dropped: if self.is_idle(connection) { dropped } else { told.dropped },
        };
        self.told.set(counts);
        let traffic = TunnelTraffic {
            node_id: self.node.to_string(),
            rtt_us: u32::try_from(stats.path.rtt.as_micros()).unwrap_or(u32::MAX),
            packets_sent: counts.sent,
            packets_lost: counts.lost,
            datagrams_dropped: counts.dropped,
            queue_p99_us: self.queued.borrow().percentile(99),
            mtu: u32::from(stats.path.current_mtu),
        };
        Some(Condition { traffic, rtt: stats.path.rtt, news: counts.since(told) })
    }

    /// Appends one packet of a flow; `number_split` numbers it if it has to go in parts.
    pub(crate) fn append(
        &self,
        header: Header,
        payload: &[u8],
        number_split: impl FnOnce() -> u16,
    ) -> Result<(), DropReason> {
        let connection = self.connection.borrow();
        let connection = connection.as_ref().ok_or(DropReason::AgentUnreachable)?;
        if payload.len() <= ALWAYS_FITS {
            return self.append_one(connection, header, payload);
        }
        let limit = connection.max_datagram_size().ok_or(DropReason::AgentUnreachable)?;
        if header.encoded_len() + payload.len() <= limit {
            return self.append_one(connection, header, payload);
        }
        let Header::Data { flow, open, .. } = header else { return Err(DropReason::Oversize) };
        let parts = split(payload, limit.saturating_sub(MAX_HEADER_BYTES)).ok_or(DropReason::Oversize)?;
        let (packet, count) = (number_split(), parts.len() as u8);
        for (index, part) in (0..count).zip(parts) {
            let fragment = Some(Fragment { packet, index, count });
            self.append_one(connection, Header::Data { flow, open, fragment }, part)?;
        }
        Ok(())
    }

    /// Tells the agent that `flow` is over. If no tunnel stands the agent notices by itself.
    pub(crate) fn close(&self, flow: FlowId) {
        if let Some(connection) = &*self.connection.borrow() {
            let _ = self.append_one(connection, Header::Close(flow), &[]);
        }
    }

    fn append_one(
        &self,
        connection: &quinn::Connection,
        header: Header,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let mut scratch = self.scratch.borrow_mut();
        let length = header.encoded_len() + payload.len();
        if scratch.capacity() < length {
            // Takes the old piece again if all its datagrams have left, and a new one otherwise.
            scratch.reserve(SCRATCH_BYTES);
        }
        header.encode(&mut *scratch);
        scratch.extend_from_slice(payload);
        let datagram = scratch.split().freeze();
        let sent = connection.send_datagram(datagram);
        self.appended.set(self.appended.get() + u64::from(sent.is_ok()));
        sent.map_err(|error| match error {
            SendDatagramError::TooLarge => DropReason::Oversize,
            SendDatagramError::UnsupportedByPeer
            | SendDatagramError::Disabled
            | SendDatagramError::ConnectionLost(_) => DropReason::AgentUnreachable,
        })
    }
}
