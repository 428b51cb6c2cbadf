//! Messages of the control streams: the first byte says which, the rest is read as one.
//! What is read is written again as what reads the same.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use muster_protocol::agent::{AgentMessage, ToAgent};
use muster_protocol::edge::{EdgeMessage, ToEdge};
use muster_protocol::framing::{decode, encode, take_frame};
use muster_protocol::join::{JoinReply, JoinRequest};
use muster_protocol::stream::{StreamOpen, StreamOpened};
use prost::Message;

pub(crate) fn run(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 8 {
        0 => same::<AgentMessage>(rest),
        1 => same::<ToAgent>(rest),
        2 => same::<EdgeMessage>(rest),
        3 => same::<ToEdge>(rest),
        4 => same::<JoinRequest>(rest),
        5 => same::<JoinReply>(rest),
        6 => same::<StreamOpen>(rest),
        _ => same::<StreamOpened>(rest),
    }
}

fn same<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = decode::<M>(Bytes::copy_from_slice(bytes)) else { return };
    let mut wire = BytesMut::new();
    encode(&message, &mut wire).expect("it came from fewer bytes than a frame may have");
    let payload = take_frame(&mut wire).ok().flatten().expect("it was written whole");
    assert!(decode::<M>(payload).is_ok_and(|again| again == message || has_nan(&message)));
}

/// A number that is none does not equal itself; its text says so.
fn has_nan<M: Debug>(message: &M) -> bool {
    format!("{message:?}").contains("NaN")
}
