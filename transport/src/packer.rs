//! Players' packets into datagrams of a connection: header and payload, large ones in parts.
//!
//! Appending never waits: when a connection's buffer is full its oldest datagrams make room, because an old game packet
//! is worth less than a new one. What was appended in one turn of a loop leaves together, many packets in one.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use muster_protocol::fragment::split;
use muster_protocol::tunnel::{Fragment, Header, MAX_HEADER_BYTES};
use quinn_proto::SendDatagramError;

use crate::quic::{ConnectionId, Quic};

/// A payload of at most this many bytes fits every QUIC packet with its header, so that the connection's limit need not be
/// asked for: QUIC paths carry at least 1,200 bytes.
const ALWAYS_FITS: usize = 1_100;
/// Datagrams are built in pieces of memory of this size, shared by some hundreds of them.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Why a packet was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// There is no connection, or none that carries datagrams.
    Gone,
    /// It would take too many parts.
    Oversize,
}

/// Builds datagrams and gives them to connections.
#[derive(Default)]
pub struct Packer {
    scratch: BytesMut,
}

impl Packer {
    /// Says a bare header on `id`.
    ///
    /// # Errors
    /// [`Unsent::Gone`].
    pub fn tell(
        &mut self,
        quic: &mut Quic,
        now: Instant,
        id: ConnectionId,
        header: Header,
    ) -> Result<(), Unsent> {
        self.append_one(quic, now, id, header, &[])
    }

    /// Appends a packet of a flow, which `header` names; `number_split` numbers it if it has to go in parts.
    ///
    /// # Errors
    /// Why not; of a packet in parts some may have been appended.
    pub fn append(
        &mut self,
        quic: &mut Quic,
        now: Instant,
        id: ConnectionId,
        header: Header,
        payload: &[u8],
        number_split: impl FnOnce() -> u16,
    ) -> Result<(), Unsent> {
        if payload.len() <= ALWAYS_FITS {
            return self.append_one(quic, now, id, header, payload);
        }
        let limit = quic.most_bytes(id).ok_or(Unsent::Gone)?;
        if header.encoded_len() + payload.len() <= limit {
            return self.append_one(quic, now, id, header, payload);
        }
        let Header::Data { flow, open, .. } = header else { return Err(Unsent::Oversize) };
        let parts = split(payload, limit.saturating_sub(MAX_HEADER_BYTES)).ok_or(Unsent::Oversize)?;
        let (packet, count) = (number_split(), parts.len() as u8);
        for (index, part) in (0..count).zip(parts) {
            let fragment = Some(Fragment { packet, index, count });
            self.append_one(quic, now, id, Header::Data { flow, open, fragment }, part)?;
        }
        Ok(())
    }

    fn append_one(
        &mut self,
        quic: &mut Quic,
        now: Instant,
        id: ConnectionId,
        header: Header,
        payload: &[u8],
    ) -> Result<(), Unsent> {
        let datagram = self.build(header, payload);
        quic.send(now, id, datagram).map_err(|error| match error {
            Some(SendDatagramError::TooLarge) => Unsent::Oversize,
            Some(
                SendDatagramError::UnsupportedByPeer
                | SendDatagramError::Disabled
                | SendDatagramError::Blocked(_),
            )
            | None => Unsent::Gone,
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
