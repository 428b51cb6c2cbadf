//! Fuzz targets of what a connection's client says first, and of its frames.

use futures_util::FutureExt;
use muster_protocol::preface::MAX_PREFACE_BYTES;

use super::frames::Frames;
use super::http_head::{MAX_HEAD_BYTES, parse};
use super::tcp::read_preface;

/// Longest frame in the target of frames, in bytes.
const MAX_FRAME_BYTES: u64 = 1_000;

pub(crate) fn tcp_preface(bytes: &[u8]) {
    let mut rest = bytes;
    let read = read_preface(&mut rest).now_or_never().expect("a slice keeps nobody waiting");
    let Ok(preface) = read else { return };
    assert!(preface.len() <= MAX_PREFACE_BYTES);
    let length = u16::try_from(preface.len()).expect("no longer than a length can say").to_be_bytes();
    assert_eq!([&length[..], &preface, rest].concat(), bytes, "the game's own bytes are its own");
}

pub(crate) fn http_head(bytes: &[u8]) {
    let Ok(Some(head)) = parse(bytes) else { return };
    assert!(head.length <= bytes.len() && head.length <= MAX_HEAD_BYTES);
    if let Some(token) = head.token.as_deref().filter(|token| !token.is_empty()) {
        assert!(bytes.windows(token.len()).any(|piece| piece == token.as_bytes()), "nobody said that");
    }
    let mut passed_on = bytes.to_vec();
    head.without_token(&mut passed_on);
    let behind = &bytes[head.length..];
    assert!(passed_on.ends_with(behind), "the game's own bytes are its own");
    let kept = parse(&passed_on).expect("it is still a head").expect("it is still whole");
    assert_eq!(passed_on.len() - kept.length, behind.len());
}

/// The first byte is the size of the pieces that the rest comes in.
pub(crate) fn websocket_frames(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let whole = Frames::new(MAX_FRAME_BYTES).pass(rest);
    let mut frames = Frames::new(MAX_FRAME_BYTES);
    let pieces = rest.chunks(usize::from(*size).max(1)).try_for_each(|piece| frames.pass(piece));
    assert_eq!(pieces, whole, "cuts change nothing");
}
