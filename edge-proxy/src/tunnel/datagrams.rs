//! The way of game packets to one agent: header and payload into DATAGRAM frames, large ones in parts.
//!
//! Appending never waits: when the connection's buffer is full its oldest datagrams make room, because an
//! old game packet is worth less than a new one. What was appended in one turn leaves together, many
//! packets in one, when the turn is over.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::split;
use muster_protocol::id::NodeId;
use muster_protocol::tunnel::{Fragment, Header, MAX_HEADER_BYTES};
use quinn::SendDatagramError;

use crate::drops::DropReason;

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
}

impl DatagramTunnel {
    /// A tunnel that does not stand yet.
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            connection: RefCell::new(None),
            number: Cell::new(0),
            scratch: RefCell::new(BytesMut::with_capacity(SCRATCH_BYTES)),
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
        *self.connection.borrow_mut() = Some(connection);
    }

    /// The connection is gone.
    pub(crate) fn down(&self) {
        *self.connection.borrow_mut() = None;
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
        connection.send_datagram(datagram).map_err(|error| match error {
            SendDatagramError::TooLarge => DropReason::Oversize,
            SendDatagramError::UnsupportedByPeer
            | SendDatagramError::Disabled
            | SendDatagramError::ConnectionLost(_) => DropReason::AgentUnreachable,
        })
    }
}
