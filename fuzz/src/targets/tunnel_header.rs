//! The header of the tunnel's datagrams: what is read is written the same, byte for byte.

use bytes::{Bytes, BytesMut};
use muster_protocol::tunnel::{Header, MAX_HEADER_BYTES};

pub(crate) fn run(bytes: &[u8]) {
    let mut rest = Bytes::copy_from_slice(bytes);
    let Ok(header) = Header::decode(&mut rest) else { return };
    assert!(header.encoded_len() <= MAX_HEADER_BYTES);
    assert_eq!(header.encoded_len() + rest.len(), bytes.len());
    let mut again = BytesMut::new();
    header.encode(&mut again);
    again.extend_from_slice(&rest);
    assert_eq!(again, bytes);
}
