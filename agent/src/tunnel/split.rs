//! Cutting a UDP packet that is larger than one datagram of the tunnel. Pure.

use bytes::Bytes;
use muster_protocol::flow::FlowId;
use muster_protocol::tunnel::{Fragment, Header};

use super::flow::datagram;

/// Datagrams of at most `limit` bytes that carry `payload` as packet number `packet`; `None` if it does
/// not fit the 255 parts there can be.
pub(super) fn parts(payload: &[u8], limit: usize, flow: FlowId, packet: u16) -> Option<Vec<Bytes>> {
    let header =
        |index, count| Header::Data { flow, open: None, fragment: Some(Fragment { packet, index, count }) };
    let room = limit.checked_sub(header(0, 2).encoded_len()).filter(|&room| room > 0)?;
    // Two at least: the header knows no single part.
    let count = u8::try_from(payload.len().div_ceil(room).max(2)).ok()?;
    let size = payload.len().div_ceil(usize::from(count)).max(1);
    let mut chunks = payload.chunks(size);
    Some(
        (0..count)
            .map(|index| datagram(header(index, count), chunks.next().unwrap_or_default()).freeze())
            .collect(),
    )
}
