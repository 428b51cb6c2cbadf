//! Frames of the control streams, cut off what has been read so far. The first byte is the size of the pieces that the
//! rest comes in.

use bytes::{BufMut, Bytes, BytesMut};
use muster_protocol::framing::{MAX_FRAME_BYTES, take_frame};

pub(crate) fn run(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let whole = cut([rest]);
    assert_eq!(cut(rest.chunks(usize::from(*size).max(1))), whole, "pieces change nothing");
    let (frames, left) = whole;
    let mut again = BytesMut::new();
    for frame in frames {
        assert!(frame.len() <= MAX_FRAME_BYTES);
        again.put_u32(frame.len() as u32);
        again.put_slice(&frame);
    }
    assert!(rest.starts_with(&again));
    if let Some(left) = left {
        again.unsplit(left);
        assert_eq!(again, rest, "nothing is lost behind the last frame");
    }
}

/// The frames' payloads, and what waits behind them; `None` if that is the beginning of one that is too long.
fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Bytes>, Option<BytesMut>) {
    let (mut read, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        read.extend_from_slice(piece);
        loop {
            match take_frame(&mut read) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, None),
            }
        }
    }
    (frames, Some(read))
}
