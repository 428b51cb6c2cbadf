//! The ways of game packets to agents: which connection carries them, and how it does.
//!
//! What was appended in one turn leaves together when the turn is over. How connections come about is `dialled`'s.

use std::time::{Duration, Instant};

use muster_protocol::edge::TunnelTraffic;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{GivenUp, Rejoiner};
use muster_protocol::id::NodeId;
use muster_protocol::tunnel::Header;
use muster_transport::{ConnectionId, Counts, Packer, Quic, Unsent};

use crate::drops::DropReason;
use crate::latency::Latest;

/// One worker's tunnel to one agent, whether it stands or not.
pub(crate) struct DatagramTunnel {
    node: NodeId,
    connection: Option<ConnectionId>,
    number: u32,
    packer: Packer,
    /// Packets that came in parts, on the connection that stands.
    pub(crate) rejoiner: Rejoiner,
    // Of the connection that stands, as was told of it.
    told: Counts,
    // What connections that are gone counted beyond what was told.
    untold: Counts,
    // How long what was measured waited in the buffer.
    queued: Latest,
    // What was added to what was measured, either way.
    added: Latest,
}

/// How a tunnel is.
pub(crate) struct Condition {
    /// As it is reported.
    pub(crate) traffic: TunnelTraffic,
    /// Round trip to the agent.
    pub(crate) rtt: Duration,
}

impl DatagramTunnel {
    /// A tunnel that does not stand yet.
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            connection: None,
            number: 0,
            packer: Packer::default(),
            rejoiner: Rejoiner::default(),
            told: Counts::default(),
            untold: Counts::default(),
            queued: Latest::new(),
            added: Latest::new(),
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
    pub(crate) fn up(&mut self, connection: ConnectionId) {
        self.number = self.number.wrapping_add(1).max(1);
        self.connection = Some(connection);
    }

    /// The connection is gone, or carries the packets no more, and has counted so much.
    pub(crate) fn down(&mut self, counted: Counts) {
        self.untold = self.untold.and(counted.since(std::mem::take(&mut self.told)));
        self.rejoiner.give_up_all();
        self.connection = None;
    }

    /// How many datagrams were given to the connection that stands.
    pub(crate) fn appended(&self, quic: &Quic) -> u64 {
        self.connection.and_then(|id| quic.given(id)).unwrap_or(0)
    }

    /// Whether the first `count` of them have left, whatever came behind them.
    pub(crate) fn has_sent(&self, quic: &mut Quic, count: u64) -> bool {
        self.connection.is_none_or(|id| quic.has_sent(id, count))
    }

    /// What was measured waited for so long to be sent.
    pub(crate) fn note_queued(&mut self, waited: Duration) {
        self.queued.push(waited);
    }

    /// So much was added to a packet that was measured.
    pub(crate) fn note_added(&mut self, added: Duration) {
        self.added.push(added);
    }

    /// Gives up parts that came too long ago; says what was given up since the last time.
    pub(crate) fn expire(&mut self, now: Instant) -> GivenUp {
        self.rejoiner.expire(now);
        self.rejoiner.take_given_up()
    }

    /// What was counted since this was last asked.
    pub(crate) fn news(&mut self, quic: &mut Quic) -> Counts {
        let untold = std::mem::take(&mut self.untold);
        let Some(counts) = self.connection.and_then(|id| quic.counts(id)) else { return untold };
        untold.and(counts.since(std::mem::replace(&mut self.told, counts)))
    }

    /// How the tunnel is; `None` if it does not stand.
    pub(crate) fn condition(&mut self, quic: &mut Quic) -> Option<Condition> {
        let id = self.connection?;
        let (path, counts) = (quic.stats(id)?.path, quic.counts(id)?);
        let ([_, queue_p99_us], [added_p50_us, added_p99_us]) = (self.queued.look(), self.added.look());
        let traffic = TunnelTraffic {
            node_id: self.node.to_string(),
            rtt_us: u32::try_from(path.rtt.as_micros()).unwrap_or(u32::MAX),
            packets_sent: counts.sent,
            packets_lost: counts.lost,
            datagrams_dropped: counts.dropped,
            queue_p99_us,
            mtu: u32::from(path.current_mtu),
            added_p50_us,
            added_p99_us,
        };
        Some(Condition { traffic, rtt: path.rtt })
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
        self.packer.append(quic, now, id, header, payload, number_split).map_err(|unsent| match unsent {
            Unsent::Oversize => DropReason::Oversize,
            Unsent::Gone => DropReason::AgentUnreachable,
        })
    }

    /// Tells the agent that `flow` is over. If no tunnel stands the agent notices by itself.
    pub(crate) fn close(&mut self, quic: &mut Quic, now: Instant, flow: FlowId) {
        if let Some(id) = self.connection {
            let _ = self.packer.tell(quic, now, id, Header::Close(flow));
        }
    }
}
