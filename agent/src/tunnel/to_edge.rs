//! The way of packets to edges: header and payload into DATAGRAM frames, large ones in parts.
//!
//! Appending never waits: when a connection's buffer is full its oldest datagrams make room. What was appended in
//! one turn of the thread leaves together, many packets in one, when the connection's own task has its turn.

use bytes::{Bytes, BytesMut};
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::split;
use muster_protocol::tunnel::{Fragment, Header};
use quinn::Connection;

/// Datagrams up to this size fit every QUIC path, so that the connection need not be asked.
const ALWAYS_FITS: usize = 1_100;
/// Datagrams are built in pieces of memory of this size, shared by some hundreds of them.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Builds datagrams and gives them to connections.
#[derive(Default)]
pub(super) struct ToEdge {
    scratch: BytesMut,
}

impl ToEdge {
    /// Says a bare header. One that is lost is made up for by the next packet of the flow.
    pub(super) fn tell(&mut self, edge: &Connection, header: Header) {
        self.append(edge, header, &[]);
    }

    /// Appends a packet of `flow`; `number_split` numbers it if it has to go in parts. Answers whether it was taken.
    pub(super) fn packet(
        &mut self,
        edge: &Connection,
        flow: FlowId,
        payload: &[u8],
        number_split: impl FnOnce() -> u16,
    ) -> bool {
        let header = |fragment| Header::Data { flow, open: None, fragment };
        let length = header(None).encoded_len() + payload.len();
        let limit = if length <= ALWAYS_FITS { ALWAYS_FITS } else { edge.max_datagram_size().unwrap_or(0) };
        if length <= limit {
            return self.append(edge, header(None), payload);
        }
        let part = |packet, index, count| header(Some(Fragment { packet, index, count }));
        let Some(parts) = split(payload, limit.saturating_sub(part(0, 0, 2).encoded_len())) else {
            return false;
        };
        let (packet, count) = (number_split(), parts.len() as u8);
        let mut parts = (0..count).zip(parts);
        parts.all(|(index, payload)| self.append(edge, part(packet, index, count), payload))
    }

    fn append(&mut self, edge: &Connection, header: Header, payload: &[u8]) -> bool {
        edge.send_datagram(self.datagram(header, payload)).is_ok()
    }

    fn datagram(&mut self, header: Header, payload: &[u8]) -> Bytes {
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
