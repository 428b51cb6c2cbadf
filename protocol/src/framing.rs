//! Length-prefixed frames for reliable streams: four bytes big-endian, then one prost message.
//!
//! The prefix is checked against a cap before anything is allocated for it, so that a peer cannot
//! make the other side reserve what it never sends. Reading from sockets is the transport crate's.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Largest frame on any of Muster's control streams, in bytes without its prefix.
///
/// A full desired state of 4,096 servers at 1 KiB each fits four times.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The prefix announces more than the cap.
    #[error("frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// What the prefix said.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The frame is whole, but is not the message expected.
    #[error("frame does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Appends `message` with its prefix to `out`.
///
/// # Errors
/// [`FrameError::TooLong`] if the message is over [`MAX_FRAME_BYTES`]; `out` is then unchanged.
pub fn encode<M: Message>(message: &M, out: &mut BytesMut) -> Result<(), FrameError> {
    let length = message.encoded_len();
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { length, limit: MAX_FRAME_BYTES });
    }
    out.reserve(PREFIX_BYTES + length);
    out.put_u32(length as u32);
    message.encode_raw(out);
    Ok(())
}

/// What a prefix announces, if it is within `limit`.
fn frame_length(prefix: [u8; PREFIX_BYTES], limit: usize) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > limit { Err(FrameError::TooLong { length, limit }) } else { Ok(length) }
}

/// Takes the first frame's payload off `bytes`, what was read so far; `None`, and nothing is taken, if more is needed.
///
/// # Errors
/// [`FrameError::TooLong`] if the frame is over [`MAX_FRAME_BYTES`], as soon as its prefix says so.
pub fn take_frame(bytes: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let length = frame_length(*prefix, MAX_FRAME_BYTES)?;
    if bytes.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    bytes.advance(PREFIX_BYTES);
    Ok(Some(bytes.split_to(length).freeze()))
}

/// Decodes the payload of one frame.
///
/// # Errors
/// [`FrameError::Malformed`] if the bytes are not an `M`.
pub fn decode<M: Message + Default>(payload: Bytes) -> Result<M, FrameError> {
    Ok(M::decode(payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{AgentMessage, ToAgent};
    use crate::edge::{EdgeMessage, ToEdge};
    use crate::join::{JoinReply, JoinRequest};
    use crate::stream::{StreamOpen, StreamOpened};
    use proptest::prelude::*;

    #[test]
    fn a_message_comes_back() {
        let message = JoinRequest { role: "agent".into(), region: "eu-central".into(), ..Default::default() };
        let mut wire = BytesMut::new();
        encode(&message, &mut wire).expect("small");
        wire.put_slice(b"behind");
        let mut cut = wire.split_to(PREFIX_BYTES + message.encoded_len() - 1);
        assert!(take_frame(&mut cut).expect("small").is_none());
        cut.unsplit(wire);
        let payload = take_frame(&mut cut).expect("small").expect("whole");
        assert_eq!(decode::<JoinRequest>(payload).expect("whole"), message);
        assert_eq!(cut, "behind");
    }

    #[test]
    fn an_announced_giant_is_refused_before_it_is_read() {
        let error = take_frame(&mut BytesMut::from(&u32::MAX.to_be_bytes()[..])).expect_err("over the cap");
        assert!(error.to_string().contains("16777216"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let bytes = Bytes::from(bytes);
            let _ = decode::<AgentMessage>(bytes.clone());
            let _ = decode::<ToAgent>(bytes.clone());
            let _ = decode::<EdgeMessage>(bytes.clone());
            let _ = decode::<ToEdge>(bytes.clone());
            let _ = decode::<JoinRequest>(bytes.clone());
            let _ = decode::<JoinReply>(bytes.clone());
            let _ = decode::<StreamOpen>(bytes.clone());
            let _ = decode::<StreamOpened>(bytes);
        }
    }
}
